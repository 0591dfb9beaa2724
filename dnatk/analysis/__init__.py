"""What a trained model has learnt, beside what simple models know."""

"""Training on transformers' models and Trainer."""

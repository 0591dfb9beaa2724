"""What ``--task`` means: task directories, where they lie, and what runs them."""

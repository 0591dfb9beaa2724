"""Sequences with labels: read from files, split, and looked over before training."""

"""Coordinates in, bases out. All coordinates are 0-based half-open unless said otherwise."""

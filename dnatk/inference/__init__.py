"""Regions in, results out, in input order and constant memory."""

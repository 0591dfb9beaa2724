"""BERT-like DNA models: presets, files on disk, packed inference."""

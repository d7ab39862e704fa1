"""LightGBM: models in its own text."""

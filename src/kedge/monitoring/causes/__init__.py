"""Causes: what moved and why it matters: features by drift and worth, slices where the loss rose, rows, since when."""

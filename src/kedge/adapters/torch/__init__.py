"""PyTorch: exported programs, rewritten so that reading them runs nothing."""

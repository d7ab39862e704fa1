"""The tracking room: runs with params, metrics, artifacts, code and environment."""

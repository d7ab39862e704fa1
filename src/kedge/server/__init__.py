"""The control plane: the native HTTP API."""

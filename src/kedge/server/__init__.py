"""The control plane: the native HTTP API, the pages' read models, and the door in front of both."""

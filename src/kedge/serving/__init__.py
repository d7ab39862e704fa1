"""The data plane: answers inference requests in a process of its own."""

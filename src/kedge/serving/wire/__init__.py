"""The wire of the data plane: bytes to questions, answers to bytes, and nothing of models."""

"""ONNX: models that come as such, and trees compiled to it."""

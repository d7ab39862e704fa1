"""What `bench/policies.py` is made of: streams, loss matrices, and the triggers of other tools."""

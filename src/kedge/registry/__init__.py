"""The registry room: immutable model versions and the aliases that point to them."""

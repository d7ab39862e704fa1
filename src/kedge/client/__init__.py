"""The HTTP clients, with the same verbs as the embedded API."""

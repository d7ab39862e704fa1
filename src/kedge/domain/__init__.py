"""Floor 0: what the words mean. Frozen values and pure functions; no I/O, no clock, no randomness."""

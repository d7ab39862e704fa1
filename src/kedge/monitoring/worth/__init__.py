"""Business metrics: what answers were worth, by the project's own expressions, against its targets."""

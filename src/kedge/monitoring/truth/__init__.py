"""Ground truth: taken in, joined with predictions, late or twice."""

"""treelite: trees of any framework in one shape, float64 throughout."""

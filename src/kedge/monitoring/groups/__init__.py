"""Fairness over time: what each group got, how far groups are apart, and how sure that is."""

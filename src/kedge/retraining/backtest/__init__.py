"""Backtests of retraining policies: what each would have cost, where the losses of every step's model are known."""

"""The retraining room: the regret ledger and the other policies that decide to train again."""

"""XGBoost: models in its own JSON."""

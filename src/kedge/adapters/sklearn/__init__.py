"""scikit-learn: how its models are kept and read back."""

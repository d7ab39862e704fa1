"""scikit-learn: how its models are kept and read back."""

LIBRARIES = ("kedge.adapters.sklearn.library",)
"""What a job's process imports before its first job."""

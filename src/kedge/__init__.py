"""Kedge: MLOps as one closed loop in one package."""

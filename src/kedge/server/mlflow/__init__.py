"""The MLflow REST protocol on Kedge's own rooms: its experiments, runs and models are Kedge's, by another door."""

"""The benchmark's model as a BentoML service, as its own pages write one. Run by `bench/serving.py`."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, traffic={"timeout": 60})
class Bench:
    """Answers rows with the probability of the positive class."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Answer rows of 20 numbers."""
        return self.model.predict_proba(rows)[:, 1]

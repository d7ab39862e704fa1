"""Autologging of sklearn, XGBoost and LightGBM: what appears by itself."""

import uuid

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import mlflow

client = mlflow.MlflowClient()
experiment = mlflow.set_experiment(f"autolog {uuid.uuid4().hex[:8]}").experiment_id
chance = np.random.default_rng(7)
rows = pd.DataFrame(chance.normal(size=(120, 3)), columns=["a", "b", "c"])
late = (rows["a"] + rows["b"] > 0).astype(int)

mlflow.autolog(silent=True)
with mlflow.start_run() as run:
    LogisticRegression(C=0.5).fit(rows, late)
read = mlflow.get_run(run.info.run_id)
assert read.data.params["C"] == "0.5"
assert read.data.metrics["training_score"] > 0.5
assert read.inputs.dataset_inputs[0].dataset.source_type
paths = {one.path for one in client.list_artifacts(run.info.run_id)}
assert "estimator.html" in paths
assert any(path.endswith(".png") for path in paths), paths
outputs = [one.model_id for one in read.outputs.model_outputs]
assert (
    mlflow.sklearn.load_model(f"models:/{outputs[0]}").predict(rows)
    == LogisticRegression(C=0.5).fit(rows, late).predict(rows)
).all()

with mlflow.start_run() as run:
    xgboost.train(
        {"max_depth": 2, "nthread": 1}, xgboost.DMatrix(rows, late), 5, evals=[(xgboost.DMatrix(rows, late), "train")]
    )
read = mlflow.get_run(run.info.run_id)
assert read.data.params["max_depth"] == "2"
assert len(client.get_metric_history(run.info.run_id, "train-rmse")) == 5

with mlflow.start_run() as run:
    data = lightgbm.Dataset(rows, late)
    lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1}, data, 5, valid_sets=[data], valid_names=["train"]
    )
read = mlflow.get_run(run.info.run_id)
assert read.data.params["objective"] == "binary"
assert len(client.get_metric_history(run.info.run_id, "train-binary_logloss")) == 5

with mlflow.start_run() as run:
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2, n_jobs=1).fit(rows, late)
children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
assert len(children) == 3
assert {one.data.params["C"] for one in children} == {"0.1", "1.0", "10.0"}
assert "best_C" in mlflow.get_run(run.info.run_id).data.params
print("done")

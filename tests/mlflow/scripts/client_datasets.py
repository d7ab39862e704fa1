"""Datasets that a run reads, system metrics, and points measured on a dataset."""

import time
import uuid

import numpy as np
import pandas as pd
from mlflow.entities import Metric

import mlflow

client = mlflow.MlflowClient()
mlflow.set_experiment(f"datasets {uuid.uuid4().hex[:8]}")
frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "late": [0, 1]})
training = mlflow.data.from_pandas(frame, source="flights.csv", name="flights", targets="late")
test = mlflow.data.from_numpy(np.arange(6.0).reshape(3, 2), name="held out")

mlflow.set_system_metrics_sampling_interval(0.2)
with mlflow.start_run(log_system_metrics=True) as run:
    mlflow.log_input(training, context="training", tags={"year": "2013"})
    mlflow.log_input(test, context="test")
    mlflow.log_input(training, context="training")
    time.sleep(1.5)

read = mlflow.get_run(run.info.run_id)
inputs = {one.dataset.name: one for one in read.inputs.dataset_inputs}
assert set(inputs) == {"flights", "held out"}, inputs
assert inputs["flights"].dataset.digest == training.digest
assert "mlflow_colspec" in inputs["flights"].dataset.schema
assert {tag.key: tag.value for tag in inputs["flights"].tags} == {"mlflow.data.context": "training", "year": "2013"}
assert {tag.value for tag in inputs["held out"].tags} == {"test"}
assert any(key.startswith("system/") for key in read.data.metrics), read.data.metrics
found = client.search_runs([read.info.experiment_id], "dataset.name = 'flights' and dataset.context = 'training'")
assert [one.info.run_id for one in found] == [run.info.run_id]

point = Metric("auc", 0.7, 5, 1, dataset_name="flights", dataset_digest=training.digest)
client.log_batch(run.info.run_id, metrics=[point])
assert client.get_run(run.info.run_id).data.metrics["auc"] == 0.7
print("done")

"""Experiments, runs, params, metrics, tags, nested runs: what every training script does."""

import math
import time
import uuid

from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

import mlflow

client = mlflow.MlflowClient()
name = f"flights {uuid.uuid4().hex[:8]}"


def refused(code, act, *args, **named):
    found, said = "", ""
    try:
        act(*args, **named)
    except MlflowException as error:
        found, said = error.error_code, str(error)
    assert found == code, (found, code, said)
    return said


experiment = mlflow.set_experiment(name)
assert experiment.name == name
assert experiment.lifecycle_stage == "active"
assert experiment.artifact_location.startswith("mlflow-artifacts:/")
assert mlflow.set_experiment(name).experiment_id == experiment.experiment_id
assert client.get_experiment("0").name == "Default"

before = int(time.time() * 1000)
with mlflow.start_run(run_name="parent", tags={"team": "ops"}, description="a parent") as parent:
    mlflow.log_param("depth", 3)
    mlflow.log_params({"rate": 0.1, "kind": "gbt", "empty": ""})
    mlflow.log_metric("loss", 0.5)
    mlflow.log_metric("loss", 0.25, step=1)
    mlflow.log_metrics({"auc": 0.71, "f1": 0.5}, step=7)
    mlflow.log_metric("odd", float("nan"))
    mlflow.log_metric("top", float("inf"))
    mlflow.log_metric("low", float("-inf"))
    mlflow.set_tag("stage", "try")
    mlflow.set_tags({"a/b": "1", "snow": "\u2603", "gone": "x"})
    mlflow.delete_tag("gone")
    with mlflow.start_run(nested=True) as child:
        mlflow.log_metric("loss", 1.0)
    for step in range(50):
        mlflow.log_metric("async", step / 50, step=step, synchronous=False)
    mlflow.log_params({"later": 1}, synchronous=False).wait()
    mlflow.flush_async_logging()

run = mlflow.get_run(parent.info.run_id)
assert run.info.status == "FINISHED"
assert run.info.run_name == "parent"
assert run.info.lifecycle_stage == "active"
assert run.info.experiment_id == experiment.experiment_id
assert before <= run.info.start_time <= run.info.end_time
assert run.info.artifact_uri == f"mlflow-artifacts:/{experiment.experiment_id}/{run.info.run_id}/artifacts"
assert run.data.params == {"depth": "3", "rate": "0.1", "kind": "gbt", "empty": "", "later": "1"}, run.data.params
metrics = run.data.metrics
assert (metrics["loss"], metrics["auc"], metrics["f1"], metrics["async"]) == (0.25, 0.71, 0.5, 0.98)
assert math.isnan(metrics["odd"])
assert (metrics["top"], metrics["low"]) == (math.inf, -math.inf)
tags = run.data.tags
assert (tags["team"], tags["stage"], tags["a/b"], tags["snow"]) == ("ops", "try", "1", "\u2603")
assert tags["mlflow.runName"] == "parent"
assert tags["mlflow.note.content"] == "a parent"
assert "gone" not in tags
assert mlflow.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
assert mlflow.get_run(child.info.run_id).info.run_name
assert [one.info.run_id for one in [mlflow.get_parent_run(child.info.run_id)]] == [parent.info.run_id]

history = client.get_metric_history(parent.info.run_id, "async")
assert [(one.step, one.value) for one in history] == [(step, step / 50) for step in range(50)]
assert [one.value for one in client.get_metric_history(parent.info.run_id, "loss")] == [0.5, 0.25]
assert list(client.get_metric_history(parent.info.run_id, "none")) == []

# params never change; the same value again is fine
refused("INVALID_PARAMETER_VALUE", client.log_param, parent.info.run_id, "depth", 4)
client.log_param(parent.info.run_id, "depth", 3)
refused("INVALID_PARAMETER_VALUE", client.log_batch, parent.info.run_id, params=[Param("rate", "9")])
refused("RESOURCE_DOES_NOT_EXIST", client.get_run, uuid.uuid4().hex)
refused("RESOURCE_DOES_NOT_EXIST", client.log_metric, uuid.uuid4().hex, "a", 1.0)
refused("RESOURCE_DOES_NOT_EXIST", client.delete_tag, parent.info.run_id, "gone")
refused("INVALID_PARAMETER_VALUE", client.log_metric, parent.info.run_id, "../a", 1.0)

# batches, straight through the client
run = client.create_run(experiment.experiment_id, run_name="batch", start_time=1)
now = int(time.time() * 1000)
many = [Metric("m", float(step), now + step, step) for step in range(1000)]
client.log_batch(run.info.run_id, metrics=many, params=[], tags=[])
client.log_batch(run.info.run_id, metrics=many[:10], params=[Param("p", "1")], tags=[RunTag("t", "1")])
assert len(client.get_metric_history(run.info.run_id, "m")) == 1000  # the same points again are the same points
read = client.get_run(run.info.run_id)
assert (read.data.metrics["m"], read.data.params["p"], read.data.tags["t"]) == (999.0, "1", "1")
assert read.info.start_time == 1
assert read.info.status == "RUNNING"
client.set_terminated(run.info.run_id, status="FAILED", end_time=5)
assert (client.get_run(run.info.run_id).info.status, client.get_run(run.info.run_id).info.end_time) == ("FAILED", 5)
client.update_run(run.info.run_id, name="other name")
assert client.get_run(run.info.run_id).info.run_name == "other name"
client.set_tag(run.info.run_id, "mlflow.runName", "third name")
assert client.get_run(run.info.run_id).info.run_name == "third name"
assert client.get_run(run.info.run_id).data.tags["mlflow.runName"] == "third name"

# deleted runs are read, take no writes, come back
client.delete_run(run.info.run_id)
assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
said = refused("INVALID_PARAMETER_VALUE", client.log_metric, run.info.run_id, "m", 1.0)
assert "must be in the 'active' state" in said
client.restore_run(run.info.run_id)
client.log_metric(run.info.run_id, "m2", 1.0)

# experiments: tags, rename, delete with all runs, restore; a deleted name stays taken
client.set_experiment_tag(experiment.experiment_id, "owner", "ann")
assert client.get_experiment(experiment.experiment_id).tags["owner"] == "ann"
client.rename_experiment(experiment.experiment_id, f"{name} 2")
assert client.get_experiment_by_name(f"{name} 2").experiment_id == experiment.experiment_id
assert client.get_experiment_by_name(name) is None
client.delete_experiment(experiment.experiment_id)
assert client.get_experiment(experiment.experiment_id).lifecycle_stage == "deleted"
assert client.get_run(parent.info.run_id).info.lifecycle_stage == "deleted"
refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, f"{name} 2")
refused("INVALID_PARAMETER_VALUE", client.create_run, experiment.experiment_id)
client.restore_experiment(experiment.experiment_id)
assert client.get_run(parent.info.run_id).info.lifecycle_stage == "active"
made = client.create_experiment(f"{name} 3", tags={"x": "y"})
assert client.get_experiment(made).tags["x"] == "y"
refused("INVALID_PARAMETER_VALUE", client.create_experiment, f"{name} 4", artifact_location="file:///etc")
assert made in [one.experiment_id for one in client.search_experiments(view_type=ViewType.ALL)]

print("done")

"""Models as runs leave them: sklearn, XGBoost, LightGBM, pyfunc (PyTorch where it is there), loaded back, compared."""

import inspect
import uuid

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

import mlflow

client = mlflow.MlflowClient()
mlflow.set_experiment(f"models {uuid.uuid4().hex[:8]}")
chance = np.random.default_rng(7)
rows = pd.DataFrame(chance.normal(size=(200, 3)), columns=["a", "b", "c"])
late = (rows["a"] + rows["b"] > 0).astype(int)


class Doubled(mlflow.pyfunc.PythonModel):
    """A model of one's own."""

    def predict(self, context, model_input, params=None):
        return model_input["a"] * 2


linear = LogisticRegression().fit(rows, late)
boosted = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(rows, late)
light = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(rows, late)
signature = infer_signature(rows, linear.predict(rows))
NEW = hasattr(client, "search_logged_models")

with mlflow.start_run() as run:
    made = mlflow.sklearn.log_model(linear, name="linear", signature=signature, input_example=rows[:3])
    mlflow.xgboost.log_model(boosted, name="boosted")
    mlflow.lightgbm.log_model(light, name="light")
    mlflow.pyfunc.log_model(name="doubled", python_model=Doubled())
    mlflow.log_metric("auc", 0.7, model_id=made.model_id)

assert (mlflow.sklearn.load_model(made.model_uri).predict(rows) == linear.predict(rows)).all()
assert (mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/linear").predict(rows) == linear.predict(rows)).all()
assert (mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/linear").predict(rows) == linear.predict(rows)).all()
assert np.allclose(
    mlflow.xgboost.load_model(f"runs:/{run.info.run_id}/boosted").predict_proba(rows), boosted.predict_proba(rows)
)
assert np.allclose(
    mlflow.lightgbm.load_model(f"runs:/{run.info.run_id}/light").predict_proba(rows), light.predict_proba(rows)
)
assert list(mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/doubled").predict(rows)) == list(rows["a"] * 2)
info = mlflow.models.get_model_info(made.model_uri)
assert info.signature == signature
assert info.signature.inputs.input_names() == ["a", "b", "c"]

model = mlflow.get_logged_model(made.model_id)
assert (model.name, str(model.status), model.source_run_id) == ("linear", "READY", run.info.run_id)
assert [(one.key, one.value) for one in model.metrics] == [("auc", 0.7)]
client.set_logged_model_tags(made.model_id, {"team": "ops", "a/b": "1"})
client.delete_logged_model_tag(made.model_id, "a/b")
assert mlflow.get_logged_model(made.model_id).tags["team"] == "ops"
assert "a/b" not in mlflow.get_logged_model(made.model_id).tags
outputs = {one.model_id for one in mlflow.get_run(run.info.run_id).outputs.model_outputs}
assert made.model_id in outputs
assert len(outputs) == 4

experiment = run.info.experiment_id
found = mlflow.search_logged_models([experiment], filter_string="name = 'linear'", output_format="list")
assert [one.model_id for one in found] == [made.model_id]
found = mlflow.search_logged_models([experiment], filter_string="metrics.auc > 0.5", output_format="list")
assert [one.model_id for one in found] == [made.model_id]
ordered = [{"field_name": "name", "ascending": True}]
found = mlflow.search_logged_models([experiment], order_by=ordered, output_format="list", max_results=3)
assert [one.name for one in found][:2] == ["boosted", "doubled"]

empty = mlflow.initialize_logged_model(name="empty", params={"depth": "3"}, tags={"t": "1"}, experiment_id=experiment)
assert (str(empty.status), empty.params, empty.tags["t"]) == ("PENDING", {"depth": "3"}, "1")
assert str(mlflow.finalize_logged_model(empty.model_id, "FAILED").status) == "FAILED"
client.delete_logged_model(empty.model_id)
gone = ""
try:
    mlflow.get_logged_model(empty.model_id)
except mlflow.exceptions.MlflowException as error:
    gone = error.error_code
assert gone == "RESOURCE_DOES_NOT_EXIST"

try:
    import torch
except ImportError:
    torch = None
if torch is not None:
    net = torch.nn.Linear(3, 1)
    with mlflow.start_run() as run:
        known = inspect.signature(mlflow.pytorch.log_model).parameters
        plain = {"serialization_format": "pickle"} if "serialization_format" in known else {}
        mlflow.pytorch.log_model(net, name="net", **plain)
    back = mlflow.pytorch.load_model(f"runs:/{run.info.run_id}/net")
    given = torch.zeros(2, 3)
    assert torch.equal(back(given), net(given))
print("done")

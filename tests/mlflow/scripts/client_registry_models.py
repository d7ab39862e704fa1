"""log_model with a registered name, register_model, load_model by number, alias and stage: scikit-learn and pyfunc."""

import json

import mlflow.sklearn
import numpy as np
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

import mlflow
from mlflow import MlflowClient

client = MlflowClient()
NAME = f"late-{mlflow.__version__}"
rows = np.array([[0.0], [1.0], [2.0], [3.0]])
fitted = LogisticRegression().fit(rows, [0, 0, 1, 1])
signature = infer_signature(rows, fitted.predict(rows))

with mlflow.start_run() as run:
    logged = mlflow.sklearn.log_model(
        fitted, name="model", registered_model_name=NAME, signature=signature, input_example=rows
    )
version = client.get_model_version(NAME, "1")
assert (version.run_id, version.status) == (run.info.run_id, "READY")
note = json.loads(client.get_logged_model(logged.model_id).tags["mlflow.modelVersions"])
assert {(one["name"], int(one["version"])) for one in note} == {(NAME, 1)}, note
second = mlflow.register_model(f"runs:/{run.info.run_id}/model", NAME, tags={"by": "hand"})
assert str(second.version) == "2"
assert client.get_model_version(NAME, "2").tags == {"by": "hand"}
client.set_registered_model_alias(NAME, "champion", "2")
client.transition_model_version_stage(NAME, "1", "Staging")
for uri in (f"models:/{NAME}/1", f"models:/{NAME}@champion", f"models:/{NAME}/Staging", f"models:/{NAME}/latest"):
    assert (mlflow.pyfunc.load_model(uri).predict(rows) == fitted.predict(rows)).all()
    assert (mlflow.sklearn.load_model(uri).predict(rows) == fitted.predict(rows)).all()
print("done")

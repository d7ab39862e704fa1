"""Registered models and versions through an MLflow client: every call that its registry has, read back."""

import re

from mlflow.exceptions import MlflowException

import mlflow
from mlflow import MlflowClient

client = MlflowClient()
PEER = mlflow.__version__.replace(".", "_")
NAME = f"flights {PEER}"


def refused(code, words, act, *given, **more):
    try:
        made = act(*given, **more)
    except MlflowException as error:
        caught = error
    else:
        raise AssertionError(f"{given} was not refused: {made}")
    assert caught.error_code == code, (caught.error_code, str(caught))
    assert re.search(words, str(caught)), str(caught)


def names(found):
    return [model.name for model in found]


with mlflow.start_run() as run:
    for path in ("MLmodel", "weights.txt"):
        mlflow.log_text(f"flavors:\n  plain: {{}}\nmlflow_version: {mlflow.__version__}\n", f"model/{path}")
source = f"runs:/{run.info.run_id}/model"

# names
model = client.create_registered_model(NAME, {"team": "air", "size": 3}, "late or not")
assert (model.name, model.description, model.tags) == (NAME, "late or not", {"team": "air", "size": "3"})
refused("RESOURCE_ALREADY_EXISTS", rf"Registered Model \(name={NAME}\) already exists", client.create_registered_model, NAME)
refused("INVALID_PARAMETER_VALUE", "Names cannot contain '/' or ':'", client.create_registered_model, "a/b")
refused("RESOURCE_DOES_NOT_EXIST", "Registered Model with name=none not found", client.get_registered_model, "none")
assert client.get_registered_model(NAME).latest_versions == []
assert client.update_registered_model(NAME, "late").description == "late"
client.set_registered_model_tag(NAME, "team", "ground")
client.delete_registered_model_tag(NAME, "size")
assert client.get_registered_model(NAME).tags == {"team": "ground"}
assert names(client.search_registered_models(f"name = '{NAME}'")) == [NAME]
assert names(client.search_registered_models("tags.team = 'ground'", order_by=["name DESC"]))[:1] == [NAME]

# versions
first = client.create_model_version(NAME, source, run.info.run_id, {"colour": "red"}, description="one")
assert (first.version, first.source, first.run_id, first.status) == ("1", source, run.info.run_id, "READY")
assert (first.current_stage, first.tags, first.description) == ("None", {"colour": "red"}, "one")
second = client.create_model_version(NAME, source, run.info.run_id)
assert second.version == "2"
assert client.get_model_version_download_uri(NAME, "1") == source
assert client.update_model_version(NAME, "2", "two").description == "two"
client.set_model_version_tag(NAME, "2", "colour", "blue")
client.delete_model_version_tag(NAME, "1", "colour")
assert client.get_model_version(NAME, "1").tags == {}
assert client.get_model_version(NAME, 2).tags == {"colour": "blue"}
refused("RESOURCE_DOES_NOT_EXIST", r"Model Version .+version=9. not found", client.get_model_version, NAME, "9")
refused("INVALID_PARAMETER_VALUE", "Parameter 'version' must be an integer, got 'x'", client.get_model_version, NAME, "x")
found = client.search_model_versions(f"name = '{NAME}'", order_by=["version_number ASC"])
assert [one.version for one in found] == ["1", "2"]
assert [one.version for one in client.search_model_versions(f"run_id = '{run.info.run_id}' AND tags.colour = 'blue'")] == [
    "2"
]

# aliases
client.set_registered_model_alias(NAME, "champion", "1")
client.set_registered_model_alias(NAME, "night-shift", "1")
client.set_registered_model_alias(NAME, "champion", "2")
assert client.get_registered_model(NAME).aliases == {"champion": "2", "night-shift": "1"}
assert client.get_model_version_by_alias(NAME, "champion").version == "2"
assert client.get_model_version(NAME, "1").aliases == ["night-shift"]
assert client.get_model_version_by_alias(NAME, "latest").version == "2"
refused("INVALID_PARAMETER_VALUE", "alias name .* is reserved", client.set_registered_model_alias, NAME, "v1", "1")
refused("INVALID_PARAMETER_VALUE", "'latest' alias name", client.set_registered_model_alias, NAME, "Latest", "1")
client.delete_registered_model_alias(NAME, "night-shift")
client.delete_registered_model_alias(NAME, "night-shift")
refused("INVALID_PARAMETER_VALUE", "alias night-shift not found", client.get_model_version_by_alias, NAME, "night-shift")

# stages
third = client.create_model_version(NAME, source, run.info.run_id)
assert client.transition_model_version_stage(NAME, "1", "production").current_stage == "Production"
client.transition_model_version_stage(NAME, "3", "Staging")
client.transition_model_version_stage(NAME, "3", "Production", archive_existing_versions=True)
stages = {one.current_stage: one.version for one in client.get_latest_versions(NAME)}
assert stages == {"Archived": "1", "None": "2", "Production": "3"}, stages
assert [one.version for one in client.get_latest_versions(NAME, ["Production"])] == ["3"]
refused("INVALID_PARAMETER_VALUE", "Invalid Model Version stage", client.transition_model_version_stage, NAME, "1", "Moon")

# copies, names again, and the end
copy = client.copy_model_version(f"models:/{NAME}/2", f"{NAME} copy")
assert (copy.version, copy.source, copy.run_id) == ("1", f"models:/{NAME}/2", run.info.run_id)
assert client.get_model_version_download_uri(f"{NAME} copy", "1") == source
assert mlflow.artifacts.load_text(f"models:/{NAME}@champion/weights.txt").startswith("flavors")
client.delete_model_version(NAME, "3")
refused("RESOURCE_DOES_NOT_EXIST", "Model Version .+ not found", client.get_model_version, NAME, "3")
assert client.create_model_version(NAME, source, run.info.run_id).version == "4"
client.rename_registered_model(NAME, f"{NAME} renamed")
refused("RESOURCE_DOES_NOT_EXIST", "not found", client.get_registered_model, NAME)
assert client.get_model_version_by_alias(f"{NAME} renamed", "champion").version == "2"
client.delete_registered_model(f"{NAME} renamed")
refused("RESOURCE_DOES_NOT_EXIST", "not found", client.get_registered_model, f"{NAME} renamed")
client.create_registered_model(f"{NAME} renamed")
assert client.create_model_version(f"{NAME} renamed", source, run.info.run_id).version == "5", "numbers are given once"

# what a source may never be
for bad in ("file:///etc", "/etc/passwd", "http://127.0.0.1/x", "s3://bucket/x", f"{source}/../..", f"{source}/%2e%2e/x"):
    refused("INVALID_PARAMETER_VALUE", "source", client.create_model_version, f"{NAME} renamed", bad, run.info.run_id)
at = f"{run.info.artifact_uri}/model"
refused(
    "INVALID_PARAMETER_VALUE",
    "must identify",
    client.create_model_version,
    f"{NAME} renamed",
    at,
    "f" * 32,
)
assert client.create_model_version(f"{NAME} renamed", at, run.info.run_id).version == "6"
print("done")

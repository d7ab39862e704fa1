"""Some hundred calls of the registry, played against MLflow's own server and against Kedge: statuses, texts, answers.

Where Kedge means to differ it is named in `DIFFERS`, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.mlflow.peers import find
from tests.mlflow.scripts.registry_oracle import play
from tests.mlflow.test_search_oracle import same_text

ORACLE = Path(__file__).parent / "scripts" / "registry_oracle.py"
M, V = "/api/2.0/mlflow/registered-models", "/api/2.0/mlflow/model-versions"
APART = {
    "creation_timestamp",
    "last_updated_timestamp",
    "sqlstate",
    "error_class",
}  # times; what no client reads
SOURCE = {"source": "runs:/{run}/model", "run_id": "{run}"}


def tags(**given):
    return [{"key": key, "value": value} for key, value in given.items()]


CALLS = [
    ["POST", "/api/2.0/mlflow/runs/create", {"experiment_id": "0", "start_time": 1}],
    # names
    ["POST", f"{M}/create", {"name": "a", "description": "text", "tags": tags(t="1", u="2")}],
    ["POST", f"{M}/create", {"name": "b"}],
    ["POST", f"{M}/create", {"name": "a"}],
    ["POST", f"{M}/create", {}],
    ["POST", f"{M}/create", {"name": ""}],
    ["POST", f"{M}/create", {"name": "  "}],
    ["POST", f"{M}/create", {"name": 5}],
    ["POST", f"{M}/create", {"name": "x/y"}],
    ["POST", f"{M}/create", {"name": "x:y"}],
    ["POST", f"{M}/create", {"name": ".."}],
    ["POST", f"{M}/create", {"name": "./c"}],
    ["POST", f"{M}/create", {"name": "c", "tags": tags(**{"a?": "x"})}],
    ["POST", f"{M}/create", {"name": "c", "tags": tags(**{"k" * 251: "x"})}],
    ["POST", f"{M}/create", {"name": "c", "tags": tags(k="v" * 100_001)}],
    ["GET", f"{M}/get", {"name": "a"}],
    ["GET", f"{M}/get", {"name": "b"}],
    ["GET", f"{M}/get", {"name": "none"}],
    ["GET", f"{M}/get", {}],
    ["GET", f"{M}/get", {"name": "x/y"}],
    ["PATCH", f"{M}/update", {"name": "a", "description": "other"}],
    ["PATCH", f"{M}/update", {"name": "a"}],
    ["PATCH", f"{M}/update", {"name": "none", "description": "x"}],
    ["POST", f"{M}/set-tag", {"name": "a", "key": "t", "value": "9"}],
    ["POST", f"{M}/set-tag", {"name": "a", "key": "new"}],
    ["POST", f"{M}/set-tag", {"name": "a", "value": "x"}],
    ["POST", f"{M}/set-tag", {"name": "none", "key": "t", "value": "x"}],
    ["POST", f"{M}/set-tag", {"name": "a", "key": "../x", "value": "x"}],
    ["DELETE", f"{M}/delete-tag", {"name": "a", "key": "u"}],
    ["DELETE", f"{M}/delete-tag", {"name": "a", "key": "u"}],
    ["DELETE", f"{M}/delete-tag", {"name": "none", "key": "u"}],
    ["GET", f"{M}/get", {"name": "a"}],
    ["GET", f"{M}/search", {}],
    ["GET", f"{M}/search", {"filter": "name = 'a'"}],
    ["GET", f"{M}/search", {"filter": "name LIKE '%'", "order_by": ["name DESC"]}],
    ["GET", f"{M}/search", {"filter": "tags.t = '9'"}],
    ["GET", f"{M}/search", {"filter": "name ="}],
    ["GET", f"{M}/search", {"filter": "moon = 'x'"}],
    ["GET", f"{M}/search", {"filter": "name > 'x'"}],
    ["GET", f"{M}/search", {"order_by": ["moon ASC"]}],
    ["GET", f"{M}/get-latest-versions", {"name": "a"}],
    # versions
    ["POST", f"{V}/create", {"name": "a", **SOURCE, "description": "one", "tags": tags(c="red"), "run_link": "http://x"}],
    ["POST", f"{V}/create", {"name": "a", **SOURCE}],
    ["POST", f"{V}/create", {"name": "a", "source": "{at}/model", "run_id": "{run}"}],
    ["POST", f"{V}/create", {"name": "none", **SOURCE}],
    ["POST", f"{V}/create", {"name": "a"}],
    ["POST", f"{V}/create", {"source": "runs:/{run}/model"}],
    ["POST", f"{V}/create", {"name": "a", "source": "runs:/{run}/model", "run_id": "other"}],
    ["POST", f"{V}/create", {"name": "a", "source": "{at}/model", "run_id": "f" * 32}],
    ["POST", f"{V}/create", {"name": "a", "source": "{at}/model"}],
    ["POST", f"{V}/create", {"name": "a", "source": "{at}/../../model", "run_id": "{run}"}],
    ["POST", f"{V}/create", {"name": "a", "source": "{at}/%2e%2e/model", "run_id": "{run}"}],
    ["POST", f"{V}/create", {"name": "a", "source": "runs:/{run}/../x", "run_id": "{run}"}],
    ["POST", f"{V}/create", {"name": "a", "source": "/etc", "run_id": "{run}"}],
    ["POST", f"{V}/create", {"name": "a", "source": "file:///etc", "run_id": "{run}"}],
    ["POST", f"{V}/create", {"name": "a", "source": "relative", "run_id": "{run}"}],
    ["POST", f"{V}/create", {"name": "a", "source": "models:/m-none", "run_id": "{run}"}],
    ["POST", f"{V}/create", {"name": "a", "source": "models:/a/b/c"}],
    ["POST", f"{V}/create", {"name": "a", "source": "models://host/a/1"}],
    ["POST", f"{V}/create", {"name": "b", "source": "models:/a/1"}],
    ["POST", f"{V}/create", {"name": "b", "source": "models:/a/1", "run_id": "other"}],
    ["POST", f"{V}/create", {"name": "b", "source": "models:/a/77"}],
    ["POST", f"{V}/create", {"name": "b", "source": "models:/none/1"}],
    ["GET", f"{V}/get", {"name": "a", "version": "1"}],
    ["GET", f"{V}/get", {"name": "a", "version": "9"}],
    ["GET", f"{V}/get", {"name": "a", "version": "x"}],
    ["GET", f"{V}/get", {"name": "a"}],
    ["GET", f"{V}/get", {"name": "none", "version": "1"}],
    ["GET", f"{V}/get-download-uri", {"name": "a", "version": "1"}],
    ["GET", f"{V}/get-download-uri", {"name": "b", "version": "1"}],
    ["GET", f"{V}/get-download-uri", {"name": "a", "version": "9"}],
    ["PATCH", f"{V}/update", {"name": "a", "version": "2", "description": "two"}],
    ["PATCH", f"{V}/update", {"name": "a", "version": "3"}],
    ["PATCH", f"{V}/update", {"name": "a", "version": "9", "description": "x"}],
    ["POST", f"{V}/set-tag", {"name": "a", "version": "2", "key": "c", "value": "blue"}],
    ["POST", f"{V}/set-tag", {"name": "a", "version": "9", "key": "c", "value": "blue"}],
    ["DELETE", f"{V}/delete-tag", {"name": "a", "version": "1", "key": "c"}],
    ["DELETE", f"{V}/delete-tag", {"name": "a", "version": "1", "key": "c"}],
    ["GET", f"{V}/search", {"filter": "name = 'a'", "order_by": ["version_number ASC"]}],
    ["GET", f"{V}/search", {"filter": "tags.c = 'blue'"}],
    ["GET", f"{V}/search", {"filter": "version_number > 1 AND name = 'a'", "order_by": ["version_number DESC"]}],
    ["GET", f"{V}/search", {"filter": "run_id = '{run}'", "order_by": ["name ASC", "version_number ASC"]}],
    ["GET", f"{V}/search", {"filter": "moon = 'x'"}],
    ["GET", f"{V}/search", {"filter": "name = 'a'", "max_results": "0"}],
    # aliases
    ["POST", f"{M}/alias", {"name": "a", "alias": "champion", "version": "1"}],
    ["POST", f"{M}/alias", {"name": "a", "alias": "nightly", "version": "2"}],
    ["POST", f"{M}/alias", {"name": "a", "alias": "champion", "version": "2"}],
    ["POST", f"{M}/alias", {"name": "a", "alias": "latest", "version": "2"}],
    ["POST", f"{M}/alias", {"name": "a", "alias": "v2", "version": "2"}],
    ["POST", f"{M}/alias", {"name": "a", "alias": "a b", "version": "2"}],
    ["POST", f"{M}/alias", {"name": "a", "alias": "a" * 256, "version": "2"}],
    ["POST", f"{M}/alias", {"name": "a", "alias": "x", "version": "9"}],
    ["POST", f"{M}/alias", {"name": "a", "alias": "x", "version": "y"}],
    ["POST", f"{M}/alias", {"name": "none", "alias": "x", "version": "1"}],
    ["GET", f"{M}/alias", {"name": "a", "alias": "champion"}],
    ["GET", f"{M}/alias", {"name": "a", "alias": "Latest"}],
    ["GET", f"{M}/alias", {"name": "a", "alias": "none"}],
    ["GET", f"{M}/alias", {"name": "none", "alias": "champion"}],
    ["GET", f"{M}/get", {"name": "a"}],
    ["DELETE", f"{M}/alias", {"name": "a", "alias": "nightly"}],
    ["DELETE", f"{M}/alias", {"name": "a", "alias": "nightly"}],
    ["DELETE", f"{M}/alias", {"name": "none", "alias": "nightly"}],
    # stages
    ["POST", f"{V}/transition-stage", {"name": "a", "version": "1", "stage": "production"}],
    ["POST", f"{V}/transition-stage", {"name": "a", "version": "2", "stage": "Staging"}],
    [
        "POST",
        f"{V}/transition-stage",
        {"name": "a", "version": "3", "stage": "Production", "archive_existing_versions": True},
    ],
    ["POST", f"{V}/transition-stage", {"name": "a", "version": "1", "stage": "moon"}],
    ["POST", f"{V}/transition-stage", {"name": "a", "version": "9", "stage": "Staging"}],
    ["POST", f"{V}/transition-stage", {"name": "a", "version": "1"}],
    ["GET", f"{V}/get", {"name": "a", "version": "1"}],
    ["POST", f"{M}/get-latest-versions", {"name": "a"}],
    ["POST", f"{M}/get-latest-versions", {"name": "a", "stages": ["production"]}],
    ["POST", f"{M}/get-latest-versions", {"name": "a", "stages": ["moon"]}],
    ["POST", f"{M}/get-latest-versions", {"name": "none"}],
    # the end
    ["DELETE", f"{V}/delete", {"name": "a", "version": "2"}],
    ["DELETE", f"{V}/delete", {"name": "a", "version": "2"}],
    ["DELETE", f"{V}/delete", {"name": "a", "version": "x"}],
    ["GET", f"{M}/get", {"name": "a"}],
    ["POST", f"{V}/create", {"name": "a", **SOURCE}],
    ["POST", f"{M}/rename", {"name": "a", "new_name": "renamed"}],
    ["POST", f"{M}/rename", {"name": "a", "new_name": "other"}],
    ["POST", f"{M}/rename", {"name": "renamed", "new_name": "x/y"}],
    ["POST", f"{M}/rename", {"name": "renamed"}],
    ["GET", f"{M}/get", {"name": "a"}],
    ["GET", f"{V}/get", {"name": "renamed", "version": "1"}],
    ["DELETE", f"{M}/delete", {"name": "renamed"}],
    ["DELETE", f"{M}/delete", {"name": "renamed"}],
    ["GET", f"{M}/search", {}],
]
DIFFERS = {
    "file:///etc": "the source is told as it was given, MLflow tells the path it would have opened",
    '"relative"': "as above: MLflow tells the folder that its server runs in",
    "models:/m-none": "a logged model that is not there: 404 here, told as its own failure by MLflow",
}


@pytest.mark.slow
def test_answers_are_those_of_mlflow(empty_up, tmp_path):
    python = find("new")
    if python is None:
        pytest.skip("no MLflow (new): python -m tests.mlflow.peers makes it")
    asked = json.dumps({"folder": str(tmp_path), "calls": CALLS})
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    environment = {**plain, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [python, ORACLE], input=asked, capture_output=True, text=True, timeout=240, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    ours = play(lambda method, path, body: send(empty_up, method, path, body=body), CALLS)
    wrong = [
        f"{call}\n    MLflow {json.dumps(their)}\n    Kedge  {json.dumps(our)}"
        for call, their, our in zip(CALLS[1:], theirs[1:], ours[1:], strict=True)
        if like(their) != like(our) and not any(known in json.dumps(call) for known in DIFFERS)
    ]
    assert not wrong, "\n".join(["", *wrong])


def send(up, method, path, *, body):
    if method != "GET":
        return up.ask(method, path, body)
    return up.ask("GET", f"{path}?{urlencode(body, doseq=True)}")


def like(told):
    """Give an answer without its times; lists that have no order of their own are sorted."""
    status, answer = told
    return status, _plain(answer)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key not in APART}
    if isinstance(value, list):
        return sorted((_plain(inner) for inner in value), key=json.dumps)
    return same_text(value) if isinstance(value, str) else value

"""MLflow's unmodified scoring client against `/invocations`."""

import subprocess

import pytest
from tests.api.test_serving_clients import begin
from tests.mlflow.conftest import SCRIPTS
from tests.mlflow.peers import PEERS, find


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_the_scoring_client_is_answered(tmp_path, peer):
    python = find(peer)
    if python is None:
        pytest.skip(f"no MLflow client ({peer}): python -m tests.mlflow.peers makes it")
    ports = begin(tmp_path, "flights")
    try:
        subprocess.run([python, SCRIPTS / "client_scoring.py", f"http://{ports.http}"], check=True, timeout=120)
    finally:
        ports.process.terminate()
        assert ports.process.wait(30) == 0

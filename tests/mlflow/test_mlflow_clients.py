"""Unmodified MLflow clients against a real server: each script asserts what it reads back."""

import pytest
from tests.mlflow.conftest import playing
from tests.mlflow.peers import find

CLASSIC = ("runs", "search", "datasets", "artifacts", "files", "models", "autolog")


@pytest.mark.slow
@pytest.mark.parametrize("life", CLASSIC)
def test_a_client_reads_back_what_it_wrote(script, life):
    script(f"client_{life}")


@pytest.mark.slow
@pytest.mark.parametrize("life", ["runs", "registry"])
def test_a_client_does_not_notice_postgresql(postgresql_up, tmp_path, life):
    python = find("new")
    if python is None:
        pytest.skip("no MLflow client (new): python -m tests.mlflow.peers makes it")
    playing(postgresql_up, python, tmp_path)(f"client_{life}")

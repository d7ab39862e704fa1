"""Unmodified MLflow clients against a real server: each script asserts what it reads back."""

import pytest

CLASSIC = ("runs", "search", "datasets", "artifacts", "files", "models", "autolog")


@pytest.mark.slow
@pytest.mark.parametrize("life", CLASSIC)
def test_a_client_reads_back_what_it_wrote(script, life):
    script(f"client_{life}")

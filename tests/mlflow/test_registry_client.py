"""The registry through unmodified MLflow clients against a real server."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["client_registry", "client_registry_models"])
def test_a_client_keeps_models_in_the_registry(script, name):
    script(name)

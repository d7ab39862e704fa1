"""A data plane without a project: it serves whatever is deployed in its store."""

from pathlib import Path

import pytest
from tests.unit.serving.fakes import MODEL, NUMBERS, Around, Clock, Ids, call, tensor

from kedge.cli.serve import command
from kedge.domain.ids import ModelName
from kedge.errors import ConfigError
from kedge.serving.door.application import HttpDoor
from kedge.serving.host import Host
from kedge.serving.log import PredictionLog


def test_every_deployed_model_is_served_and_none_is_the_projects() -> None:
    around = Around(signature=NUMBERS)
    around.registry.signature = NUMBERS
    host = Host(
        model=ModelName(""),
        service=None,
        sticky="",
        deployments=around.deployments,
        registry=around.registry,
        shelf=around.evaluation,
        size=lambda servable: 1000,
        reader=None,
        log=PredictionLog(around.journal),
        clock=Clock(),
        new_id=Ids(),
    )
    door = HttpDoor(host, version="9")
    assert call(door, "GET", "/v2/health/ready").status == 503
    assert host.models() == ()
    assert "no model is deployed yet" in call(door, "GET", f"/v2/models/{MODEL}").json["error"]
    around.deployments.deploy(1)
    host.look()
    assert call(door, "GET", "/v2/health/ready").status == 200
    assert host.models() == (MODEL,)
    body = {"inputs": [tensor("a", "FP64", [1.0]), tensor("b", "INT64", [2])]}
    assert call(door, "POST", f"/v2/models/{MODEL}/infer", body).status == 200


def test_a_folder_that_is_mistyped_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nofolder does not exist"):
        command(tmp_path / "nofolder")
    assert list(tmp_path.iterdir()) == []

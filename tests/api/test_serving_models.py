"""Models that no loop made, from their files to an answer that is computed again: a table in compiled form, and arrays."""

import asyncio
from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from tests.unit.serving.fakes import question_of, tensor
from typer.testing import CliRunner

from kedge.adapters.sklearn.format import SklearnFormat
from kedge.app import House, open_house
from kedge.cli.main import application
from kedge.config import bare_project, settings
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, PredictionId, digest_of
from kedge.domain.rollout import Deployment
from kedge.serving.host import host_of
from kedge.serving.wire.questions import InferRequest, InferResponse

NOW = datetime(2026, 1, 1, tzinfo=UTC)
X = np.random.default_rng(0).normal(size=(200, 2))
TREES = HistGradientBoostingClassifier(max_iter=3).fit(X, (X[:, 0] > 0).astype(int))


def registered(*words: str) -> None:
    given = ["models", "register", *words]
    told = CliRunner().invoke(application(given), given)
    assert told.exit_code == 0, (told.output, told.exception)


def deploy(house: House, model: str) -> None:
    told = Event(
        key=digest_of(model), kind=EventKind.ROLLOUT_STARTED, at=NOW, subject=model, actor="person:ana", message="deployed"
    )
    made = Deployment(model=ModelName(model), revision=1, champion=1, since=NOW, actor="person:ana", reason="a test")
    house.meta.deployments.put(made, told)


def answers(house: House, *questions: InferRequest) -> list[InferResponse]:
    async def ask() -> list[InferResponse]:
        host = host_of(house)
        return [await host.ask(question) for question in questions]

    return asyncio.run(ask())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDGE_URL", raising=False)
    return tmp_path


def test_trees_are_served_in_their_compiled_form_and_computed_again_in_it(here) -> None:
    (here / "late.skops").write_bytes(SklearnFormat().dump(TREES)["model.skops"])
    pl.DataFrame({"distance": X[:20, 0], "hour": X[:20, 1]}).write_parquet(here / "rows.parquet")
    registered("late", "late.skops", "--example", "rows.parquet", "--output", "late")
    house = open_house(settings(here), bare_project(here), writer="test")
    deploy(house, "late")
    body = {"id": "r", "inputs": [tensor("x", "FP64", X[:3].ravel().tolist(), [3, 2])]}
    (answer,) = answers(house, question_of(msgspec.json.encode(body), "late"))
    assert answer.outputs[0].data == pytest.approx(TREES.predict_proba(X[:3])[:, 1], abs=1e-12)
    logged = house.lineage.get(PredictionId("r.2"))
    assert (logged.batch.forms, logged.batch.features["hour"]) == ({1: "onnx"}, X[:3, 1].tolist())
    served = house.registry.servable(ModelName("late"), 1)
    assert house.evaluation.recompute(served, logged.batch, row=2).equal
    house.close()


def test_a_network_of_arrays_is_served(here) -> None:
    from onnx import TensorProto, helper

    double = helper.make_node("Add", ["image", "image"], ["twice"])
    shape = ["rows", 2, 2]
    graph = helper.make_graph(
        [double],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("twice", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    (here / "net.onnx").write_bytes(model.SerializeToString())
    np.savez(here / "rows.npz", image=np.ones((3, 2, 2), np.float32))
    registered("net", "net.onnx", "--example", "rows.npz")
    house = open_house(settings(here), bare_project(here), writer="test")
    deploy(house, "net")
    body = {"id": "r", "inputs": [tensor("image", "FP32", [1.0, 2.0, 3.0, 4.0], [1, 2, 2])]}
    (answer,) = answers(house, question_of(msgspec.json.encode(body), "net"))
    assert (answer.outputs[0].datatype, answer.outputs[0].data.tolist()) == ("FP32", [[[2.0, 4.0], [6.0, 8.0]]])
    house.close()

"""Registering a model so that it can be served: by the command line, in Python, through a control plane."""

import json
import threading
from urllib.request import urlopen

import msgspec
import numpy as np
import polars as pl
import pytest
import uvicorn
from sklearn.ensemble import HistGradientBoostingClassifier
from typer.testing import CliRunner

import kedge
from kedge.adapters.jobs import InlineRunner
from kedge.adapters.sklearn.format import SklearnFormat
from kedge.app import open_house
from kedge.cli.main import application
from kedge.config import bare_project, settings
from kedge.errors import KedgeError, ModelRefused, RequestInvalid
from kedge.server.application import application as control_plane
from kedge.serving.host import host_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 2))
FRAME = pl.DataFrame({"distance": X[:, 0], "hour": X[:, 1]})
MODEL = HistGradientBoostingClassifier(max_iter=3).fit(X, (X[:, 0] > 0).astype(int))


@pytest.fixture
def inline(monkeypatch):
    """Look at models in this process, which has the libraries loaded."""
    monkeypatch.setattr("kedge.app.ProcessRunner", InlineRunner)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.delenv("KEDGE_URL", raising=False)
    return tmp_path


def command(*words: str, code: int = 0) -> str:
    given = ["models", *words]
    told = CliRunner().invoke(application(given), given)
    assert told.exit_code == code, (words, told.output, told.exception)
    return told.output


def test_a_file_and_its_example_become_a_version_that_can_be_served(here):
    (here / "late.skops").write_bytes(SklearnFormat().dump(MODEL)["model.skops"])
    FRAME.head(20).write_parquet(here / "rows.parquet")
    told = command("register", "late", "late.skops", "--example", "rows.parquet", "--output", "late")
    assert told == "late v1 is registered: skops, it answers a table in its form onnx\n"
    found = json.loads(command("servable", "late", "1", "--json"))
    assert (found["signature"]["output"], found["parity"]["form"], found["number"]) == ("late", "onnx", 1)
    assert found["parity"]["difference"] <= found["parity"]["tolerance"] == 1e-12
    shown = command("servable", "late", "1")
    assert "distance float, hour float" in shown
    assert "reference rows, at most 1e-12 allowed; made with onnx" in shown
    assert "onnx" in command("versions", "late")
    (version,) = json.loads(command("versions", "late", "--json"))
    assert (version["servable"]["digest"], version["loop"]) == (found["digest"], None)
    house = open_house(settings(here), bare_project(here), writer="test")
    house.by_hand.promote("late", 1, actor="person:ana", reason="it is the first")
    events = {event.kind.value for _, event in house.meta.events.list(limit=100)}
    house.close()
    assert {"model_registered", "model_servable"} <= events


def test_rows_as_lists_are_rows(here):
    made = kedge.register_model(MODEL, "late", example=X[:7].tolist())
    house = open_house(settings(here), bare_project(here), writer="test")
    signature = house.registry.servable("late", made.number).signature
    house.close()
    assert signature is not None
    assert [column.name for column in signature.inputs] == ["x0", "x1"]


def test_what_cannot_be_served_is_not_registered(here):
    (here / "late.skops").write_bytes(SklearnFormat().dump(MODEL)["model.skops"])
    (here / "model.pkl").write_bytes(b"x")
    for words, why in (
        (("model.pkl",), "pickles are never loaded"),
        (("late.skops", "--example", "nowhere.csv"), "cannot be read"),
        (("nowhere.skops", "--example", "rows.csv"), "there is none at 'nowhere.skops'"),
    ):
        given = ["models", "register", "late", *words]
        told = CliRunner().invoke(application(given), given)
        assert told.exit_code == 1 or isinstance(told.exception, KedgeError)
        assert why in told.output + str(told.exception)
    assert json.loads(command("list", "--json")) == []


def test_a_model_in_memory_is_registered_and_answers_as_it_does(here):
    made = kedge.register_model(MODEL, "late", example=FRAME.head(10), output="late", tags={"team": "air"})
    assert made == ("late", 1, "onnx")
    (here / "model").mkdir()
    (here / "model" / "late.skops").write_bytes(SklearnFormat().dump(MODEL)["model.skops"])
    again = kedge.register_model("model", "late", example={"distance": [0.1, 0.2], "hour": [1, 2]})
    assert again.number == 2
    house = open_house(settings(here), bare_project(here), writer="test")
    version = house.registry.servable("late", 1)
    answers = house.evaluation.score(version, FRAME.to_dict(as_series=False))
    assert np.allclose(answers, MODEL.predict_proba(X)[:, 1], rtol=0, atol=1e-12)
    assert house.catalog.version("late", 1).tags == {"team": "air"}
    house.close()
    with pytest.raises(ModelRefused, match="no example rows"):
        kedge.register_model(MODEL, "other")
    with pytest.raises(RequestInvalid, match="fits none of the model formats"):
        kedge.register_model(object(), "other", example=FRAME)
    module = type("Net", (type("Module", (), {"__module__": "torch.nn.modules.module"}),), {})
    with pytest.raises(RequestInvalid, match=r"Net is a PyTorch module: write it by torch\.export\.save"):
        kedge.register_model(module(), "other", example=FRAME)
    with pytest.raises(RequestInvalid, match="has no rows"):
        kedge.register_model(MODEL, "other", example=FRAME.head(0))


def test_the_classes_are_named_in_the_order_of_their_probabilities(here, inline):
    several = HistGradientBoostingClassifier(max_iter=2).fit(X, np.array(["late", "early", "on time"])[np.arange(200) % 3])
    assert kedge.register_model(several, "when", example=FRAME).number == 1
    told = CliRunner().invoke(application(["deploy", "when@1"]), ["deploy", "when@1"])
    assert told.exit_code == 0, told.output
    house = open_house(settings(here), bare_project(here), writer="serve")
    host = host_of(house)
    host.load("when")
    outputs = json.loads(msgspec.json.encode(host.metadata("when")))["outputs"]
    house.close()
    assert outputs[1] == {
        "name": "probabilities",
        "datatype": "FP64",
        "shape": [-1, 3],
        "labels": ["early", "late", "on time"],
    }
    assert "labels" not in outputs[0]


def test_what_a_run_logged_with_an_example_is_looked_at_when_it_is_to_be_served(here, inline):
    with kedge.run("late") as run:
        plain = kedge.log_model(MODEL)
        logged = run.log_model(MODEL, "served", example=X[:5])
    command("register", "late", f"models:/{plain}")
    command("register", "late", f"models:/{logged}")
    house = open_house(settings(here), bare_project(here), writer="test")
    assert house.catalog.version("late", 2).servable is None
    found = house.registry.servable("late", 2)
    assert (found.form, found.run, [column.name for column in found.table.inputs]) == ("onnx", run.id, ["x0", "x1"])
    assert house.catalog.version("late", 2).servable == found
    with pytest.raises(ModelRefused, match="version 1 of 'late' cannot be served: it has no example rows"):
        house.registry.servable("late", 1)
    house.examiner.prepare_tree = None  # files that were refused once are known
    with pytest.raises(ModelRefused, match="cannot be served: it has no example rows"):
        house.registry.servable("late", 1)
    house.close()


def test_a_control_plane_registers_and_says_how_it_is_served(here, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    house = open_house(settings(folder), bare_project(folder), writer="up")
    server = uvicorn.Server(uvicorn.Config(control_plane(house), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        made = kedge.register_model(MODEL, "late", example=FRAME.head(10), url=f"http://127.0.0.1:{port}")
        assert made == ("late", 1, "onnx")
        assert house.catalog.version("late", 1).servable.format == "skops"
        page = urlopen(f"http://127.0.0.1:{port}/models/late/versions/1").read().decode()
        assert "How it is served" in page
        assert "onnx: greatest difference" in page
        told = json.loads(urlopen(f"http://127.0.0.1:{port}/api/v1/models/late/versions").read())
        assert told["versions"][0]["servable"]["parity"]["form"] == "onnx"
    finally:
        server.should_exit = True
        thread.join()
        house.close()

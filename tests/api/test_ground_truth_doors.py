"""Ground truth through its doors: the API by entity and time, the command with files, Python; and how it stands."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from litestar.testing import TestClient
from tests.unit.storage.answers import START, answered
from typer.testing import CliRunner

import kedge as api
from kedge.app import open_house
from kedge.cli.main import application
from kedge.config import bare_project, settings
from kedge.domain.records import decode_truth, encode_batch
from kedge.errors import RequestInvalid
from kedge.server.application import application as control_plane

BASE = "http://127.0.0.1:8400"
KNOWN = {"known_at": "2013-01-02T00:00:00Z"}
HOURS = [f"2013-01-01T{9 + number:02d}:00:00Z" for number in range(10)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a folder without a project where the model of its name has answered twice."""
    made = tmp_path / "flights"
    made.mkdir()
    monkeypatch.chdir(made)
    house = opened(made)
    house.predictions.append_all([encode_batch(answered(number, entities=["UA1", f"e{number}"])) for number in (1, 2)])
    house.close()
    return made


KNOWN_AT = ("--known-at", "2013-01-02")


def opened(folder):
    return open_house(settings(folder, store=str(folder / ".kedge")), bare_project(folder), writer="test")


def kedge(*words: str, code: int = 0) -> str:
    given = ["ground-truth", *words]
    told = CliRunner().invoke(application(given), given)
    assert told.exit_code == code, (words, told.output, told.exception)
    return told.output if told.exception is None or code == 3 else str(told.exception)


def counts(report) -> dict[str, int]:
    return {name: count for name, count in report.items() if count and name not in ("examples", "looked_up")}


def truths(folder) -> dict[str, float]:
    frame = api.predictions(columns=["id", "truth"], store=str(folder / ".kedge")).drop_nulls()
    return dict(frame.iter_rows())


def test_facts_by_entity_and_time_over_http(folder):
    house = opened(folder)
    with TestClient(control_plane(house), base_url=BASE) as client:
        body = {"entities": ["UA1", "UA1", "nobody"], "times": [HOURS[1], HOURS[5], HOURS[5]], "values": [1, 0, 1]} | KNOWN
        answer = client.post("/api/v1/ground-truth", json=body)
        assert answer.status_code == 202
        assert counts(answer.json()) == {"recorded": 2, "unknown": 1}
        assert answer.json()["examples"] == ["nobody at 2013-01-01T14:00:00Z is unknown"]
        assert counts(client.post("/api/v1/ground-truth", json=body).json()) == {"repeated": 2, "unknown": 1}
        looked = {"predictions": ["r-1.0", "r-1.1", "r-9.0"], "values": [0, 1, 1], "look_up": True} | KNOWN
        assert counts(client.post("/api/v1/ground-truth", json=looked).json()) == {
            "recorded": 1,
            "contradicting": 1,
            "unknown": 1,
        }
        standing = client.get("/api/v1/models/flights/ground-truth").json()
        assert (standing["model"], standing["windows"], standing["labels"]) == ("flights", 0, 0)
        assert client.get("/api/v1/models/none/ground-truth").status_code == 404
        assert client.post("/api/v1/ground-truth", json={**body, "model": "none"}).status_code == 404
    house.close()
    assert truths(folder) == {"r-1.0": 1.0, "r-2.0": 0.0, "r-1.1": 1.0}


def test_one_fact_by_hand(folder):
    assert kedge("add", "1", "r-1.0", *KNOWN_AT) == "1 recorded\n"
    assert kedge("add", "1", "r-1.0", *KNOWN_AT) == "0 recorded\nrepeated: 1\n  r-1.0 is repeated\n"
    assert "contradicting: 1" in kedge("add", "0", "r-1.0", code=3)
    assert kedge("add", "0", "--entity", "UA1", "--time", "2013-01-01T23:00:00", *KNOWN_AT) == "1 recorded\n"
    assert truths(folder) == {"r-1.0": 1.0, "r-2.0": 0.0}
    assert "either a prediction" in kedge("add", "1", code=1)
    assert "either a prediction" in kedge("add", "1", "--entity", "UA1", code=1)
    assert "not a duration" in kedge("add", "1", "r-1.0", "--within", "soon", code=1)
    assert json.loads(kedge("report", "--json"))["model"] == "flights"
    assert "0 of 0 logged predictions are labelled" in kedge("report")


def test_a_file_of_facts_by_prediction(folder):
    facts = pl.DataFrame({"id": ["r-1.0", "r-1.1", "r-9.9", "r-2.0"], "value": ["1", "0", "1", "much"]})
    facts.write_csv("facts.csv")
    late = {"recorded": 2, "late": 2, "unknown": 1, "invalid": 1}
    assert counts(json.loads(kedge("import", "facts.csv", "--json", code=3))) == late, "2013 is long ago"
    assert "repeated: 2" in kedge("import", "facts.csv", code=3)
    assert truths(folder) == {"r-1.0": 1.0, "r-1.1": 0.0}
    assert "no column late; they have id, value" in kedge("import", "facts.csv", "--value", "late", code=1)


def test_files_of_facts_by_entity(folder):
    facts = pl.DataFrame({"who": ["UA1", "UA1"], "seen": HOURS[1:3], "late": [True, False], "told": HOURS[3:5]})
    facts.with_columns(pl.col("seen").str.to_datetime(time_zone="UTC")).write_parquet("facts.parquet")
    facts.with_columns(pl.col("who").replace("UA1", "e2")).write_ndjson("more.jsonl")
    columns = ("--entity", "who", "--time", "seen", "--value", "late", "--known-at", "told")
    assert kedge("import", "facts.parquet", *columns) == "2 recorded\n"
    assert "recorded" in kedge("import", "more.jsonl", *columns, code=3), "e2 was not known at the first time"
    (folder / "bad.jsonl").write_text("{")
    assert "one JSON object a line" in kedge("import", "bad.jsonl", code=1)
    frame = api.predictions(columns=["id", "truth", "truth_known_at"]).drop_nulls().sort("id")
    assert frame.rows() == [
        ("r-1.0", 1.0, START.replace(hour=12)),
        ("r-2.0", 0.0, START.replace(hour=13)),
        ("r-2.1", 0.0, START.replace(hour=13)),
    ]


def test_python_tells_facts(folder):
    seen = {"entity": ["UA1"], "time": [datetime(2013, 1, 1, 23)], "late": [1]}
    report = api.ground_truth(seen, value="late", entity="entity")
    assert report.recorded == 1
    pandas_like = pl.DataFrame({"id": ["r-1.0"], "value": [0]})
    assert api.ground_truth(pandas_like, known_at=datetime(2013, 1, 2, tzinfo=UTC)).recorded == 1
    assert truths(folder) == {"r-2.0": 1.0, "r-1.0": 0.0}
    with pytest.raises(RequestInvalid, match="no column id"):
        api.ground_truth({"value": [1]})


@pytest.fixture
def other(folder):
    """Make a folder without a project where only a model of another name has answered."""
    made = folder.parent / "elsewhere"
    made.mkdir()
    answer(made, "late", 1, 2, 3)
    return made


def answer(made, model, *numbers):
    house = opened(made)
    batches = [answered(number, model=model, entities=["UA1", f"e{number}"]) for number in numbers]
    house.predictions.append_all([encode_batch(each) for each in batches])
    house.close()


def test_without_a_project_the_model_that_answered_is_meant(other, monkeypatch):
    monkeypatch.chdir(other)
    assert kedge("add", "1", "r-1.0", *KNOWN_AT) == "1 recorded\n"
    assert kedge("add", "0", "--entity", "UA1", "--time", "2013-01-01T23:00:00", *KNOWN_AT) == "1 recorded\n"
    pl.DataFrame({"id": ["r-1.1", "r-2.0"], "value": [1, 0]}).write_csv("facts.csv")
    assert "2 recorded" in kedge("import", "facts.csv")
    assert api.ground_truth({"id": ["r-2.1"], "value": [1]}).recorded == 1
    assert json.loads(kedge("report", "--json"))["model"] == "late"
    assert truths(other) == {"r-1.0": 1.0, "r-3.0": 0.0, "r-1.1": 1.0, "r-2.0": 0.0, "r-2.1": 1.0}


def test_without_a_project_and_with_several_models_one_is_to_be_named(other, monkeypatch):
    monkeypatch.chdir(other)
    answer(other, "early", 7)
    assert kedge("add", "1", "r-7.0", *KNOWN_AT) == "1 recorded\n", "an id says whose it is"
    by_entity = ("add", "1", "--entity", "UA1", "--time", "2013-01-01T23:00:00", *KNOWN_AT)
    for words in (by_entity, ("report",)):
        assert "several models answered: early, late; name one (--model" in kedge(*words, code=1)
    assert kedge(*by_entity, "--model", "late") == "1 recorded\n"
    assert truths(other) == {"r-7.0": 1.0, "r-3.0": 1.0}


def test_without_a_project_the_api_records_under_no_model_that_is_not_there(other):
    house = opened(other)
    with TestClient(control_plane(house), base_url=BASE) as client:
        body = {"predictions": ["r-1.0", "r-9.0"], "values": [1, 1]} | KNOWN
        answer = client.post("/api/v1/ground-truth", json=body).json()
        assert (counts(answer), answer["looked_up"]) == ({"recorded": 1, "unknown": 1}, True)
        looked = {"predictions": ["r-1.1"], "values": [0], "look_up": True} | KNOWN
        assert counts(client.post("/api/v1/ground-truth", json=looked).json()) == {"recorded": 1}
    kept = [decode_truth(payload) for _, payload in house.truths.scan()]
    house.close()
    assert {batch.model for batch in kept} == {"late"}


def test_a_file_of_facts_that_is_not_there_is_named_once(folder):
    for name in ("none.csv", "none.jsonl"):
        assert kedge("import", name, code=1) == f"there is no file {folder / name}"

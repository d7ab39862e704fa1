"""`kedge predictions` and `kedge.predictions`: the log by hand, in a folder without a project."""

import json
from datetime import datetime

import polars as pl
import pytest
from tests.unit.storage.answers import START, answered
from typer.testing import CliRunner

import kedge as api
from kedge.app import open_house
from kedge.cli.main import application
from kedge.config import bare_project, settings
from kedge.domain.records import encode_batch
from kedge.errors import NotFound, RequestInvalid


@pytest.fixture
def kedge(tmp_path, monkeypatch):
    """Run `kedge predictions ...` where two requests were answered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    house = open_house(settings(tmp_path, store=str(tmp_path / ".kedge")), bare_project(tmp_path), writer="serve")
    house.predictions.append_all([encode_batch(answered(number)) for number in (1, 2)])
    house.close()

    def asked(*words: str, code: int = 0) -> str:
        given = ["predictions", *words]
        told = CliRunner().invoke(application(given), given)
        assert told.exit_code == code, (words, told.output, told.exception)
        return told.output if told.exception is None or code == 3 else str(told.exception)

    return asked


def test_predictions_are_listed_compacted_and_erased(kedge, tmp_path):
    assert "1 segments" in kedge("status")
    table = kedge("list")
    assert [line.split()[1] for line in table.splitlines() if "r-" in line] == ["r-2.0", "r-2.1", "r-1.0", "r-1.1"]
    assert " v" in table
    assert kedge("compact").startswith("1 segments with 2 records")
    assert json.loads(kedge("status", "--json"))["predictions"]["parts"] == 1
    (row,) = json.loads(kedge("list", "--id", "r-1.1", "--columns", "id,output,feature_x", "--json"))
    assert row == {"id": "r-1.1", "output": 0.01, "feature_x": 0.5}
    assert (
        kedge("list", "--parquet", "some.parquet", "--since", "2013-01-01T11:00:00") == "2 predictions are in some.parquet\n"
    )
    assert pl.read_parquet(tmp_path / "some.parquet")["id"].to_list() == ["r-2.0", "r-2.1"]
    assert kedge("erase", "--entity", "e1-0", "--reason", "asked for") == "1 predictions and 0 facts are erased\n"
    assert "r-1.0" not in kedge("list", "--columns", "*", "--limit", "0")


def test_many_columns_stand_one_below_the_other(kedge, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = kedge("list", "--columns", "*", "--limit", "1")
    title, first, *lines = told.splitlines()
    assert (title, first) == ("1 prediction", "")
    shown = dict(line.split(maxsplit=1) for line in lines)
    assert (shown["id"], "feature_x" in shown, "truth" in shown) == ("r-2.0", True, False)
    assert max(map(len, lines)) <= 80


def test_what_cannot_be_asked_is_said(kedge):
    assert "no column nothing" in kedge("list", "--columns", "nothing", code=1)
    assert "cannot be asked of the log" in kedge("list", "--where", "(", code=1)
    assert "cannot be written" in kedge("list", "--parquet", "no/where.parquet", code=1)
    assert "needs a reason" in kedge("erase", "--entity", "e", "--reason", " ", code=1)


def test_an_erasure_that_could_not_see_everything_exits_with_3(kedge, tmp_path):
    house = open_house(settings(tmp_path, store=str(tmp_path / ".kedge")), bare_project(tmp_path), writer="live")
    house.predictions.append(encode_batch(answered(3)))
    assert "not looked at" in kedge("erase", "--entity", "e1-0", "--reason", "asked for", code=3)
    house.close()


def test_a_damaged_segment_exits_with_3(kedge, tmp_path):
    (segment,) = (tmp_path / ".kedge" / "predictions").glob("*.log")
    broken = bytearray(segment.read_bytes())
    broken[30] ^= 1
    segment.write_bytes(broken)
    assert "left as it is" in kedge("compact", code=3)


def test_python_gives_a_frame(kedge):
    frame = api.predictions("flights", since=datetime(2013, 1, 1, 11), where="feature_x = 1", columns=["id", "answered_at"])
    assert frame.rows() == [(f"r-2.{row}", START.replace(hour=11)) for row in (0, 1)]
    with pytest.raises(RequestInvalid, match="cannot be asked"):
        api.predictions(where="nothing = 1")
    with pytest.raises(NotFound):
        api.predictions(store="none")


def test_windows_of_the_log_are_compared_with_tables_and_with_one_another(kedge, tmp_path):
    def compared(*words: str) -> dict:
        given = ["monitor", "compare", *words, "--json"]
        told = CliRunner().invoke(application(given), given, catch_exceptions=False)
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    served = json.loads(kedge("list", "--columns", "*", "--limit", "0", "--json"))
    features = [name for name in served[0] if name.startswith("feature_")]
    table = pl.DataFrame({name.removeprefix("feature_"): [row[name] for row in served] for name in features})
    table.with_columns(label=1).write_parquet("train.parquet")
    window = f"predictions:{served[0]['model']}"
    found = compared("train.parquet", window)
    assert {column["name"] for column in found["columns"]} == set(table.columns)
    assert (found["rows_current"], found["moved"]) == (4, False)
    both = compared(f"{window}@2013-01-01..2013-01-01T11:00", f"{window}@2013-01-01T11:00")
    assert (both["rows_reference"], both["rows_current"]) == (2, 2)
    assert "prediction" in {column["name"] for column in both["columns"]}
    with pytest.raises(RequestInvalid, match="has no predictions"):
        compared("train.parquet", f"{window}@2030-01-01")
    with pytest.raises(RequestInvalid, match="'noon' is no time"):
        compared("train.parquet", f"{window}@noon")

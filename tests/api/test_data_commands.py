"""`kedge data list | find | show | describe` on a real store."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from typer.testing import CliRunner

from kedge.cli.main import application
from kedge.domain.data import Column, ColumnType, DatasetVersion, Schema
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, digest_of
from kedge.records import open_records
from kedge.settings import settings


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = open_records(settings(tmp_path))
    at = datetime(2013, 3, 1, tzinfo=UTC)
    for name in ("flights", "people"):
        columns = (Column(name="id", type=ColumnType.INTEGER), Column(name="email", type=ColumnType.STRING))
        made = DatasetVersion(
            dataset=DatasetName(name),
            number=1,
            digest=digest_of(name),
            schema=Schema(columns),
            parts=(),
            rows=1234,
            bytes=5_000_000,
            order="",
            created_at=at,
            key=("id",),
        )
        event = Event(
            key=digest_of("add", name),
            kind=EventKind.DATASET_COMMITTED,
            at=at,
            subject=name,
            actor="person:ada",
            message="m",
        )
        records.meta.datasets.add(made, event)
    records.close()

    def run(*words, code=0):
        answer = CliRunner().invoke(application(["data", *words]), ["data", *words])
        assert answer.exit_code == code, answer.output
        return answer

    return run


def test_a_dataset_is_described_found_and_shown(ask):
    said = ask("describe", "people", "--owner", "ada", "--description", "Who rides", "--fresh-within", "2d", "--tag", "gold")
    assert "owner ada" in said.output
    assert "personal: email" in ask("describe", "people", "--column", "email", "--meaning", "address", "--personal").output
    assert json.loads(ask("describe", "people", "--untag", "gold", "--tag", "hr", "--json").stdout)["tags"] == ["hr"]
    assert "STALE" in ask("list").output
    assert [one["entry"]["name"] for one in json.loads(ask("list", "--json").stdout)] == ["flights", "people"]
    assert "[rides]" in ask("find", "rides", "is:stale").output
    shown = ask("show", "people").output
    for word in ("Who rides", "PERSONAL address", "1,234 rows, 5 MB", "stale", "used by 0"):
        assert word in shown
    whole = json.loads(ask("show", "people", "--json").stdout)
    assert whole["freshness"]["state"] == "stale"
    assert [one["note"]["personal"] for one in whole["columns"]] == [False, True]


def test_what_is_not_found_is_told_with_the_nearest(ask):
    assert "did you mean 'people'" in ask("find", "poeple", code=3).output
    assert json.loads(ask("find", "zzz", "--json", code=3).stdout)["total"] == 0


def test_what_speaks_of_no_column_is_refused(ask):
    assert "name it with --column" in str(ask("describe", "people", "--meaning", "x", code=1).exception)


def test_an_unknown_dataset_and_a_bad_duration(ask):
    assert "did you mean" in str(ask("show", "flight", code=1).exception)
    assert "not a duration" in str(ask("describe", "flights", "--fresh-within", "soon", code=1).exception)
    assert msgspec.json.decode(ask("show", "flights", "--json").stdout)["entry"]["fresh_within"] == ""

"""`kedge models` by hand: every verb on models that clients registered, as words and as JSON."""

import json

import pytest
from typer.testing import CliRunner

from kedge.cli.main import application
from kedge.domain.ids import DEFAULT_EXPERIMENT
from kedge.records import open_records
from kedge.settings import settings

ODD = "[/] better [red]at night[/red]"


@pytest.fixture
def kedge(tmp_path, monkeypatch):
    """Run `kedge models ...` in a folder without a project, where a run has left a model's files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    records = open_records(settings(tmp_path, store=str(tmp_path / ".kedge"), server=""))
    run = records.logging.create_run(DEFAULT_EXPERIMENT).id
    records.artifacts.put(run, "model/model.bin", pieces=[b"weights"])
    records.close()

    def asked(*words: str, code: int = 0) -> str:
        given = ["models", *(word.replace("RUN", run) for word in words)]
        told = CliRunner().invoke(application(given), given)
        assert told.exit_code == code, (words, told.output, told.exception)
        return told.output

    return asked


def read(kedge, *words: str):
    return json.loads(kedge(*words, "--json"))


def test_a_model_is_registered_moved_and_archived(kedge):
    for _ in range(2):
        kedge("register", "hours", "runs:/RUN/model", "--description", ODD)
    assert kedge("promote", "hours", "--version", "1", "--reason", "the first") == "hours v1 is champion\n"
    kedge("promote", "hours", "--version", "2", "--reason", ODD)
    assert kedge("roll-back", "hours", "--reason", "worse on Monday") == "hours v1 is champion\n"
    assert kedge("alias", "hours", "best", "--version", "2", "--reason", "to try") == "best of hours points to v2\n"
    kedge("stage", "hours", "2", "Staging", "--reason", "to try")
    assert read(kedge, "show", "hours")["model"]["aliases"] == {"best": 2, "champion": 1}
    kedge("alias", "hours", "best", "--remove", "--reason", "tried")
    kedge("archive", "hours", "2", "--reason", "out of use")
    assert [(one["number"], one["stage"]) for one in read(kedge, "versions", "hours")] == [(2, "Archived"), (1, "None")]
    assert [one["reason"] for one in read(kedge, "history", "hours")][:2] == ["the first", ODD]


def test_tags_are_set_and_taken_away(kedge):
    kedge("register", "hours", "runs:/RUN/model")
    kedge("tag", "hours", "team", "air")
    assert kedge("tag", "hours", "team", "sea", "--version", "1") == "team of hours is 'sea'\n"
    assert read(kedge, "show", "hours")["model"]["tags"] == {"team": "air"}
    assert kedge("tag", "hours", "team") == "team of hours is gone\n"
    assert read(kedge, "show", "hours")["model"]["tags"] == {}


def test_what_looks_like_markup_is_shown_as_it_is(kedge):
    kedge("register", "odd [b] model", "runs:/RUN/model")
    kedge("alias", "odd [b] model", "best", "--version", "1", "--reason", ODD)
    assert "odd [b] model" in kedge("list")
    assert "odd [b] model" in kedge("show", "odd [b] model")
    assert "odd [b] model: 1 version" in kedge("versions", "odd [b] model")
    assert ODD in kedge("history", "odd [b] model")


def test_what_cannot_be_is_refused(kedge):
    kedge("register", "hours", "runs:/RUN/model")
    for words in (("promote", "hours", "--version", "9"), ("archive", "hours", "9"), ("stage", "hours", "1", "Live")):
        kedge(*words, "--reason", "no such thing", code=1)
    kedge("promote", "hours", "--version", "1", "--reason", "no", code=1)
    kedge("alias", "hours", "best", "--version", "1", "--reason", "too late", "--serial", "7", code=1)

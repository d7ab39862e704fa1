"""In a folder without a store, what only asks says what to do, and leaves nothing behind."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import kedge
from kedge.cli.main import application
from kedge.data import expect
from kedge.errors import KedgeError, NotFound, SourceFailed

ROWS = pl.DataFrame({"id": [1, 2, 3], "late": [0.5, None, 2.0]})


@pytest.fixture
def bare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("KEDGE_STORE", "KEDGE_URL", "KEDGE_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def asked(*words):
    return CliRunner().invoke(application(list(words)), list(words))


@pytest.mark.parametrize(
    "words",
    [
        "data list",
        "data find late",
        "data show flights",
        "data describe flights --owner ada",
        "data log flights",
        "data diff flights@1 flights@2",
        "data tag flights gold",
        "data checkout",
        "data checkout raw",
        "data gc --dry-run",
        "data erase flights --file x --reason asked",
        "data verify",
        "data push --remote file:///nowhere",
        "data export flights out",
        "data validate flights",
        "data profile flights",
        "data suggest flights",
        "data labels flights --label late",
        "runs list",
        "runs show 0123abcd",
        "runs compare 0123abcd 4567abcd",
        "models list",
        "why flights@1",
    ],
)
def test_a_question_makes_no_store(bare, words):
    answer = asked(*words.split())
    assert isinstance(answer.exception, NotFound), answer.output
    assert "there is no store in" in str(answer.exception)
    assert "kedge data add" in str(answer.exception)
    assert list(bare.iterdir()) == []


def test_what_there_is_to_say_without_a_store_is_said(bare):
    assert "no data is versioned here yet" in asked("data", "status").output
    said = asked("doctor")
    assert said.exit_code == 0
    assert "is not there yet" in said.output
    assert list(bare.iterdir()) == []


def test_a_pointer_without_a_store_is_said_to_be_fetched(bare):
    (bare / "raw").mkdir()
    (bare / "raw" / "a.csv").write_text("a\n1\n")
    assert asked("data", "add", "raw").exit_code == 0
    for path in sorted(bare.joinpath(".kedge").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    bare.joinpath(".kedge").rmdir()
    assert "kedge data pull raw" in asked("data", "status").output
    assert not bare.joinpath(".kedge", "kedge.db").exists()


@pytest.mark.parametrize("words", ["data add nothing", "data add ..", "data commit nothing.csv flights"])
def test_what_is_not_there_makes_no_store(bare, words):
    answer = asked(*words.split())
    assert isinstance(answer.exception, KedgeError), answer.output
    assert "there is no store" not in str(answer.exception)
    assert list(bare.iterdir()) == []


def test_files_are_asked_without_a_store(bare):
    ROWS.write_csv("late.csv")
    Path("rules.toml").write_text('[[expectation]]\nrule = "not_null"\ncolumn = "late"\n')
    assert asked("data", "validate", "late.csv", "--expectations", "rules.toml").exit_code == 3
    assert asked("data", "profile", "late.csv").exit_code == 0
    assert asked("data", "suggest", "late.csv", "--show").exit_code == 0
    assert asked("data", "labels", "late.csv", "--label", "id").exception is None
    assert sorted(path.name for path in bare.iterdir()) == ["late.csv", "rules.toml"]


def test_frames_are_asked_without_a_store(bare):
    rules = [expect.not_null("late"), expect.reference("id", dataset="flights")]
    assert not kedge.data.validate(ROWS, rules[:1]).passed
    assert kedge.data.profile(ROWS).columns[1].missing == 1
    assert kedge.data.validate(ROWS, kedge.data.suggest(ROWS)).passed
    with pytest.raises((NotFound, SourceFailed), match="there is no dataset 'flights'"):
        kedge.data.validate(ROWS, rules)
    with pytest.raises(NotFound, match="there is no store"):
        kedge.data.profile("flights")
    assert list(bare.iterdir()) == []

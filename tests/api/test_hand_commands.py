"""The commands that people type on runs and models: hostile names, mistakes, and where the answer is printed."""

import json
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import kedge
from kedge.cli import models, runs, up, why
from kedge.domain.ids import RunId
from kedge.domain.told import RunBegan, packed
from kedge.errors import KedgeError
from kedge.storage.spool import Spool, SpoolHead

HOSTILE = "[/] \x1b[31m[bold]x[/bold]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hand")


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    (folder / "model.txt").write_text("a model")
    with kedge.run("hand", name=HOSTILE, store=str(folder / "store"), system_metrics=False) as run:
        kedge.log({"[/m]": 1.0})
        kedge.log_params({"[/a]": "[/b]"})
        kedge.log_artifact(folder / "model.txt", "model")
    return run.id


@pytest.fixture
def typed(folder: Path, run: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    app = typer.Typer(rich_markup_mode=None)
    app.add_typer(runs.nouns, name="runs")
    app.add_typer(models.nouns, name="models")
    app.command("why")(why.command)
    app.command("up")(up.command)

    def typed(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--store", str(folder / "store")])

    return typed


def refused(result: Result) -> str:
    assert isinstance(result.exception, KedgeError), result.output
    return str(result.exception)


def test_a_run_with_a_hostile_name_is_listed_shown_and_compared(typed, run: str) -> None:
    for words in (["list"], ["show", run], ["compare", run, run]):
        result = typed("runs", *words)
        assert result.exit_code == 0, result.exception
        assert "\x1b" not in result.stdout
    assert run[:12] in typed("runs", "list").stdout


def test_only_files_that_are_there_are_registered_and_a_refusal_leaves_no_model(typed, run: str) -> None:
    for source in ("runs:/none/model", f"runs:/{run}/none", "models:/m-0", "models:/none/1"):
        refused(typed("models", "register", "left", source))
    assert "left" not in typed("models", "list").stdout
    assert typed("models", "register", "kept", f"runs:/{run}/model").exit_code == 0


def test_an_alias_is_taken_away_only_where_that_is_said(typed, run: str) -> None:
    typed("models", "register", "aliased", f"runs:/{run}/model")
    typed("models", "alias", "aliased", "nightly", "--version", "1", "--reason", "tried")
    said = refused(typed("models", "alias", "aliased", "nightly", "--reason", "tried"))
    assert "--version" in said
    assert "--remove" in said
    refused(typed("models", "alias", "aliased", "nightly", "--version", "1", "--remove", "--reason", "tried"))
    assert "nightly" in typed("models", "show", "aliased").stdout
    assert typed("models", "alias", "aliased", "nightly", "--remove", "--reason", "tried").exit_code == 0
    assert "nightly" not in typed("models", "show", "aliased").stdout


def test_a_model_must_be_named_where_there_is_no_project(typed) -> None:
    assert "name a model" in refused(typed("models", "versions"))


def test_promoting_without_a_number_asks_for_one(typed, run: str) -> None:
    typed("models", "register", "promoted", f"runs:/{run}/model")
    assert "by its number" in refused(typed("models", "promote", "promoted", "--reason", "better"))


def test_what_stands_behind_a_version_is_printed_on_standard_output(typed, run: str) -> None:
    typed("models", "register", "asked", f"runs:/{run}/model")
    assert "asked v1" in typed("why", "asked@1").stdout
    assert json.loads(typed("why", "asked@1", "--json").stdout)["model"] == "asked"
    assert "which version" in refused(typed("why", "asked"))
    assert "no registered model is named 'none'" in refused(typed("why", "none@1"))
    assert "neither" in refused(typed("why", "none"))


def test_a_port_in_use_is_told_before_anything_is_promised(typed) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = typed("up", "--port", str(taken.getsockname()[1]))
    assert "in use" in refused(result)
    assert "served" not in result.output


def test_a_port_out_of_range_is_wrong_usage(typed) -> None:
    assert typed("up", "--port", "99999").exit_code == 2


def test_what_waits_for_a_wrong_address_is_named_and_sent_here(typed, folder: Path) -> None:
    wrong = "http://127.0.0.1:1"
    head = SpoolHead(target=wrong, process=1, host="gone")
    spool = Spool.create(folder / "store" / "spool", head)
    began = RunBegan(run=RunId("a" * 32), started_at=datetime(2026, 1, 1, tzinfo=UTC), experiment="moved", name="late")
    spool.append([packed(began)])
    spool.close()
    assert f"--meant-for {wrong}" in typed("runs", "sync").stdout
    assert typed("runs", "sync", "--meant-for", wrong).stdout.startswith("1 record sent\n")
    assert "late" in typed("runs", "list", "--experiment", "moved").stdout

"""`kedge monitor reference` shows what a version calls normal, and says what its reference cannot tell."""

import json

import msgspec
import numpy as np
import pytest
from tests.loop.small import opened, write
from tests.unit.monitoring.drifting import reference
from typer.testing import CliRunner

from kedge.cli.main import application
from kedge.errors import NotFound


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("KEDGE_STORE", raising=False)
    folder = write(tmp_path / "small")
    house, _ = opened(folder)
    random = np.random.default_rng(0)
    columns = {"age": random.normal(size=30), "site": random.choice(["a", "b"], size=30).tolist()}
    taken = reference(columns, {"age": 0.04, "wage": 0.1}, block=15)
    taken = msgspec.structs.replace(taken, strangers=("wage",))
    digest = house.blobs.put(msgspec.msgpack.encode(taken))
    house.meta.notes.put("monitoring:small:reference:1", digest.encode())
    house.close()
    return folder


def run(*words):
    return CliRunner().invoke(application(["monitor", "reference"]), ["monitor", "reference", *map(str, words)])


def test_tolerance_error_and_what_is_not_known_are_shown(project) -> None:
    shown = run("small@1", "--project", project)
    assert shown.exit_code == 0, shown.output
    assert "what small v1 calls normal: 30 rows" in shown.output
    assert "0.040" in shown.output
    assert "declared" in shown.output
    assert "the reference has 30 rows" in shown.output
    assert "monitoring.tolerance names 'wage'" in shown.output
    assert "their rhythm is unknown" in " ".join(shown.output.split())


def test_as_json_for_programs(project) -> None:
    told = json.loads(run("small@1", "--project", project, "--json").output)
    age, site = told["columns"]
    assert (age["name"], age["blocks"], age["streams"][0]["tolerance"]) == ("age", 0, 0.04)
    assert site["blocks"] == 2
    assert age["streams"][0]["error"] > 0.15


def test_what_is_not_there_is_an_error_that_says_what_to_do(project) -> None:
    assert isinstance(run("--project", project).exception, NotFound)
    assert "has no version that answers" in str(run("--project", project).exception)
    assert "has no reference" in str(run("small@7", "--project", project).exception)


def test_a_version_may_be_named_by_number_or_alias_and_by_nothing_else(project) -> None:
    assert "what small v1 calls normal" in run("small@v1", "--project", project).output
    found = run("small@staging", "--project", project).exception
    assert isinstance(found, NotFound), "never the champion in place of what was named"

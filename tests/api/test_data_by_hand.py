"""`kedge data` at a terminal, on files and tables: what a person is told, and what to do next."""

from __future__ import annotations

import os

import pytest
from typer.testing import CliRunner

from kedge.cli.main import application


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        answer = CliRunner().invoke(application(["data", *words]), ["data", *words])
        assert answer.exit_code == code, (answer.output, answer.exception)
        return answer

    return run


def damage(tmp_path, at):
    pack = tmp_path / ".kedge/packs/00000001.pack"
    data = bytearray(pack.read_bytes())
    data[at] ^= 1
    pack.write_bytes(data)


def test_what_is_damaged_is_named_with_the_command_that_mends_it(ask, tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "raw").write_bytes(content)
    bucket = ("--remote", f"file://{tmp_path / 'bucket'}")
    ask("add", "raw")
    ask("push", *bucket)
    damage(tmp_path, 150_000)
    (tmp_path / "raw").unlink()
    assert "kedge data pull --mend" in str(ask("checkout", code=1).exception)
    assert "1 damaged chunk fetched anew" in ask("pull", "--mend", *bucket).output
    assert (tmp_path / "raw").read_bytes() == content
    assert "nothing is damaged" in ask("pull", "--mend", *bucket).output


def test_damage_that_no_bucket_mends_is_told(ask, tmp_path):
    (tmp_path / "raw").write_bytes(os.urandom(300_000))
    ask("add", "raw")
    damage(tmp_path, 150_000)
    failed = ask("pull", "--mend", "--remote", f"file://{tmp_path / 'bucket'}", code=1)
    assert "of 1 damaged chunk file:" in str(failed.exception)


def test_rows_that_are_erased_are_counted(ask, tmp_path):
    (tmp_path / "people.csv").write_text("id,name\n1,Ada\n2,Bob\n")
    ask("commit", "people.csv", "people", "--key", "id")
    ask("commit", "people.csv", "twin")
    said = ask("erase", "people", "--where", "id = 2", "--reason", "asked").output
    assert "people: 1 stored row erased from 1 version" in said
    assert "no version has rows where id = 7" in ask("erase", "people", "--where", "id = 7", "--reason", "asked").output


def test_what_a_bucket_lacks_is_named(ask, tmp_path):
    bucket = ("--remote", f"file://{tmp_path / 'bucket'}")
    (tmp_path / "raw").write_text("one")
    ask("add", "raw")
    ask("push", *bucket)
    assert "has no version 'gold' of 'raw'; name it by its number" in str(ask("pull", "raw@gold", *bucket, code=1).exception)
    assert "has no dataset 'nope'" in str(ask("pull", "nope", *bucket, code=1).exception)

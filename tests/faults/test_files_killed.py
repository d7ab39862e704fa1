"""kill -9 before and after every call of add, checkout, erase and gc: run again, it ends as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from tests.contract.filed import add, contents, opened, write
from tests.faults.killed_files import done

from kedge.data.files.looking import look
from kedge.domain.workspace import PlaceState

MOST, NEVER = 100, 10**9


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Make a project with two versions, the second checked out."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        records = opened(folder)
        write(folder, {"raw/a": "one", "raw/sub/b": "two", "raw/people/ann": "ann's secret", "raw/only-first": "x"})
        add(records, "raw")
        write(folder, {"raw/a": "changed", "raw/sub/b": "changed, too", "raw/new/c": "y"})
        (folder / "raw/only-first").unlink()
        add(records, "raw")
        records.close()
    return folder


def state(folder: Path):
    """Tell all that counts: versions, what lies here, what the look says."""
    records = opened(folder)
    versions = [
        (one.number, one.digest, one.erased_at is not None, [file.name for file in records.blobs.manifest(one.tree)])
        for one in records.meta.datasets.list("raw")
    ]
    seen = look(records.workspace, "raw")
    base = records.workspace.memory("raw").base()
    found = versions, contents(folder / "raw"), seen.state, seen.number, base.coming, records.workspace.pointer("raw")
    left = [path for path in folder.rglob(".kedge-*.part") if ".kedge/" not in str(path.relative_to(folder))]
    records.close()
    return found, left


def edited(folder: Path) -> None:
    write(folder, {"raw/a": "third", "raw/fourth": "4"})
    (folder / "raw" / "new" / "c").unlink()


def turned(folder: Path, monkeypatch) -> None:
    """Make a third version that is a file where the folder was."""
    shutil.rmtree(folder / "raw")
    write(folder, {"raw": "a file now"})
    monkeypatch.chdir(folder)
    records = opened(folder)
    add(records, "raw")
    records.close()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["add", "checkout", "turn", "erase", "gc"])
def test_a_kill_at_any_call_is_mended_by_running_it_again(prepared, tmp_path, monkeypatch, what, when):
    if what == "turn":
        prepared = Path(shutil.copytree(prepared, tmp_path / "turned", symlinks=True))
        turned(prepared, monkeypatch)
    whole = tmp_path / "whole"
    shutil.copytree(prepared, whole, symlinks=True)
    if what == "add":
        edited(whole)
    assert done(whole, what, calls=NEVER, when=when) == 0
    (wanted, _) = state(whole)
    kills = 0
    for calls in range(1, MOST):
        folder = tmp_path / f"{calls}"
        shutil.copytree(prepared, folder, symlinks=True)
        if what == "add":
            edited(folder)
        if done(folder, what, calls=calls, when=when) != -signal.SIGKILL:
            break
        kills += 1
        assert done(folder, what, calls=NEVER, when=when) == 0  # again, and whole
        found, left = state(folder)
        assert found == wanted, (what, when, calls)
        assert left == [], (what, when, calls)
        assert found[2] is PlaceState.CLEAN
        if what == "erase":
            assert not any(b"ann's secret" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
    assert kills >= 2

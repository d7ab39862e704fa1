"""The project's folder: what a look finds, refuses, remembers; pointers."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest
from tests.contract.filed import settled, write

from kedge.domain.ids import DatasetName, Digest
from kedge.domain.workspace import EXECUTABLE, LINK, Base, KnownFile, Pointer, differing
from kedge.errors import ConfigError, SourceFailed
from kedge.storage.workspace.local import LocalWorkspace
from kedge.storage.workspace.memory import known_of
from kedge.storage.workspace.pointers import pointer_path
from kedge.storage.workspace.scan import scan

POINTER = Pointer(dataset=DatasetName("raw"), digest=Digest("ab" * 32), files=2, bytes=10, folder=True)


def names(folder: Path) -> list[str]:
    return [found.name for found in scan(folder)]


def test_names_come_in_the_order_of_whole_names(tmp_path):
    write(tmp_path, dict.fromkeys(("a/c", "a-b", "a.b", "a/b/d", "b", "é/x", "aa"), ""))
    assert names(tmp_path) == sorted(names(tmp_path)) == ["a-b", "a.b", "a/b/d", "a/c", "aa", "b", "é/x"]


def test_what_other_tools_keep_is_skipped(tmp_path):
    write(tmp_path, {".git/x": "", ".kedge/x": "", ".dvc/x": "", "y": "", ".kedge-0123.part": "", ".hidden": ""})
    assert names(tmp_path) == [".hidden", "y"]


def test_kinds_of_files_are_told_apart(tmp_path):
    write(tmp_path, {"run": "x", "plain": "y", "sub/z": ""})
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "to").symlink_to("sub/z")
    (tmp_path / "folder").symlink_to("sub")
    modes = {found.name: found.mode for found in scan(tmp_path)}
    assert modes == {"run": EXECUTABLE, "plain": 0, "sub/z": 0, "to": LINK, "folder": LINK}


def test_a_single_file_has_its_own_name(tmp_path):
    write(tmp_path, {"one.csv": "x"})
    assert [(found.name, found.size) for found in scan(tmp_path / "one.csv")] == [("one.csv", 1)]
    assert list(scan(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/etc/hostname", "absolute"),
        ("../../outside", "leads out"),
        ("none", "nowhere"),
        ("self", "circle"),
        ("..", "leads out"),
    ],
)
def test_links_that_lead_astray_are_refused(tmp_path, target, said):
    write(tmp_path, {"in/a": "", "outside": "secret"})
    (tmp_path / "in" / "self").symlink_to(target)
    with pytest.raises(SourceFailed, match=said):
        LocalWorkspace(tmp_path).link("in", "self")


def test_a_link_into_a_folder_around_itself_is_refused(tmp_path):
    write(tmp_path, {"in/sub/a": ""})
    (tmp_path / "in" / "sub" / "up").symlink_to("../sub")
    with pytest.raises(SourceFailed, match="lies in"):
        LocalWorkspace(tmp_path).link("in", "sub/up")


def test_what_is_no_file_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceFailed, match=r"pipe is a pipe.*remove it"):
        names(tmp_path)
    (tmp_path / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
        with pytest.raises(SourceFailed, match="is a socket"):
            names(tmp_path)


def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_text("x")
    with pytest.raises(SourceFailed, match=r"no UTF-8: b'caf"):
        names(tmp_path)


@pytest.mark.parametrize("name", ["a\\b", "a\nb"])
def test_a_name_that_no_manifest_takes_is_refused(tmp_path, name):
    write(tmp_path, {name: ""})
    with pytest.raises(SourceFailed, match="rename it"):
        names(tmp_path)


def test_a_folder_that_may_not_be_read_is_said(tmp_path):
    write(tmp_path, {"in/a": ""})
    (tmp_path / "in").chmod(0)
    if os.access(tmp_path / "in", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(SourceFailed, match="permissions"):
        names(tmp_path)


def test_names_that_differ_in_case_are_found(tmp_path):
    write(tmp_path, {"d/A.png": "1", "d/a.png": "2", "d/B": "", "\u00e9/x": "", "e\u0301/y": ""})
    space = LocalWorkspace(tmp_path)
    listed: dict[str, list[str]] = {}
    assert len(list(space.scan("", opened=listed.__setitem__))) == 5
    assert [set(pair) for pair in space.twins(listed["d/"])] == [{"A.png", "a.png"}]
    assert len(space.twins(listed[""])) == 1
    assert space.twins(["a/", "A"]) == [("a", "A")]


@pytest.mark.parametrize("path", ["../up", "/etc", ".", ".kedge/x", "a/../../x", ".git/config"])
def test_a_place_lies_in_the_project(tmp_path, monkeypatch, path):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    with pytest.raises(ConfigError):
        LocalWorkspace(project).place(path)


def test_a_place_is_named_by_data_pointer_or_slash(tmp_path, monkeypatch):
    write(tmp_path, {"data/raw/a": "", "data/raw.kedge": ""})
    monkeypatch.chdir(tmp_path / "data")
    space = LocalWorkspace(tmp_path)
    assert {space.place(text) for text in ("raw", "raw/", "raw.kedge", str(tmp_path / "data/raw"), "../data/raw")} == {
        "data/raw"
    }


def test_a_pointer_is_read_as_it_was_written(tmp_path):
    space = LocalWorkspace(tmp_path)
    assert space.pointer("raw") is None
    assert not space.point("raw", POINTER)
    assert space.pointer("raw") == POINTER
    lines = pointer_path(tmp_path / "raw").read_text().splitlines()
    assert lines[0].startswith("#")
    assert lines[1:] == sorted(lines[1:])
    before = pointer_path(tmp_path / "raw").stat()
    space.point("raw", POINTER)
    assert pointer_path(tmp_path / "raw").stat() == before  # one that says the same stays untouched


def test_git_ignores_the_data_once(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".gitignore").write_text("*.pyc")
    space = LocalWorkspace(tmp_path)
    assert space.point("d/raw", POINTER)
    assert not space.point("d/raw", POINTER)
    space.point("d/a [1]#.csv", POINTER)
    assert (tmp_path / "d" / ".gitignore").read_text() == "*.pyc\n/raw\n/a\\ \\[1\\]\\#.csv\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<<<<<<< HEAD\n", "merge conflict"),
        ("bytes = 1\n", "lacks dataset, digest, files, kind"),
        ("bytes == 1\n", "line 1"),
        ('bytes = 1\ndataset = "a"\ndigest = "zz"\nfiles = 1\nkind = "file"\n', "64 hex"),
        ('bytes = 1\ndataset = 7\ndigest = "zz"\nfiles = 1\nkind = "file"\n', "texts"),
    ],
)
def test_a_pointer_that_is_none_is_said(tmp_path, text, said):
    pointer_path(tmp_path / "raw").write_text(text)
    with pytest.raises(ConfigError, match=said):
        LocalWorkspace(tmp_path).pointer("raw")


def test_pointers_are_found_without_walking_the_data(tmp_path):
    space = LocalWorkspace(tmp_path)
    for place in ("b/raw", "a", "b/c/deep.csv"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        space.point(place, POINTER)
    write(tmp_path, {"b/raw/inner.kedge": "", ".venv/x.kedge": "", "node_modules/y.kedge": "", ".kedge/z.kedge": ""})
    assert list(space.places()) == ["a", "b/c/deep.csv", "b/raw"]


def test_data_within_data_is_found(tmp_path):
    space = LocalWorkspace(tmp_path)
    write(tmp_path, {"a/b/x": "", "a/b/other.kedge": "mine"})
    assert space.overlapping("a") is None
    space.point("a/b", POINTER)
    assert space.overlapping("a") == "a/b"
    assert space.overlapping("a/b/c") == "a/b"


def test_only_what_differs_is_paired(tmp_path):
    write(tmp_path, {name: name for name in "abcd"})
    known = [KnownFile(*found, b"", "") for found in scan(tmp_path)]
    write(tmp_path, {"b": "longer", "e": ""})
    (tmp_path / "c").unlink()
    told = [(one and one.name, other and other.name) for one, other in differing(scan(tmp_path), known)]
    assert told == [("b", "b"), (None, "c"), ("e", None)]


def test_a_file_changed_in_the_same_tick_is_not_trusted(tmp_path):
    write(tmp_path, {"a": "x"})
    (found,) = scan(tmp_path)
    assert known_of(found, raw=b"", link="", read_ns=time.time_ns()).mtime_ns == -1
    settled(tmp_path)
    (found,) = scan(tmp_path)
    assert known_of(found, raw=b"", link="", read_ns=time.time_ns() + 10**10)[:6] == found
    os.utime(tmp_path / "a", ns=(0, 10**18))  # whole seconds: a clock that may be as coarse as two
    (found,) = scan(tmp_path)
    assert known_of(found, raw=b"", link="", read_ns=found.ctime_ns + 10**9).mtime_ns == -1


def test_what_is_remembered_outlives_the_process_and_is_no_record(tmp_path):
    memory = LocalWorkspace(tmp_path).memory("raw")
    assert memory.base() is None
    rows = [KnownFile(name, 1, 2, 3, 4, 0, b"\1" * 32, "") for name in "ba"]
    memory.begin()
    memory.change(files=rows, gone=())
    memory.settle(Base(version=Digest("v"), tree=Digest("t"), number=3))
    memory.close()
    memory = LocalWorkspace(tmp_path).memory("raw")
    assert memory.base() == Base(version=Digest("v"), tree=Digest("t"), number=3)
    assert [row[0] for row in memory.files()] == ["a", "b"]
    memory.begin()
    memory.change(files=(), gone=["a"])
    memory.undo()
    assert len(list(memory.files())) == 2
    memory.close()
    (path,) = (tmp_path / ".kedge" / "workspace").glob("*.db")
    path.write_bytes(b"not a database" * 100)
    memory = LocalWorkspace(tmp_path).memory("raw")
    assert memory.base() is None
    memory.close()


def test_a_forked_child_reads_large_files_as_its_parent_does(tmp_path):
    write(tmp_path, {"raw/large": b"x" * (4 << 20)})
    space = LocalWorkspace(tmp_path)
    (found,) = space.scan("raw")
    raw = space.content("raw", found, folder=True)
    child = multiprocessing.get_context("fork").Process(target=space.content, args=("raw", found), kwargs={"folder": True})
    child.start()
    child.join(20)
    try:
        assert child.exitcode == 0
    finally:
        child.kill()
    assert len(raw[0]) == 32

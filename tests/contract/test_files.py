"""Versions of files: added, looked at, checked out, compared; on a real folder and a real store."""

from __future__ import annotations

import os
import shutil
import threading

import pytest
from tests.contract.filed import add, checkout, contents, opened, settled, write

from kedge.data.files.looking import look
from kedge.domain.data_diff import FileChange
from kedge.domain.workspace import Change, PlaceState
from kedge.errors import ConfigError, Conflict, KedgeError, LocalEdits, NotFound, RequestInvalid, SourceFailed


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"data/raw/a": "one", "data/raw/sub/b": "two", "data/raw/sub/c": "three"})
    settled(tmp_path / "data/raw")
    return tmp_path


@pytest.fixture
def records(project):
    found = opened(project)
    yield found
    found.close()


def state(records, place="data/raw"):
    return look(records.workspace, place)


def test_an_add_makes_a_version_and_a_second_one_nothing(project, records):
    first = add(records, "data/raw", message="as it came")
    assert (first.new, first.read, first.version.number, first.version.files, first.version.bytes) == (True, 3, 1, 3, 11)
    assert first.version.dataset == "data-raw"
    assert first.version.digest == first.version.tree
    again = add(records, "data/raw")
    assert (again.new, again.read, again.version) == (False, 0, first.version)
    assert records.workspace.pointer("data/raw").digest == first.version.digest
    assert state(records).state is PlaceState.CLEAN


def test_only_what_changed_is_read(project, records):
    add(records, "data/raw")
    write(project, {"data/raw/sub/b": "two!", "data/raw/new": "x"})
    (project / "data/raw/a").unlink()
    found = state(records)
    assert (found.state, found.added, found.modified, found.deleted) == (PlaceState.EDITED, 1, 1, 1)
    assert [tuple(change) for change in found.changes] == [
        ("a", Change.DELETED),
        ("new", Change.ADDED),
        ("sub/b", Change.MODIFIED),
    ]
    second = add(records, "data/raw")
    assert (second.new, second.read, second.version.number, second.version.parent) == (
        True,
        2,
        2,
        records.meta.datasets.find("data-raw", 1).digest,
    )
    assert state(records).state is PlaceState.CLEAN


def test_a_file_that_was_only_touched_is_read_once_and_stays_clean(project, records):
    add(records, "data/raw")
    os.utime(project / "data/raw/a", ns=(0, 10**18 + 5))
    assert state(records).state is PlaceState.CLEAN
    memory = records.workspace.memory("data/raw")
    assert memory.file("a").mtime_ns in (-1, 10**18 + 5)
    memory.close()
    assert not add(records, "data/raw").new


def test_the_executable_bit_and_links_are_kept(project, records):
    (project / "data/raw/sub/b").chmod(0o755)
    (project / "data/raw/to").symlink_to("sub/b")
    (project / "data/raw/folder").symlink_to("sub")
    add(records, "data/raw")
    write(project, {"data/raw/a": "edited"})
    (project / "data/raw/sub/b").chmod(0o644)
    (project / "data/raw/to").unlink()
    (project / "data/raw/to").symlink_to("sub/c")
    assert state(records).modified == 3
    second = add(records, "data/raw")
    checkout(records, "data/raw@1")
    assert os.readlink(project / "data/raw/to") == "sub/b"
    assert os.access(project / "data/raw/sub/b", os.X_OK)
    assert (project / "data/raw/folder" / "c").read_text() == "three"
    assert state(records).state is PlaceState.CLEAN
    assert records.files.diff(records.meta.datasets.find("data-raw", 1), second.version).changed == 3


def test_a_checkout_brings_a_version_and_moves_the_pointer(project, records):
    add(records, "data/raw")
    before = contents(project / "data/raw")
    write(project, {"data/raw/sub/b": "other", "data/raw/deep/er/d": "4"})
    (project / "data/raw/a").unlink()
    add(records, "data/raw")
    done = checkout(records, "data/raw@v1")
    assert (done.written, done.removed, done.left) == (2, 1, 0)
    assert contents(project / "data/raw") == before
    assert not (project / "data/raw/deep").exists()
    assert state(records).state is PlaceState.CLEAN
    assert state(records).number == 1
    again = add(records, "data/raw")  # nothing was edited: what lies here is version 1 still
    assert (again.new, again.version.number) == (False, 1)


def test_what_git_brings_is_seen_and_followed(project, records):
    add(records, "data/raw")
    pointer = (project / "data/raw.kedge").read_text()
    write(project, {"data/raw/a": "changed"})
    add(records, "data/raw")
    (project / "data/raw.kedge").write_text(pointer)
    assert state(records).state is PlaceState.BEHIND
    checkout(records, "data/raw")
    assert (project / "data/raw/a").read_text() == "one"
    assert state(records).state is PlaceState.CLEAN


@pytest.mark.parametrize("edit", ["modified", "untracked", "deleted folder to file", "file to folder"])
def test_edits_are_never_overwritten(project, records, edit):
    add(records, "data/raw")
    write(project, {"data/raw/a": "second", "data/raw/x/y": "second"})
    add(records, "data/raw")
    checkout(records, "data/raw@1")
    match edit:
        case "modified":
            write(project, {"data/raw/a": "mine"})
        case "untracked":
            write(project, {"data/raw/x/y": "mine"})
        case "deleted folder to file":
            write(project, {"data/raw/x": "mine"})
        case _:
            (project / "data/raw/a").unlink()
            write(project, {"data/raw/a/mine": "mine"})
    before = contents(project / "data/raw")
    with pytest.raises(LocalEdits, match="--force"):
        checkout(records, "data/raw@2")
    assert contents(project / "data/raw") == before
    assert state(records).number == 1


def test_an_untracked_file_stays_and_force_makes_it_just_the_version(project, records):
    add(records, "data/raw")
    write(project, {"data/raw/a": "second"})
    add(records, "data/raw")
    write(project, {"data/raw/mine": "mine", "data/raw/a": "edited"})
    with pytest.raises(LocalEdits):
        checkout(records, "data/raw@1")
    write(project, {"data/raw/a": "second"})
    assert checkout(records, "data/raw@1").left == 1
    assert contents(project / "data/raw")["mine"] == "mine"
    checkout(records, "data/raw@2", force=True)
    assert sorted(contents(project / "data/raw")) == ["a", "sub/b", "sub/c"]


def test_an_edit_that_is_what_is_wanted_is_none(project, records):
    add(records, "data/raw")
    write(project, {"data/raw/a": "second"})
    add(records, "data/raw")
    checkout(records, "data/raw@1")
    write(project, {"data/raw/a": "second"})
    assert checkout(records, "data/raw@2").written == 0


def test_a_single_file_is_data_too(project, records):
    write(project, {"one.csv": "a\n1\n"})
    first = add(records, "one.csv")
    assert (first.version.files, first.version.dataset) == (1, "one.csv")
    write(project, {"one.csv": "a\n2\n"})
    add(records, "one.csv")
    checkout(records, "one.csv@1")
    assert (project / "one.csv").read_text() == "a\n1\n"
    (project / "one.csv").unlink()
    assert state(records, "one.csv").state is PlaceState.MISSING
    checkout(records, "one.csv")
    assert (project / "one.csv").read_text() == "a\n1\n"


def test_a_file_and_a_folder_take_turns_at_one_place(project, records):
    before = contents(project / "data/raw")
    add(records, "data/raw")
    shutil.rmtree(project / "data/raw")
    write(project, {"data/raw": "now a file"})
    settled(project / "data/raw")
    assert add(records, "data/raw").version.number == 2
    checkout(records, "data/raw@1")  # both are versions: nothing is lost, and nothing needs force
    assert contents(project / "data/raw") == before
    assert state(records).state is PlaceState.CLEAN
    (project / "data/raw/empty").mkdir()
    checkout(records, "data/raw@2")
    assert (project / "data/raw").read_text() == "now a file"
    assert state(records).state is PlaceState.CLEAN


def test_what_is_no_version_is_in_the_way_but_for_force(project, records):
    before = contents(project / "data/raw")
    add(records, "data/raw")
    shutil.rmtree(project / "data/raw")
    write(project, {"data/raw": "mine"})
    with pytest.raises(LocalEdits, match=r"no version has raw as it is here.*--force"):
        checkout(records, "data/raw@1")
    assert (project / "data/raw").read_text() == "mine"
    checkout(records, "data/raw@1", force=True)
    assert contents(project / "data/raw") == before
    write(project, {"one.csv": "1"})
    add(records, "one.csv")
    (project / "one.csv").unlink()
    write(project, {"one.csv/sub/mine": "mine", "one.csv/.git/config": "theirs"})
    with pytest.raises(LocalEdits, match=r"one.csv/.git is of another tool"):
        checkout(records, "one.csv", force=True)
    shutil.rmtree(project / "one.csv/.git")
    with pytest.raises(LocalEdits, match="no version has sub/mine"):
        checkout(records, "one.csv")
    assert contents(project / "one.csv") == {"sub/mine": "mine"}
    checkout(records, "one.csv", force=True)
    assert (project / "one.csv").read_text() == "1"


def test_a_link_in_the_way_goes_and_what_it_leads_to_stays(project, records, tmp_path):
    write(project, {"one.csv": "1"})
    add(records, "one.csv")
    (project / "one.csv").unlink()
    (project / "one.csv").symlink_to("data/raw")
    checkout(records, "one.csv", force=True)
    assert (project / "one.csv").read_text() == "1"
    assert len(contents(project / "data/raw")) == 3


@pytest.mark.parametrize("kind", ["a folder took the file's name", "a file took the folder's name"])
def test_force_takes_away_what_took_a_name(project, records, kind):
    add(records, "data/raw")
    name = "a" if kind.startswith("a folder") else "sub/b"
    home = name.partition("/")[0]
    shutil.rmtree(project / "data/raw" / home) if "/" in name else (project / "data/raw" / home).unlink()
    write(project, {"data/raw/other": "2"})
    add(records, "data/raw")  # version 2 has neither
    checkout(records, "data/raw@1")
    shutil.rmtree(project / "data/raw" / home) if "/" in name else (project / "data/raw" / home).unlink()
    write(project, {f"data/raw/{home}" if "/" in name else "data/raw/a/mine": "mine"})
    with pytest.raises(LocalEdits):
        checkout(records, "data/raw@1")
    kept = contents(project / "data/raw")
    assert checkout(records, "data/raw@2").left == 1  # what is mine is in nobody's way
    assert contents(project / "data/raw") == kept | {"other": "2"}
    checkout(records, "data/raw@2", force=True)
    assert "mine" not in contents(project / "data/raw").values()
    assert state(records).state is PlaceState.CLEAN


def test_a_fresh_clone_is_adopted_or_filled(project, records, tmp_path):
    add(records, "data/raw")
    for path in (project / ".kedge" / "workspace").iterdir():
        path.unlink()
    assert state(records).state is PlaceState.UNKNOWN
    assert records.files.adopt("data/raw")
    assert state(records).state is PlaceState.CLEAN
    write(project, {"data/raw/a": "mine"})
    for path in (project / ".kedge" / "workspace").iterdir():
        path.unlink()
    records.files.adopt("data/raw")
    assert state(records).modified == 1


def test_content_that_came_back_is_a_version_of_its_own(project, records):
    add(records, "data/raw")
    write(project, {"data/raw/a": "second"})
    add(records, "data/raw")
    write(project, {"data/raw/a": "one"})
    third = add(records, "data/raw")
    assert (third.new, third.version.number) == (True, 3)
    assert third.version.digest == records.meta.datasets.find("data-raw", 1).digest


def test_another_store_gets_everything(project, records, tmp_path):
    add(records, "data/raw")
    other = opened(project, tmp_path / "elsewhere")
    done = add(other, "data/raw")
    assert (done.new, done.read) == (True, 3)
    (project / "data/raw/a").unlink()
    checkout(other, "data/raw")
    assert (project / "data/raw/a").read_text() == "one"
    other.close()


def test_two_adds_at_once_are_both_right(project):
    write(project, {f"data/other/{n}": str(n) for n in range(50)})
    wrong, done = [], []

    def work(place):
        try:
            mine = opened(project)
            done.append(add(mine, place).version)
            mine.close()
        except KedgeError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in ("data/raw", "data/other") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert {(one.dataset, one.number) for one in done} == {("data-raw", 1), ("data-other", 1)}


def test_bad_places_are_one_clear_error(project, records):
    with pytest.raises(NotFound, match="does not exist"):
        add(records, "data/none")
    (project / "empty").mkdir()
    with pytest.raises(SourceFailed, match="no files in it"):
        add(records, "empty")
    add(records, "data/raw")
    with pytest.raises(ConfigError, match="overlap"):
        add(records, "data")
    with pytest.raises(ConfigError, match="overlap"):
        add(records, "data/raw/sub")
    write(project, {"data-raw/x": ""})
    with pytest.raises(Conflict, match="--name"):
        add(records, "data-raw")
    assert add(records, "data-raw", name="other").version.dataset == "other"
    with pytest.raises(ConfigError, match="already"):
        add(records, "data-raw", name="third")
    write(project, {"other/x": ""})
    with pytest.raises(RequestInvalid, match="cannot name"):
        add(records, "other", name="a/b")
    assert add(records, "other", name="Größe-2013").version.dataset == "Größe-2013"  # what may name a table, names files


def test_names_that_differ_in_case_are_said(project, records):
    write(project, {"data/raw/A": "x"})
    assert "Windows" in add(records, "data/raw").warnings[0]


def test_what_only_stands_in_for_data_is_said(project, records):
    write(project, {"data/raw/big": f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 12345\n"})
    assert "kedge data import" in add(records, "data/raw").warnings[0]


def test_versions_are_compared_file_by_file(project, records):
    one = add(records, "data/raw").version
    write(project, {"data/raw/sub/b": "other", "data/raw/new": "n"})
    (project / "data/raw/a").rename(project / "data/raw/renamed")
    (project / "data/raw/sub/c").unlink()
    two = add(records, "data/raw").version
    found = records.files.diff(one, two)
    assert (found.added, found.removed, found.changed, found.moved, found.unchanged) == (1, 1, 1, 1, 0)
    assert {(file.path, file.change, file.was) for file in found.files} == {
        ("new", FileChange.ADDED, ""),
        ("renamed", FileChange.MOVED, "a"),
        ("sub/b", FileChange.CHANGED, ""),
        ("sub/c", FileChange.REMOVED, ""),
    }
    assert records.files.diff(one, one).same


def test_a_version_that_is_not_here_says_how_to_get_it(project, records):
    add(records, "data/raw")
    text = (project / "data/raw.kedge").read_text()
    digest = records.workspace.pointer("data/raw").digest
    (project / "data/raw.kedge").write_text(text.replace(digest, "0" * 64))
    with pytest.raises(NotFound, match="kedge data pull"):
        checkout(records, "data/raw")


def test_git_never_sees_the_store(project, records):
    add(records, "data/raw")
    assert (project / ".kedge" / ".gitignore").read_text() == "*\n"


def test_one_path_is_compared_with_what_lies_here(project, records):
    one = add(records, "data/raw").version
    assert records.files.diff_workspace("data/raw", one).same
    write(project, {"data/raw/a": "longer", "data/raw/new": "n"})
    (project / "data/raw/sub/b").unlink()
    found = records.files.diff_workspace("data/raw", one)
    assert (found.added, found.changed, found.removed, found.unchanged) == (1, 1, 1, 1)
    assert (found.after.number, found.after.files, found.after.bytes) == (0, 3, one.bytes + 3 + 1 - 3)
    two = add(records, "data/raw").version
    assert records.files.before(two) == one
    assert records.files.before(one) == one

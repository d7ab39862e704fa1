"""Old versions go and say why the others stay; what is erased is gone from the disk."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contract.filed import ME, add, checkout, contents, nothing_told, opened, write

from kedge.data.files.looking import look
from kedge.data.upkeep.collecting import KeptFor
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.workspace import PlaceState
from kedge.errors import NotFound, RequestInvalid


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def records(project):
    found = opened(project)
    yield found
    found.close()


def versions(records, project: Path, count: int) -> None:
    for number in range(1, count + 1):
        write(project, {"raw/a": f"content {number} " * 5000, "raw/same": "same"})
        add(records, "raw")


def collected(records, **named):
    return records.collecting.collect(actor=ME, young=timedelta(0), **named)


def on_disk(project: Path, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in (project / ".kedge").rglob("*") if path.is_file())


def test_old_versions_go_and_the_others_say_why_they_stay(project, records):
    versions(records, project, 6)
    records.catalogue.tag("raw", "gold", reference="v1", actor=ME)
    used = Node(NodeKind.DATASET_VERSION, records.meta.datasets.find("raw", 2).digest)
    model = Edge(Node(NodeKind.MODEL_VERSION, "flights@3"), used, "training data")
    now = records.clock.now()
    run = Edge(Node(NodeKind.RUN, "r1"), used, "training data")
    records.meta.events.append(
        Event(
            key=digest_of("x"),
            kind=EventKind.RUN_STARTED,
            at=now,
            subject="flights",
            actor=ME,
            message="used",
            edges=(model, run),
        )
    )
    checkout(records, "raw@3")
    found = collected(records, keep=2, dry=True)
    why = {one.number: one.why for one in (*found.kept, *found.dropped)}
    assert why[1] is KeptFor.TAGGED
    assert (why[2], why[3]) == (KeptFor.USED, KeptFor.CHECKED_OUT)
    assert (why[4], why[5], why[6]) == (None, KeptFor.NEWEST, KeptFor.NEWEST)
    assert len(records.meta.datasets.list("raw")) == 6
    assert on_disk(project, "content 4")
    done = collected(records, keep=2)
    assert done.dropped[-1].number == 4
    assert done.bytes > 0
    assert not on_disk(project, "content 4")
    for kept in (1, 5, 6):
        checkout(records, f"raw@{kept}")
        assert (project / "raw" / "a").read_text().startswith(f"content {kept} ")
    assert records.meta.events.list(subject="raw")[0][1].kind is EventKind.DATASET_VERSIONS_DROPPED
    assert [one.number for one in collected(records, keep=2).dropped] == [3]  # not checked out any more


def test_young_versions_stay(project, records):
    versions(records, project, 3)
    assert records.collecting.collect(actor=ME, keep=1).dropped == ()


def test_what_a_branch_names_stays(project, records):
    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=me", "-c", "user.email=m@e", *words], cwd=project, check=True, capture_output=True
        )

    git("init", "-b", "main")
    versions(records, project, 1)
    git("add", ".")
    git("commit", "-m", "one")
    git("branch", "old")
    versions(records, project, 4)
    git("commit", "-am", "four")
    found = collected(records, keep=1)
    why = {one.number: (one.why, one.detail) for one in (*found.kept, *found.dropped)}
    assert why[1] == (KeptFor.IN_GIT, "refs/heads/old")
    assert why[2] == (None, "")


def test_what_was_added_but_never_committed_is_freed(project, records):
    write(project, {"raw/a": "x", "lost": "never in a version"})
    with records.blobs.keeping():
        list(records.blobs.put_files([("lost", project / "lost")], told=nothing_told))
    add(records, "raw")
    assert collected(records).blobs == 1
    assert not on_disk(project, "never in a version")
    checkout(records, "raw", force=True)


def test_an_erased_file_is_gone_from_every_version_and_from_the_disk(project, records):
    write(project, {"raw/people/ann": "ann's secret", "raw/people/bob": "bob's data", "raw/b": "x"})
    add(records, "raw")
    write(project, {"raw/people/ann": "ann's newer secret", "raw/b": "y"})
    second = add(records, "raw").version
    assert records.erasing.erase("raw", ["people/ann"], actor=ME, reason="asked", place="raw", dry=True).versions == 2
    done = records.erasing.erase("raw", ["people/ann"], actor=ME, reason="she asked for it", place="raw")
    assert (done.files, done.versions, done.held_elsewhere) == (1, 2, 0)
    assert not on_disk(project, "secret")
    for number in (1, 2):
        version = records.meta.datasets.find("raw", number)
        assert version.erased_at is not None
        assert [file.name for file in records.blobs.manifest(version.tree)] == ["b", "people/bob"]
    assert records.meta.datasets.find("raw", 2).digest == second.digest
    assert sorted(contents(project / "raw")) == ["b", "people/bob"]
    assert look(records.workspace, "raw").state is PlaceState.CLEAN
    assert not add(records, "raw").new
    checkout(records, "raw@1")
    assert contents(project / "raw") == {"b": "x", "people/bob": "bob's data"}
    event = records.meta.events.list(subject="raw")[0][1]
    assert (event.kind, event.facts["files"], event.facts["reason"]) == (EventKind.DATA_ERASED, 1, "she asked for it")
    assert "ann" not in event.message


def test_what_others_hold_too_is_said(project, records):
    write(project, {"raw/a": "shared", "other/b": "shared"})
    add(records, "raw")
    add(records, "other")
    done = records.erasing.erase("raw", ["a"], actor=ME, reason="asked", place=None)
    assert done.held_elsewhere == 1
    (project / "other/b").unlink()
    checkout(records, "other")
    assert (project / "other/b").read_text() == "shared"


def test_an_erasure_needs_a_reason_and_a_file(project, records):
    versions(records, project, 1)
    with pytest.raises(RequestInvalid):
        records.erasing.erase("raw", ["a"], actor=ME, reason=" ", place=None)
    with pytest.raises(NotFound):
        records.erasing.erase("raw", ["none*"], actor=ME, reason="asked", place=None)

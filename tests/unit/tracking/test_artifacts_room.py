"""Files of runs and logged models: who may write where, what the loop left, trees, pages, uploads in parts."""

from datetime import timedelta

import msgspec
import pytest
from tests.ui.filled import StoppedClock
from tests.ui.seed import END

from kedge.domain.artifacts import PARTS_AT_MOST, Listed, UploadPart
from kedge.domain.ids import Digest, RunId
from kedge.errors import Conflict, NotFound, RequestInvalid, StoreFull, WasDeleted
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.sql import open_store
from kedge.tracking.artifacts import Artifacts
from kedge.tracking.logging import Logging


class World:
    """A run, a logged model, and the room."""

    def __init__(self):
        self.meta, self.blobs, self.clock = open_store("sqlite://"), MemoryBlobs(), StoppedClock(END)
        self.logging = Logging(meta=self.meta, clock=self.clock)
        experiment = self.logging.create_experiment("e").id
        self.run = self.logging.create_run(experiment, name="r", user="ada").id
        self.model = self.logging.create_model(experiment, name="m").id
        meta = self.meta
        self.room = Artifacts(
            files=meta.files, runs=meta.runs, models=meta.logged_models, blobs=self.blobs, clock=self.clock
        )

    def put(self, path, data=b"x", owner=None):
        return self.room.put(owner or self.run, path, pieces=[data])

    def left_by_the_loop(self):
        run = self.meta.runs.get(self.run)
        tree = self.blobs.put_tree({"model.skops": b"model", "sub/notes.txt": b"notes"})
        made = {"model": tree, "report": self.blobs.put(b"[1, 2]"), "list": self.blobs.put(b'[{"a": 1}]')}
        changed = msgspec.structs.replace(run, artifacts=made)
        runs = self.meta.runs

        class Runs:
            def get(self, wanted):
                return changed if wanted == changed.id else runs.get(wanted)

        self.room._runs = Runs()


@pytest.fixture
def world():
    made = World()
    yield made
    made.meta.close()


def text(world, owner, path, **span):
    return b"".join(world.room.read(world.room.get(owner, path), **span))


def test_a_file_of_a_run_and_of_a_model_comes_back(world):
    for owner in (world.run, world.model):
        file = world.room.put(owner, "a/b.txt", pieces=[b"one ", b"two"])
        assert (file.path, file.size, file.modified_at) == ("a/b.txt", 7, END)
        assert world.room.get(owner, "a/b.txt") == file
        assert text(world, owner, "a/b.txt") == b"one two"
        assert text(world, owner, "a/b.txt", start=4, end=6) == b"tw"
    world.put("a/b.txt", b"new")
    assert text(world, world.run, "a/b.txt") == b"new"
    assert text(world, world.model, "a/b.txt") == b"one two"


@pytest.mark.parametrize("owner", ["nobody", "m-nobody", "", "../x"])
def test_an_owner_that_is_not_there_has_nothing_and_takes_nothing(world, owner):
    for act in (
        lambda: world.room.receive(owner, "a"),
        lambda: world.room.get(owner, "a"),
        lambda: world.room.list(owner),
        lambda: world.room.delete(owner, "a"),
        lambda: world.room.tree(owner),
        lambda: world.room.begin(owner, "a"),
    ):
        with pytest.raises(NotFound):
            act()


@pytest.mark.parametrize("path", ["", "../x", "/x", "a//b", "a\\b", "%2e%2e/x", "a/..;/b"])
def test_every_way_in_checks_the_path(world, path):
    acts = [
        lambda: world.room.receive(world.run, path),
        lambda: world.room.place(world.run, path, digest=Digest("0" * 64), size=0),
        lambda: world.room.get(world.run, path),
        lambda: world.room.begin(world.run, path),
    ]
    if path:
        acts += [
            lambda: world.room.list(world.run, path),
            lambda: world.room.walk(world.run, path),
            lambda: world.room.tree(world.run, path),
            lambda: world.room.delete(world.run, path),
        ]
    for act in acts:
        with pytest.raises(RequestInvalid, match="path of an artifact"):
            act()


def test_what_is_deleted_can_be_read_and_not_written(world):
    world.put("a")
    world.logging.delete_run(RunId(world.run))
    assert text(world, world.run, "a") == b"x"
    for act in (lambda: world.put("b"), lambda: world.room.begin(world.run, "b")):
        with pytest.raises(WasDeleted, match="restore it first"):
            act()


def test_a_file_that_fails_on_its_way_leaves_nothing(world):
    def pieces():
        yield b"half"
        raise StoreFull("no space left")

    with pytest.raises(StoreFull):
        world.room.put(world.run, "a", pieces=pieces())
    assert world.room.list(world.run).entries == ()


def test_pages_follow_one_another(world):
    for name in ("a/1", "b", "c/1", "d", "e/f/g"):
        world.put(name)
    seen, page = [], None
    while True:
        listing = world.room.list(world.run, page=page, limit=2)
        seen.extend(listing.entries)
        page = listing.next
        if page is None:
            break
    assert seen == [Listed("a"), Listed("b", 1), Listed("c"), Listed("d", 1), Listed("e")]
    assert world.room.list(world.run, "e/f/").entries == (Listed("e/f/g", 1),)


@pytest.mark.parametrize(
    ("folder", "page"), [("", "../x"), ("", "a/b"), ("a", "b"), ("a", "a/"), ("", "\0"), ("a", "a/b/c")]
)
def test_a_page_token_that_is_none_is_refused(world, folder, page):
    with pytest.raises(RequestInvalid, match="page token"):
        world.room.list(world.run, folder, page=page)


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**9])
def test_a_page_has_its_limits(world, limit):
    with pytest.raises(RequestInvalid, match="1 to 1000"):
        world.room.list(world.run, limit=limit)


def test_what_the_loop_left_is_listed_with_the_rest_and_stays_as_it_is(world):
    world.left_by_the_loop()
    world.put("mine.txt")
    world.put("zoo/a")
    entries = world.room.list(world.run).entries
    assert entries == (Listed("list", 10), Listed("mine.txt", 1), Listed("model"), Listed("report", 6), Listed("zoo"))
    assert world.room.list(world.run, limit=2).next == "mine.txt"
    assert world.room.list(world.run, page="mine.txt").entries == entries[2:]
    assert world.room.list(world.run, "model").entries == (Listed("model/model.skops", 5), Listed("model/sub"))
    assert text(world, world.run, "model/sub/notes.txt") == b"notes"
    assert [file.path for file in world.room.walk(world.run, "model")] == ["model/model.skops", "model/sub/notes.txt"]
    for path in ("model", "model/model.skops", "model/new", "report", "report/x"):
        with pytest.raises(Conflict, match="training made"):
            world.put(path)
    for path in ("", "model", "report", "model/sub"):
        with pytest.raises(Conflict, match="cannot be taken away"):
            world.room.delete(world.run, path)


def test_a_tree_of_a_folder_is_the_tree_of_its_files(world):
    world.put("m/MLmodel", b"flavors:")
    world.put("m/data/model.skops", b"bytes")
    world.put("m.txt")
    files = {"MLmodel": b"flavors:", "data/model.skops": b"bytes"}
    assert world.room.tree(world.run, "m") == world.room.tree(world.run, "m/") == world.blobs.put_tree(files)
    assert world.blobs.get_tree(world.room.tree(world.run, "m")) == files
    assert "m/MLmodel" in world.blobs.get_tree(world.room.tree(world.run))
    with pytest.raises(NotFound, match="log the model there first"):
        world.room.tree(world.run, "nothing")


def test_a_file_of_a_tree_is_found_by_its_name(world):
    tree = world.blobs.put_tree({"MLmodel": b"flavors:", "data/model.skops": b"bytes"})
    file = world.room.in_tree(tree, "data/model.skops", at=END)
    assert (file.path, file.size, file.modified_at) == ("data/model.skops", 5, END)
    assert b"".join(world.room.read(file)) == b"bytes"
    with pytest.raises(NotFound, match="no file 'nothing'"):
        world.room.in_tree(tree, "nothing", at=END)
    with pytest.raises(RequestInvalid):
        world.room.in_tree(tree, "../MLmodel", at=END)


def test_deleting_what_is_not_there_is_told(world):
    world.put("a/b")
    assert world.room.delete(world.run, "a") == 1
    with pytest.raises(NotFound, match="list its folder"):
        world.room.delete(world.run, "a")
    assert world.room.delete(world.run) == 0


def sent(world, upload, number, data):
    coming = world.room.part(upload, number)
    coming.write(data)
    return coming.keep()


def test_parts_make_the_file_whatever_their_order(world):
    upload = world.room.begin(world.run, "big/file.bin").id
    parts = {number: sent(world, upload, number, bytes([number]) * 10) for number in (3, 1, 2)}
    assert world.room.list(world.run).entries == ()
    parts[2] = sent(world, upload, 2, b"again")
    file = world.room.complete(upload, [parts[1], parts[2], parts[3]])
    assert file.size == 25
    assert text(world, world.run, "big/file.bin") == bytes([1]) * 10 + b"again" + bytes([3]) * 10
    with pytest.raises(NotFound):
        world.room.complete(upload, [parts[1]])


def test_parts_that_are_not_what_arrived_make_no_file(world):
    upload = world.room.begin(world.run, "f").id
    one, two = sent(world, upload, 1, b"1"), sent(world, upload, 2, b"2")
    wrong = UploadPart(number=1, digest=two.digest, size=1)
    for parts in (
        [],
        [two, one],
        [one, one],
        [one],
        [wrong, two],
        [one, two, UploadPart(number=3, digest=one.digest, size=1)],
    ):
        with pytest.raises(RequestInvalid):
            world.room.complete(upload, parts)
    for number in (0, -1, PARTS_AT_MOST + 1):
        with pytest.raises(RequestInvalid, match="counted from 1"):
            world.room.part(upload, number)
    assert world.room.complete(upload, [one, two]).size == 2


def test_an_upload_can_be_given_up_and_is_forgotten_in_time(world):
    upload = world.room.begin(world.run, "f").id
    coming = world.room.part(upload, 1)
    coming.write(b"x")
    world.room.abort(upload)
    with pytest.raises(NotFound):
        coming.keep()
    coming.drop()
    old = world.room.begin(world.run, "old").id
    world.clock.at += timedelta(days=8)
    world.room.begin(world.run, "new")
    with pytest.raises(NotFound):
        world.room.upload(old)


def test_there_is_nothing_to_sweep_in_memory(world):
    assert world.room.sweep() == 0

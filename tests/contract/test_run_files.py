"""What the store of files and uploads does, on every dialect: paths, listings, races, uploads in parts."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from kedge.domain.artifacts import Listed, RunFile, Upload, UploadPart
from kedge.domain.ids import Digest
from kedge.errors import Conflict, NotFound
from kedge.storage.sql import open_store

AT = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)


def file(path, size=1, digest="d" * 64):
    return RunFile(path=path, digest=Digest(digest), size=size, modified_at=AT)


def filled(store, *paths, owner="r"):
    for path in paths:
        store.files.put(owner, file(path))
    return store.files


def test_a_file_comes_back_as_it_was_written_and_can_be_written_again(store):
    store.files.put("r", file("a/b.txt", 7))
    assert store.files.find("r", "a/b.txt") == file("a/b.txt", 7)
    store.files.put("r", file("a/b.txt", 9, "e" * 64))
    assert store.files.find("r", "a/b.txt") == file("a/b.txt", 9, "e" * 64)
    assert store.files.find("r", "a") is None
    assert store.files.find("other", "a/b.txt") is None


def test_a_folder_lists_what_is_right_in_it_in_the_order_of_bytes(store):
    files = filled(store, "b", "a.txt", "a/x", "a/y/z", "a0", "a-b/c", "é/1", "日/1", "Z", "\U0001f600")
    assert files.list("r", "", limit=100) == [
        Listed("Z", 1),
        Listed("a-b"),
        Listed("a.txt", 1),
        Listed("a"),
        Listed("a0", 1),
        Listed("b", 1),
        Listed("é"),
        Listed("日"),
        Listed("\U0001f600", 1),
    ]
    assert files.list("r", "a", limit=100) == [Listed("a/x", 1), Listed("a/y")]
    assert files.list("r", "a/y", limit=100) == [Listed("a/y/z", 1)]
    assert files.list("r", "nothing", limit=100) == []
    assert files.list("nobody", "", limit=100) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_end_to_end_are_the_whole_listing(store, limit):
    files = filled(store, *(f"f{n}/{m}" for n in range(5) for m in range(4)), "f", "f.txt", "f3.txt", "g/a/b/c")
    whole = files.list("r", "", limit=100)
    assert len(whole) == 9
    pages, after = [], ""
    while page := files.list("r", "", after=after, limit=limit):
        pages.extend(page)
        after = page[-1].place
    assert pages == whole


def test_a_walk_gives_every_file_below_a_folder(store):
    files = filled(store, "m/a", "m/b/c", "m0", "m.txt", "x")
    assert [one.path for one in files.walk("r", "m", limit=10)] == ["m/a", "m/b/c"]
    assert [one.path for one in files.walk("r", "", limit=3)] == ["m.txt", "m/a", "m/b/c"]


@pytest.mark.parametrize(
    ("there", "new", "named"),
    [("a", "a/b", "'a' is a file"), ("a/b", "a/b/c/d", "'a/b' is a file"), ("a/b", "a", "it is a folder")],
)
def test_a_file_and_a_folder_never_share_a_name(store, there, new, named):
    files = filled(store, there)
    with pytest.raises(Conflict, match=named):
        files.put("r", file(new))
    assert [one.path for one in files.walk("r", "", limit=10)] == [there]
    files.put("other", file(new))


def test_deleting_takes_a_file_or_all_of_a_folder_and_nothing_beside_it(store):
    files = filled(store, "a/b", "a/c/d", "a.txt", "a0", "ab", "z")
    assert files.delete("r", "nothing") == 0
    assert files.delete("r", "a.txt") == 1
    assert files.delete("r", "a") == 2
    assert [one.path for one in files.walk("r", "", limit=10)] == ["a0", "ab", "z"]
    filled(store, "kept", owner="other")
    assert files.delete("r", "") == 3
    assert files.walk("other", "", limit=10)


def test_of_a_file_and_a_folder_in_a_race_one_wins(shared_url):
    stores = [open_store(shared_url) for _ in range(4)]
    for turn in range(8):
        told, gate = [], threading.Barrier(4)

        def write(store, path, told=told, gate=gate):
            gate.wait()
            try:
                store.files.put("r", file(path))
                told.append(path)
            except Conflict:
                pass

        paths = [f"{turn}/x", f"{turn}/x/y", f"{turn}/x", f"{turn}/x/z"]
        threads = [threading.Thread(target=write, args=pair) for pair in zip(stores, paths, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = {one.path for one in stores[0].files.walk("r", str(turn), limit=10)}
        assert found == set(told)
        assert found in ({f"{turn}/x"}, {f"{turn}/x/y", f"{turn}/x/z"})
    for store in stores:
        store.close()


def begun(store, name="u1", at=AT):
    upload = Upload(id=name, owner="r", path="a/big.bin", begun_at=at)
    store.files.begin(upload)
    return upload


def part(number, size=5):
    return UploadPart(number=number, digest=Digest(str(number) * 64), size=size)


def test_parts_come_in_any_order_and_again_and_end_as_a_file(store):
    upload = begun(store)
    assert store.files.upload("u1") == upload
    for number in (2, 1, 2):
        store.files.put_part("u1", part(number, size=number))
    assert store.files.parts("u1") == [part(1, 1), part(2, 2)]
    store.files.end("u1", file("a/big.bin", 3))
    assert store.files.find("r", "a/big.bin") == file("a/big.bin", 3)
    assert store.files.upload("u1") is None
    assert store.files.parts("u1") == []


def test_an_upload_that_ended_takes_nothing_more(store):
    begun(store)
    store.files.end("u1")
    for act in (lambda: store.files.put_part("u1", part(1)), lambda: store.files.end("u1"), lambda: store.files.end("u9")):
        with pytest.raises(NotFound, match="begin a new one"):
            act()
    assert store.files.find("r", "a/big.bin") is None


def test_an_upload_whose_path_is_taken_stays_open(store):
    filled(store, "a")
    begun(store)
    store.files.put_part("u1", part(1))
    with pytest.raises(Conflict):
        store.files.end("u1", file("a/big.bin"))
    assert store.files.parts("u1") == [part(1)]


def test_old_uploads_are_forgotten_with_their_parts(store):
    begun(store, "old", AT - timedelta(days=8))
    store.files.put_part("old", part(1))
    begun(store, "new")
    assert store.files.end_before(AT - timedelta(days=7)) == 1
    assert store.files.upload("old") is None
    assert store.files.parts("old") == []
    assert store.files.upload("new") is not None

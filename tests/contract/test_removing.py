"""Blobs leave the store: what nothing names is gone from the disk, and everything else stays."""

import os
import random
import threading

import pytest

from kedge.errors import NotFound
from kedge.ports import TreeFile
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.sql import open_store


@pytest.fixture
def meta(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'kedge.db'}")
    yield store
    store.close()


@pytest.fixture
def store(tmp_path, meta):
    return ChunkStore(tmp_path / "store", meta.chunks, pack_bytes=1 << 20)


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def folder_of(store, tmp_path, contents):
    files = []
    for name, data in sorted(contents.items()):
        (tmp_path / name).write_bytes(data)
        files.append((name, tmp_path / name))
    kept = list(store.put_files(files, told=lambda count, size: None))
    return store.put_manifest(TreeFile(file.name, file.digest, file.size) for file in kept)


def on_disk(tmp_path):
    return b"".join(path.read_bytes() for path in sorted((tmp_path / "store" / "packs").iterdir()))


@pytest.fixture(params=["holes", "no holes"])
def holes(request, monkeypatch):
    if request.param == "no holes":
        monkeypatch.setattr("kedge.storage.blobs.removing.punch", lambda descriptor, start, length: False)
    return request.param == "holes"


@pytest.mark.parametrize("size", [5_000, 60_000, 900_000, 3_000_000])
def test_removed_bytes_are_gone_from_the_disk_and_others_stay(store, tmp_path, size, holes):
    contents = {f"{at}": noise(size, at) for at in range(4)}
    tree = folder_of(store, tmp_path, contents)
    gone = next(file.digest for file in store.manifest(tree) if file.name == "1")
    with store.alone():
        freed = store.remove([gone])
    assert contents["1"][100:2000] not in on_disk(tmp_path)
    assert not holes or freed > 0.9 * size - 8192
    assert not store.has(gone)
    with pytest.raises(NotFound):
        store.get(gone)
    assert {file.name: store.get(file.digest) for file in store.manifest(tree) if file.name != "1"} == {
        name: data for name, data in contents.items() if name != "1"
    }
    assert store.get(store.put(contents["1"])) == contents["1"]


def test_chunks_that_others_are_made_of_stay(store):
    data = noise(2_000_000)
    one, two = store.put(data), store.put(data + noise(10, 1))
    with store.alone():
        store.remove([one])
    assert store.get(two) == data + noise(10, 1)
    with store.alone():
        assert store.remove([two]) > 2_000_000
    assert store.idle_bytes() == 0


def test_only_what_nothing_names_is_unused(store, tmp_path):
    old = folder_of(store, tmp_path, {"a": noise(1000, 1), "b": noise(1000, 2)})
    new = folder_of(store, tmp_path, {"a": noise(1000, 1), "b": noise(1000, 3)})
    b = next(file.digest for file in store.manifest(old) if file.name == "b")
    assert dict(store.unused([old, new])) == {}
    assert dict(store.unused([new])) == {b: 1000, old: store.size(old)}
    assert dict(store.unused([new], blobs=[b])) == {old: store.size(old)}
    assert store.put(noise(1000, 2)) == b  # another room has the same bytes: they are no longer the folder's alone
    assert dict(store.unused([new])) == {old: store.size(old)}
    kept_before = store.put(noise(1000, 9))
    folder_of(store, tmp_path, {"c": noise(1000, 9)})
    assert kept_before not in dict(store.unused([new]))


def test_what_a_killed_writer_left_is_freed(store, tmp_path):
    kept = store.put(noise(100_000, 1))
    pack = tmp_path / "store" / "packs" / "00000001.pack"
    with pack.open("ab") as file:
        file.write(noise(500_000, 2))
    assert 490_000 < store.idle_bytes() < 510_000
    with store.alone():
        assert store.remove([]) > 490_000
    assert store.idle_bytes() < 8192
    assert store.get(kept) == noise(100_000, 1)
    assert noise(500_000, 2)[:1000] not in on_disk(tmp_path)


@pytest.mark.parametrize("where", ["sweep", "Removal._reclaim", "sync_folder"])
def test_a_removal_that_is_killed_is_finished_by_the_next(store, tmp_path, monkeypatch, where):
    gone, kept = store.put(noise(300_000, 1)), store.put(noise(300_000, 2))
    calls = []

    def dying(*args):
        calls.append(args)
        if where != "sync_folder" or len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, store.alone():
        patch.setattr(f"kedge.storage.blobs.removing.{where}", dying)
        with pytest.raises(KeyboardInterrupt):
            store.remove([gone])
    with store.alone():
        pass
    assert noise(300_000, 1)[:1000] not in on_disk(tmp_path)
    assert not store.has(gone)
    assert store.get(kept) == noise(300_000, 2)
    assert not (tmp_path / "store" / "removing").exists()


def test_a_reader_in_the_middle_of_a_removal_reads_on_or_is_told(store, monkeypatch):
    monkeypatch.setattr("kedge.storage.blobs.removing.punch", lambda descriptor, start, length: False)
    gone, kept = store.put(noise(700_000, 1)), store.put(noise(900_000, 2))
    reading, other = store.read(kept), store.read(gone)
    first, started = next(reading), next(other)
    with store.alone():
        store.remove([gone])  # the pack is written anew: what is kept moves
    assert first + b"".join(reading) == noise(900_000, 2)
    with pytest.raises(NotFound):
        started + b"".join(other)


def test_removing_and_adding_at_one_time(store, meta, tmp_path):
    """Adders hold `keeping` until a version names their files; a remover takes what none names."""
    versions, failures, stop = {}, [], threading.Event()

    def add(number):
        own = ChunkStore(tmp_path / "store", meta.chunks, pack_bytes=1 << 20)
        for turn in range(6):
            folder = tmp_path / f"{number}-{turn}"
            folder.mkdir()
            contents = {f"{at}": noise(20_000, (turn + at) % 7) for at in range(5)} | {"big": noise(2_500_000, turn % 3)}
            with own.keeping():
                tree = folder_of(own, folder, contents)
                versions[number] = tree, contents
            try:
                assert own.get_tree(tree) == contents
            except Exception as error:
                failures.append(error)

    def remove():
        while not stop.is_set():
            with store.alone():
                store.remove([digest for digest, _ in store.unused([tree for tree, _ in list(versions.values())])])

    adders = [threading.Thread(target=add, args=(number,)) for number in range(3)]
    remover = threading.Thread(target=remove)
    for thread in (*adders, remover):
        thread.start()
    for thread in adders:
        thread.join()
    stop.set()
    remover.join()
    assert failures == []
    for tree, contents in versions.values():
        assert store.get_tree(tree) == contents


def test_other_rooms_put_while_a_remover_works(store, meta, tmp_path):
    """They hold no lock: chunks that they share with what is removed are written again."""
    failures, stop = [], threading.Event()

    def put():
        own = ChunkStore(tmp_path / "store", meta.chunks, pack_bytes=1 << 20)
        for turn in range(60):
            data = noise(200_000, turn % 3) + b"%d" % turn
            try:
                assert own.get(own.put(data)) == data
            except Exception as error:
                failures.append(error)

    def remove():
        while not stop.is_set():
            folder_of(store, tmp_path, {f"f{at}": noise(200_000, at) for at in range(3)})
            with store.alone():
                store.remove([digest for digest, _ in store.unused([])])

    putting, removing = threading.Thread(target=put), threading.Thread(target=remove)
    putting.start()
    removing.start()
    putting.join()
    stop.set()
    removing.join()
    assert failures == []


def test_a_pack_that_someone_writes_is_waited_for(store, tmp_path, monkeypatch):
    monkeypatch.setattr("kedge.storage.blobs.removing._WAIT_SECONDS", 0.1)
    store.put(noise(100))
    store._writer.append(memoryview(b"not yet named"))
    other = ChunkStore(tmp_path / "store", store._index)
    with other.alone(), pytest.raises(Exception, match="keeps writing pack"):
        other.remove([])
    assert os.path.exists(tmp_path / "store" / "removing")
    store._writer.close()
    with other.alone():
        pass
    assert not os.path.exists(tmp_path / "store" / "removing")

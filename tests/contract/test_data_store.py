"""Whole folders in and out of the chunk store."""

import os
import random

import pytest
from blake3 import blake3

from kedge.errors import Conflict, FileChanged, NotFound, SourceFailed, StoreBroken, StoreFull
from kedge.ports import TreeFile
from kedge.storage.blobs import intake
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.blobs.cut import LARGEST, cut
from kedge.storage.blobs.holding import hold
from kedge.storage.blobs.large import BLOCK
from kedge.storage.blobs.trees import NOTHING, read_entries, write_entries
from kedge.storage.sql import open_store


@pytest.fixture
def meta(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'kedge.db'}")
    yield store
    store.close()


@pytest.fixture
def store(tmp_path, meta):
    return ChunkStore(tmp_path / "store", meta.chunks, pack_bytes=4 << 20)


def quiet(files, size):
    pass


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def laid_out(folder, contents):
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [(name, folder / name) for name in sorted(contents)]


CONTENTS = {
    "a/empty": b"",
    "a/one": b"1",
    "b.bin": noise(300_000),
    "b2.bin": noise(300_000),
    "big.bin": noise(9_000_000, 1),
    "big.parquet": b"PAR1" + noise(3_000_000, 2),
    "zeros": bytes(2_000_000),
}


def test_files_come_in_and_go_out_as_they_were(store, tmp_path):
    files = laid_out(tmp_path / "in", CONTENTS)
    told = []
    kept = list(store.put_files(files, told=lambda *done: told.append(done)))
    assert [file.name for file in kept] == [name for name, _ in files]
    assert all(file.digest == blake3(CONTENTS[file.name]).hexdigest() for file in kept)
    assert all(file.stat.st_mtime_ns == os.stat(path).st_mtime_ns for file, (_, path) in zip(kept, files, strict=True))
    assert told[-1] == (len(CONTENTS), sum(map(len, CONTENTS.values())))
    tree = store.put_manifest(TreeFile(file.name, file.digest, file.size) for file in kept)
    assert tree == store.put_tree(CONTENTS)
    back = list(store.restore(((file, tmp_path / "out" / file.name) for file in store.manifest(tree)), told=quiet))
    assert sorted(file.name for file in back) == sorted(CONTENTS)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert all(file.stat.st_mtime_ns == os.stat(tmp_path / "out" / file.name).st_mtime_ns for file in back)
    assert not list((tmp_path / "out").rglob(".kedge-*"))


def test_what_is_known_is_not_written_again(store, tmp_path):
    files = laid_out(tmp_path / "in", CONTENTS)
    list(store.put_files(files, told=quiet))
    before = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.pack"))
    list(store.put_files(files, told=quiet))
    assert sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.pack")) == before


def test_executable_bits_and_links_come_back(store, tmp_path):
    digest = store.put(b"#!/bin/sh\n")
    files = [TreeFile("link", NOTHING, 0, link="run.sh"), TreeFile("run.sh", digest, 10, executable=True)]
    tree = store.put_manifest(files)
    assert list(store.manifest(tree)) == files
    list(store.restore([(file, tmp_path / "out" / file.name) for file in files], told=quiet))
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert os.readlink(tmp_path / "out" / "link") == "run.sh"


def test_restoring_replaces_what_is_there_and_never_writes_through_it(store, tmp_path):
    digest = store.put(b"new")
    (tmp_path / "outside").write_bytes(b"precious")
    (tmp_path / "a").symlink_to("outside")
    list(store.restore([(TreeFile("a", digest, 3), tmp_path / "a")], told=quiet))
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "outside").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "entries",
    [
        [("a", "/etc")],
        [("a", "..")],
        [("a/b", "../../out")],
        [("a", "b"), ("a/x", "")],
        [("a", "b"), ("a.b", ""), ("a/c/x", "")],
    ],
)
def test_a_tree_from_elsewhere_leads_nowhere_out(entries):
    written = b"".join(write_entries(TreeFile(name, NOTHING, 0, link=link) for name, link in entries))
    with pytest.raises(StoreBroken, match="link"):
        list(read_entries([written], NOTHING))


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"], ["../a"], ["/a"]])
def test_a_manifest_is_sorted_and_plain(store, names):
    with pytest.raises(ValueError, match=r"sorted|relative"):
        store.put_manifest(TreeFile(name, NOTHING, 0) for name in names)


@pytest.mark.parametrize("cut", [1, 7, 64, 1000, 1 << 20])
def test_a_manifest_is_read_however_its_bytes_are_cut(cut):
    odd = ['a"},{"name":"b', "a},{", "a}", "ü", "z" * 300]
    files = [TreeFile(name, NOTHING, at, executable=at == 2) for at, name in enumerate(sorted(odd))]
    data = b"".join(write_entries(files))
    pieces = [data[start : start + cut] for start in range(0, len(data), cut)]
    assert list(read_entries(pieces, NOTHING)) == files
    assert list(read_entries([b"".join(write_entries([]))], NOTHING)) == []
    with pytest.raises(StoreBroken, match="not a tree"):
        list(read_entries([data[:-20]], NOTHING))


def test_a_file_that_is_missing_is_told(store, tmp_path):
    with pytest.raises(SourceFailed, match=r"cannot read .*gone.*No such file"):
        list(store.put_files([("gone", tmp_path / "gone")], told=quiet))


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_file_that_keeps_changing_is_refused(store, tmp_path, monkeypatch, size):
    path = tmp_path / "log"
    path.write_bytes(noise(size))
    real = os.fstat

    def growing(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(path):
            with path.open("ab") as file:
                file.write(b"more")
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(FileChanged, match="changed while it was read"):
        list(store.put_files([("log", path)], told=quiet))


def test_many_keep_at_a_time_and_one_removes_alone(tmp_path):
    one, two, other = hold(tmp_path, seconds=0), hold(tmp_path, seconds=0), hold(tmp_path, alone=True, seconds=0)
    with one, two, pytest.raises(Conflict, match="keeps files"), other:
        pass
    with hold(tmp_path, alone=True, seconds=0), pytest.raises(Conflict, match="removes data"), hold(tmp_path, seconds=0):
        pass
    with hold(tmp_path, alone=True, seconds=0):
        pass


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + LARGEST, 2 * BLOCK + 5, 3 * BLOCK + LARGEST + 1])
@pytest.mark.parametrize("head", [b"", b"PAR1", bytes(BLOCK)], ids=["noise", "parquet", "zeros"])
def test_several_threads_cut_where_one_does(store, meta, tmp_path, size, head):
    data = head + noise(size - len(head) if size > len(head) else size)
    (tmp_path / "file").write_bytes(data)
    (file,) = store.put_files([("file", tmp_path / "file")], told=quiet)
    assert file.digest == blake3(data).hexdigest()
    expected = tuple(blake3(piece).hexdigest() for piece in cut(data))
    assert meta.chunks.find_blob(file.digest) == (len(data), expected)


def test_an_insert_in_the_middle_stores_little(store, tmp_path):
    data = noise(40_000_000)
    (tmp_path / "file").write_bytes(data)
    list(store.put_files([("file", tmp_path / "file")], told=quiet))
    before = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.pack"))
    (tmp_path / "file").write_bytes(data[:20_000_000] + noise(4096, 9) + data[20_000_000:])
    list(store.put_files([("file", tmp_path / "file")], told=quiet))
    assert sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.pack")) - before < 512 << 10


def test_equal_files_in_one_folder_are_kept_once(store, tmp_path):
    files = laid_out(tmp_path / "in", {f"{at}": noise(100_000, at % 2) for at in range(10)})
    assert len({file.digest for file in store.put_files(files, told=quiet)}) == 2
    assert sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.pack")) == 200_000


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_only_files_are_read(store, tmp_path, kind):
    path = tmp_path / "odd"
    {"fifo": os.mkfifo, "link": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    with pytest.raises(SourceFailed, match="cannot read"):
        list(store.put_files([("odd", path)], told=quiet))


def test_restored_files_have_the_time_that_is_asked_for(store, tmp_path):
    digest = store.put(b"x")
    (file,) = store.restore([(TreeFile("a", digest, 1), tmp_path / "a")], told=quiet, mtime_ns=10**18)
    assert file.stat.st_mtime_ns == os.stat(tmp_path / "a").st_mtime_ns == 10**18
    assert file.stat == os.stat(tmp_path / "a")


@pytest.mark.parametrize("size", [1000, 300_000, 9_000_000])
def test_a_damaged_chunk_is_told_and_leaves_the_file_as_it_was(store, tmp_path, size):
    digest = store.put(noise(size))
    pack = tmp_path / "store" / "packs" / "00000001.pack"
    data = bytearray(pack.read_bytes())
    data[min(size, len(data)) // 2] ^= 1
    pack.write_bytes(data)
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(StoreBroken, match=r"00000001\.pack is damaged"):
        list(store.restore([(TreeFile("file", digest, size), tmp_path / "file")], told=quiet))
    assert (tmp_path / "file").read_bytes() == b"before"
    assert not list(tmp_path.glob(".kedge*"))


@pytest.mark.parametrize("size", [100_000, 9_000_000])
def test_a_full_disk_while_restoring_leaves_no_half_file(store, tmp_path, monkeypatch, size):
    digest = store.put(noise(size))

    def full(descriptor, data, offset=0):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StoreFull, match="free some space"):
        list(store.restore([(TreeFile("a", digest, size), tmp_path / "out" / "a")], told=quiet))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("state", ["whole", "edited", "shorter", "gone"])
def test_what_a_large_file_shares_with_the_one_it_replaces_is_read_from_there_and_verified(
    store, tmp_path, monkeypatch, state
):
    old = noise(9_000_000)
    new = old[:4_000_000] + b"inserted" + old[4_000_000:]
    before, after = store.put(old), store.put(new)
    path = tmp_path / "a"
    there = {"whole": old, "edited": old[:100] + b"edited" + old[106:], "shorter": old[:5_000_000], "gone": None}[state]
    if there is not None:
        path.write_bytes(there)
    read, opened = [], os.open
    monkeypatch.setattr("os.open", lambda name, *rest: read.append(str(name)) or opened(name, *rest))
    (_,) = store.restore([(TreeFile("a", after, len(new)), path)], told=quiet, before={"a": before}.get)
    assert path.read_bytes() == new
    assert str(path) in read
    assert sum(name.endswith(".pack") for name in read) < 5 or state != "whole"


def test_a_large_file_is_restored_though_its_chunks_moved_and_its_disk_writes_little_at_once(store, tmp_path, monkeypatch):
    data = noise(9_000_000)
    digest = store.put(data)
    read, write = os.preadv, os.pwrite
    monkeypatch.setattr("os.preadv", lambda descriptor, buffers, start: read(descriptor, [buffers[0][:-1]], start))
    monkeypatch.setattr("os.pwrite", lambda descriptor, data, start: write(descriptor, data[:100_000], start))
    told = []
    (_,) = store.restore([(TreeFile("a", digest, len(data)), tmp_path / "a")], told=lambda *done: told.append(done))
    assert (tmp_path / "a").read_bytes() == data
    assert told[0][0] == 0
    assert 0 < told[0][1] < len(data)
    assert told[-1] == (1, len(data))


WAS = noise(20_000_000, 5)


@pytest.mark.parametrize(
    "data",
    [
        WAS,
        WAS + noise(3_000_000, 6),
        WAS + b"x",
        WAS[:10_000_000] + b"inserted" + WAS[10_000_000:],
        WAS[:10_000_000] + b"over it" + WAS[10_000_007:],
        WAS[:10_000_000] + b"over it" + WAS[10_000_007:] + noise(1_000_000, 7),
        b"in front" + WAS,
        WAS[1_000_000:],
        WAS[:-1_000_000],
        WAS[9_000_000:] + WAS[:9_000_000],
        WAS + WAS,
        b"PAR1" + WAS,
        noise(20_000_000, 8),
        bytes(20_000_000),
        noise(100, 9),
    ],
    ids=range(15),
)
def test_a_file_whose_earlier_content_is_known_is_cut_as_one_that_is_new(store, tmp_path, meta, data):
    (tmp_path / "file").write_bytes(WAS)
    (was,) = store.put_files([("file", tmp_path / "file")], told=quiet)
    before = meta.chunks.totals().bytes
    (tmp_path / "file").write_bytes(data)
    (now,) = store.put_files([("file", tmp_path / "file")], told=quiet, before={"file": was.digest}.get)
    assert (now.size, now.digest) == (len(data), blake3(data).hexdigest())
    assert store.get(now.digest) == data
    if data[:4] != b"PAR1":
        assert list(meta.chunks.find_blob(now.digest).chunks) == [blake3(chunk).hexdigest() for chunk in cut(data)]
    assert meta.chunks.totals().bytes - before <= max(len(data) - len(WAS), 0) + 10 * LARGEST or data[:99] != WAS[:99]


@pytest.mark.parametrize("before", [None, "0" * 64, "here"])
def test_an_earlier_content_that_is_nowhere_or_small_is_no_matter(store, tmp_path, before):
    (tmp_path / "file").write_bytes(WAS)
    earlier = store.put(b"small") if before == "here" else before
    (now,) = store.put_files([("file", tmp_path / "file")], told=quiet, before=lambda name: earlier)
    assert store.get(now.digest) == WAS


def test_what_is_not_in_the_store_is_told_before_anything_is_written(store, tmp_path):
    with pytest.raises(NotFound, match="no blob"):
        list(store.restore([(TreeFile("a", "0" * 64, 1), tmp_path / "out" / "a")], told=quiet))
    assert not (tmp_path / "out").exists()


def test_editing_what_was_restored_harms_nothing(store, tmp_path):
    digest = store.put(noise(100_000))
    list(store.restore([(TreeFile("a", digest, 100_000), tmp_path / "a")], told=quiet))
    with (tmp_path / "a").open("r+b") as file:
        file.write(b"edited in place")
    assert store.get(digest) == noise(100_000)


def test_a_file_larger_than_many_packs_is_kept(tmp_path, meta, monkeypatch):
    monkeypatch.setattr(intake, "_NAMED_BYTES", 4 << 20)
    store = ChunkStore(tmp_path / "store", meta.chunks, pack_bytes=256 << 10)
    data = noise(40 << 20)  # a hundred and sixty packs
    (tmp_path / "large").write_bytes(data)
    stored = list(store.put_files([("large", tmp_path / "large")], told=quiet))
    assert store.get(stored[0].digest) == data

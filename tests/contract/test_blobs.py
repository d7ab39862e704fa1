"""What the blob store does: keep, share, verify, refuse."""

import json
import os
import random
import time

import pytest
from blake3 import blake3
from tests.contract.memory_index import MemoryIndex

from kedge.errors import NotFound, StoreBroken, StoreFull
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.blobs.cut import cut, cut_some
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.blobs.packs import PackWriter


@pytest.fixture
def index():
    return MemoryIndex()


@pytest.fixture
def store(tmp_path, index):
    return ChunkStore(tmp_path / "store", index)


@pytest.fixture(params=["chunks", "memory"])
def any_store(request, store):
    return store if request.param == "chunks" else MemoryBlobs()


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def stored(tmp_path):
    return sum(path.stat().st_size for path in (tmp_path / "store" / "packs").glob("*.pack"))


@pytest.mark.parametrize(
    "data",
    [b"", b"a", noise(8192), noise(8193), noise(300_000), bytes(1_000_000), b"PAR1" + noise(99_000)],
    ids=["empty", "one", "8 KiB", "a byte more", "noise", "zeros", "parquet"],
)
def test_a_blob_comes_back_by_the_digest_of_its_content(any_store, data):
    digest = any_store.put(data)
    assert digest == blake3(data).hexdigest()
    assert any_store.has(digest)
    assert any_store.get(digest) == data


def test_a_known_blob_is_not_written_again(store, tmp_path):
    digest = store.put(noise(300_000))
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "store").rglob("*"))
    assert store.put(noise(300_000)) == digest
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "store").rglob("*")) == before


def test_a_store_that_was_only_read_has_no_files(store, tmp_path):
    assert not store.has(blake3(b"").hexdigest())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("digest", ["0" * 64, "", "abc", "z" * 64, "../../etc/passwd"])
def test_an_unknown_digest_is_not_found(any_store, digest):
    assert not any_store.has(digest)
    with pytest.raises(NotFound, match="another store"):
        any_store.get(digest)


def test_an_append_and_an_insert_store_little_more_than_what_is_new(store, tmp_path):
    data = noise(4_000_000)
    store.put(data)
    first = stored(tmp_path)
    store.put(data + noise(40_000, 1))
    appended = stored(tmp_path) - first
    store.put(data[:2_000_000] + noise(4096, 2) + data[2_000_000:])
    inserted = stored(tmp_path) - first - appended
    assert first == 4_000_000
    assert appended < 40_000 + 256 * 1024
    assert inserted < 3 * 256 * 1024


def test_cuts_cover_the_content_within_their_bounds():
    for data, low, high in ((noise(3_000_000), 8192, 262144), (b"PAR1" + noise(1_000_000), 4096, 65536)):
        pieces = list(cut(data))
        assert b"".join(pieces) == data
        assert all(low <= len(piece) <= high for piece in pieces[:-1])
        assert [len(piece) for piece in cut(data)] == [len(piece) for piece in pieces]


def test_packs_are_closed_when_full_and_blobs_may_span_them(tmp_path, index):
    store = ChunkStore(tmp_path / "store", index, pack_bytes=200_000)
    digest = store.put(noise(1_000_000))
    assert len(list((tmp_path / "store" / "packs").iterdir())) >= 3
    assert store.get(digest) == noise(1_000_000)


def test_a_new_process_goes_on_with_the_pack_but_two_live_ones_do_not_share_it(tmp_path, index):
    one, two = ChunkStore(tmp_path / "store", index), ChunkStore(tmp_path / "store", index)
    kept = [one.put(noise(100, 1)), two.put(noise(100, 2)), one.put(noise(100, 3))]
    assert len(os.listdir(tmp_path / "store" / "packs")) == 1
    one, two = (PackWriter(tmp_path / "store" / "packs", limit=10_000) for _ in range(2))
    assert [writer.append(memoryview(b"x")).pack for writer in (one, two, one)] == [f"{at:08d}.pack" for at in (1, 2, 1)]
    one.finish()
    one.release()
    two.close()
    two = PackWriter(tmp_path / "store" / "packs", limit=10_000)
    assert [writer.append(memoryview(b"x")).pack for writer in (two, one)] == ["00000002.pack", "00000001.pack"]
    store = ChunkStore(tmp_path / "store", index)
    assert [store.get(digest) for digest in kept] == [noise(100, seed) for seed in (1, 2, 3)]


def test_a_forked_child_does_not_write_into_its_parents_pack(store, tmp_path):
    store.put(noise(100, 1))
    child = os.fork()
    if not child:
        store.put(noise(100, 2))
        os._exit(0)
    os.waitpid(child, 0)
    assert store.get(store.put(noise(100, 3))) == noise(100, 3)
    assert len(os.listdir(tmp_path / "store" / "packs")) == 1


def test_a_changed_byte_is_told_with_pack_and_offset(store, tmp_path):
    store.put(b"something before")
    digest = store.put(noise(500_000))
    path = tmp_path / "store" / "packs" / "00000001.pack"
    data = bytearray(path.read_bytes())
    data[300_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreBroken, match=r"00000001\.pack is damaged in the \d+ bytes at offset (\d+)") as caught:
        store.get(digest)
    place = int(str(caught.value).split("at offset ")[1].split(":")[0])
    assert 0 <= 300_000 - place < 262144


def test_a_pack_cut_short_or_lost_is_told(store, tmp_path):
    digest = store.put(noise(1000))
    path = tmp_path / "store" / "packs" / "00000001.pack"
    os.truncate(path, 500)
    with pytest.raises(StoreBroken, match="offset 0"):
        store.get(digest)
    path.unlink()
    with pytest.raises(StoreBroken, match=r"cannot read pack .*00000001\.pack"):
        store.get(digest)


def test_an_index_that_lost_a_chunk_is_told(store, index):
    digest = store.put(noise(1000))
    index._places.clear()
    with pytest.raises(StoreBroken, match="no place for chunk"):
        store.get(digest)


def test_a_tree_comes_back_by_the_digest_of_its_manifest(any_store):
    files = {"model.skops": noise(100), "sub/notes.txt": b"", "a": noise(100)}
    digest = any_store.put_tree(files)
    assert any_store.get_tree(digest) == files
    assert any_store.put_tree(dict(reversed(files.items()))) == digest
    assert any_store.put_tree({"b": noise(100)}) != any_store.put_tree({"c": noise(100)})
    assert any_store.get_tree(any_store.put_tree({})) == {}


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\0b", "a\\b"])
def test_a_tree_refuses_names_that_could_leave_a_folder(any_store, tmp_path, name):
    with pytest.raises(ValueError, match="relative name"):
        any_store.put_tree({"good": b"1", name: b"2"})
    assert list(tmp_path.iterdir()) == []
    forged = any_store.put(json.dumps([{"name": name, "digest": "0" * 64, "size": 1}]).encode())
    with pytest.raises(StoreBroken, match="not a tree"):
        any_store.get_tree(forged)


def test_a_tree_has_the_same_digest_in_every_store(store):
    files = {"b": noise(10), "a/c": b""}
    assert MemoryBlobs().put_tree(files) == store.put_tree(files)


def test_a_blob_that_is_no_manifest_is_no_tree(any_store):
    with pytest.raises(StoreBroken, match="not a tree"):
        any_store.get_tree(any_store.put(b"\xff not JSON"))


def test_a_full_disk_loses_nothing_acknowledged_and_the_store_goes_on(store, monkeypatch):
    kept = store.put(noise(100_000, 1))
    real, left = os.write, [50_000]

    def write(descriptor, data):
        if not left[0]:
            raise OSError(28, "No space left on device")
        done = real(descriptor, bytes(data)[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr("kedge.storage.durable.os.write", write)
    with pytest.raises(StoreFull, match="free some space"):
        store.put(noise(100_000, 2))
    assert not store.has(blake3(noise(100_000, 2)).hexdigest())
    left[0] = 1 << 30
    assert store.get(store.put(noise(100_000, 2))) == noise(100_000, 2)
    assert store.get(kept) == noise(100_000, 1)


def arrive(store, data, piece=70_001):
    coming = store.incoming()
    for start in range(0, len(data), piece):
        coming.write(data[start : start + piece])
    return coming


SIZES = [0, 1, 8192, 100_000, 2 << 20, (2 << 20) + 1, 9_000_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("head", [b"", b"PAR1"])
def test_a_blob_that_arrived_in_pieces_is_the_blob_that_came_whole(any_store, size, head):
    data = head + noise(size)
    digest = arrive(any_store, data).keep()
    assert digest == blake3(data).hexdigest()
    assert any_store.get(digest) == data
    assert any_store.size(digest) == len(data)
    assert any_store.put(data) == digest


@pytest.mark.parametrize(
    "data", [noise(5_000_000), b"PAR1" + noise(2_000_000), bytes(3_000_000)], ids=["noise", "parquet", "zeros"]
)
def test_borders_do_not_depend_on_the_pieces(store, index, tmp_path, data):
    arrive(store, data).keep()
    other = MemoryIndex()
    ChunkStore(tmp_path / "other", other).put(data)
    digest = blake3(data).hexdigest()
    assert index.find_blob(digest) == other.find_blob(digest)


def test_cutting_what_has_arrived_goes_on_where_it_stopped():
    data, rest, pieces = noise(3_000_000), b"", []
    for start in range(0, len(data), 400_000):
        rest += data[start : start + 400_000]
        pieces.extend(bytes(piece) for piece in cut_some(rest, parquet=False, whole=False))
        rest = data[sum(map(len, pieces)) : start + 400_000]
    pieces.extend(bytes(piece) for piece in cut_some(rest, parquet=False, whole=True))
    assert pieces == [bytes(piece) for piece in cut(data)]


@pytest.mark.parametrize(
    "span", [(0, None), (0, 0), (0, 1), (1, 2), (70_000, 70_010), (4_999_999, None), (2_500_000, 4_500_000)]
)
def test_a_range_is_read_without_the_rest(any_store, span):
    data = noise(5_000_000)
    digest = any_store.put(data)
    start, end = span
    assert b"".join(any_store.read(digest, start=start, end=end)) == data[start:end]
    assert b"".join(any_store.read(digest, start=len(data))) == b""
    assert b"".join(any_store.read(digest, end=10 * len(data))) == data


def test_a_read_takes_some_bytes_at_a_time(store):
    digest = store.put(noise(20_000_000))
    assert max(len(piece) for piece in store.read(digest)) < 32 * 256 * 1024 + 1


@pytest.mark.parametrize("digest", ["0" * 64, "", "../x"])
def test_an_unknown_blob_has_no_size_and_cannot_be_read_or_joined(any_store, digest):
    for ask in (any_store.size, any_store.read, lambda name: any_store.join([name])):
        with pytest.raises(NotFound):
            ask(digest)


def test_a_changed_byte_is_told_while_reading_in_pieces(store, tmp_path):
    digest = store.put(noise(5_000_000))
    path = tmp_path / "store" / "packs" / "00000001.pack"
    data = bytearray(path.read_bytes())
    data[3_000_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreBroken, match=r"00000001\.pack is damaged"):
        list(store.read(digest))


def test_blobs_are_joined_without_being_written_again(any_store, tmp_path):
    parts = [any_store.put(noise(3_000_000, seed)) for seed in range(3)]
    before = stored(tmp_path)
    whole = any_store.join(parts)
    assert stored(tmp_path) == before
    assert any_store.get(whole) == b"".join(noise(3_000_000, seed) for seed in range(3))
    assert any_store.join([]) == blake3(b"").hexdigest()
    assert any_store.get(any_store.join([])) == b""
    assert any_store.join(parts) == whole


def test_nothing_of_a_blob_is_seen_before_it_is_kept_and_nothing_stays_of_one_that_is_dropped(any_store, tmp_path):
    data = noise(5_000_000)
    coming = arrive(any_store, data)
    assert not any_store.has(blake3(data).hexdigest())
    coming.drop()
    assert not any_store.has(blake3(data).hexdigest())
    assert stored(tmp_path) == 0
    assert list(tmp_path.glob("store/packs/*")) == []
    assert any_store.get(arrive(any_store, data).keep()) == data


def test_a_blob_that_arrives_again_takes_no_room(store, tmp_path):
    store.put(noise(5_000_000))
    before = stored(tmp_path)
    arrive(store, noise(5_000_000)).keep()
    assert stored(tmp_path) == before
    arrive(store, noise(5_000_000) + noise(50_000, 1)).keep()
    assert stored(tmp_path) < before + 50_000 + 256 * 1024
    assert not list(tmp_path.glob("store/packs/*.part"))


def test_uploads_at_one_time_do_not_meet(store):
    one, two = store.incoming(), store.incoming()
    for _ in range(3):
        one.write(noise(1_500_000, 1))
        two.write(noise(1_500_000, 2))
    assert store.get(two.keep()) == noise(1_500_000, 2) * 3
    assert store.get(one.keep()) == noise(1_500_000, 1) * 3


def test_a_sweep_takes_what_is_left_of_a_killed_upload_and_spares_a_live_one(store, tmp_path, index):
    child = os.fork()
    if not child:
        arrive(store, noise(6_000_000, 1))
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob("store/packs/u*.part"))) == 1
    live = arrive(store, noise(6_000_000, 2))
    other = ChunkStore(tmp_path / "store", index)
    assert 3_000_000 < other.sweep() < 6_000_000
    assert other.sweep() == 0
    assert len(list(tmp_path.glob("store/packs/u*.part"))) == 1
    assert store.get(live.keep()) == noise(6_000_000, 2)
    assert other.sweep() == 0


def test_a_full_disk_ends_an_upload_and_takes_its_bytes_away(store, tmp_path, monkeypatch):
    kept = store.put(noise(100_000, 1))
    real, left = os.write, [3_000_000]

    def write(descriptor, data):
        if not left[0]:
            raise OSError(28, "No space left on device")
        done = real(descriptor, bytes(data)[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr("kedge.storage.durable.os.write", write)
    with pytest.raises(StoreFull, match="free some space"):
        arrive(store, noise(9_000_000, 2)).keep()
    assert not list(tmp_path.glob("store/packs/u*"))
    left[0] = 1 << 30
    assert store.get(arrive(store, noise(9_000_000, 2)).keep()) == noise(9_000_000, 2)
    assert store.get(kept) == noise(100_000, 1)


def test_a_child_of_a_process_that_kept_a_large_blob_can_keep_one_too(store):
    store.put(noise(3_000_000, 1))
    child = os.fork()
    if not child:
        store.put(noise(3_000_000, 2))
        os._exit(0)
    for _ in range(500):
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.02)
    else:
        os.kill(child, 9)
        pytest.fail("the child waits for threads that it does not have")
    assert store.get(store.put(noise(3_000_000, 2))) == noise(3_000_000, 2)

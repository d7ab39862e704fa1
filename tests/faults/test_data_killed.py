"""Power cuts, kills and full disks while folders go into the store, out of it, through a bucket, and while blobs leave."""

import itertools
import os
import random
import signal
import traceback

import pytest
from tests.contract.memory_index import MemoryIndex
from tests.faults.crash_states import crash_states, trace

from kedge.errors import NotFound, StoreFull
from kedge.ports import TreeFile
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.sql import open_store


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


CONTENTS = {"a": noise(3000, 1), "b": noise(100_000, 2), "c/d": b"", "c/e": noise(3000, 3), "f": noise(2_300_000, 4)}


def quiet(count, size):
    pass


def laid_out(folder, contents):
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        os.utime(folder / name)
    return [(name, folder / name) for name in sorted(contents)]


def added(store, files):
    kept = store.put_files(files, told=quiet)
    return store.put_manifest(TreeFile(file.name, file.digest, file.size) for file in kept)


class TellingIndex(MemoryIndex):
    """An index that tells each change it keeps."""

    def __init__(self, tell):
        super().__init__()
        self.tell = tell

    def add(self, places, recipes, **rest):
        lost = super().add(places, recipes, **rest)
        if not lost:
            self.tell(("add", (dict(places), dict(recipes)), rest))
        return lost

    def remove(self, blobs):
        blobs = list(blobs)
        done = super().remove(blobs)
        self.tell(("remove", (blobs,), {}))
        return done

    def move(self, places):
        super().move(places)
        self.tell(("move", (dict(places),), {}))


def replayed(acknowledged):
    index = MemoryIndex()
    for name, values, named in acknowledged:
        getattr(index, name)(*values, **named)
    return index


@pytest.mark.parametrize("pack_bytes", [64 << 20, 2000])
def test_no_power_cut_takes_a_file_that_was_given(tmp_path, pack_bytes):
    """What `put_files` has given is there in every state of the disk, and the same files can be put again."""
    contents = {"a": noise(3000, 1), "b": noise(3000, 2), "c": b""}
    files = laid_out(tmp_path / "in", contents)

    def routine(tell):
        added(ChunkStore(tmp_path / "base" / "store", TellingIndex(tell), pack_bytes=pack_bytes), files)

    (tmp_path / "base").mkdir()
    count = 0
    for root, acknowledged in crash_states(trace(routine, tmp_path / "base"), tmp_path / "states"):
        count += 1
        index = replayed(acknowledged)
        store = ChunkStore(root / "store", index)
        assert list(store.verify(told=quiet)) == []
        assert store.get_tree(added(store, files)) == contents
    assert count >= 10


@pytest.mark.parametrize("holes", [True, False])
def test_no_power_cut_leaves_removed_bytes_or_takes_others(tmp_path, monkeypatch, holes):
    """Once the index has forgotten a blob, its bytes are gone as soon as anybody is alone with the store again."""
    gone, kept = noise(5000, 1), noise(5000, 2)
    dead = noise(4000, 3)

    def routine(tell):
        store = ChunkStore(tmp_path / "base" / "store", TellingIndex(tell), pack_bytes=9000)
        store.put(kept)
        names = [store.put(gone), store.put(dead)]
        with store.alone():
            store.remove(names)

    (tmp_path / "base").mkdir()
    if not holes:
        monkeypatch.setattr("kedge.storage.durable._linux", lambda name: None)
    count = 0
    for root, acknowledged in crash_states(trace(routine, tmp_path / "base"), tmp_path / "states"):
        index = replayed(acknowledged)
        if not any(name == "remove" for name, *_ in acknowledged):
            if acknowledged:
                assert list(ChunkStore(root / "store", index).verify(told=quiet)) == []
            continue
        count += 1
        store = ChunkStore(root / "store", index)
        assert list(store.verify(told=quiet)) == []
        with store.alone():
            pass
        on_disk = b"".join(path.read_bytes() for path in (root / "store" / "packs").iterdir())
        assert gone[:500] not in on_disk
        assert gone[-500:] not in on_disk
        assert dead[:500] not in on_disk
        assert store.get(store.put(kept)) == kept
        assert list(store.verify(told=quiet)) == []
    assert count >= 3


CALLS = ("write", "fsync", "rename", "unlink", "mkdir")


def die_at(calls):
    """Let this process die by SIGKILL at its n-th call of those that touch the disk."""
    left = itertools.count(1)

    def arm(name):
        real = getattr(os, name)

        def dying(*args, **named):
            if next(left) == calls:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)

        setattr(os, name, dying)

    for name in CALLS:
        arm(name)


def died(routine, calls):
    """Run a routine in a child that dies at its n-th call; False where it ended before."""
    child = os.fork()
    if not child:
        try:
            die_at(calls)
            routine()
        except BaseException:
            traceback.print_exc()
            os._exit(2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def opened(folder):
    meta = open_store(f"sqlite:///{folder / 'kedge.db'}")
    return meta, ChunkStore(folder / "store", meta.chunks, pack_bytes=1 << 20)


def test_a_kill_at_any_call_of_an_add_loses_and_doubles_nothing(tmp_path):
    files = laid_out(tmp_path / "in", CONTENTS)
    sizes = set()

    def add(folder):
        meta, store = opened(folder)
        with store.keeping():
            meta.notes.put("version", added(store, files).encode())

    for calls in itertools.count(1):
        folder = tmp_path / str(calls)
        opened(folder)[0].close()
        killed = died(lambda folder=folder: add(folder), calls)
        meta, store = opened(folder)
        assert list(store.verify(told=quiet)) == []
        if (version := meta.notes.get("version")) is not None:
            assert store.get_tree(version.decode()) == CONTENTS
        tree = added(store, files)
        assert store.get_tree(tree) == CONTENTS
        with store.alone():
            store.remove([digest for digest, _ in store.unused([tree])])
        assert store.get_tree(tree) == CONTENTS
        sizes.add(sum(place.length for _, place in meta.chunks.scan()))
        assert store.idle_bytes() < 16_384
        meta.close()
        if not killed:
            break
    assert calls > 8
    assert len(sizes) == 1


def test_a_kill_at_any_call_of_a_removal_is_made_good(tmp_path):
    for calls in itertools.count(1):
        folder = tmp_path / str(calls)
        meta, store = opened(folder)
        names = [store.put(noise(400_000, seed)) for seed in range(4)]
        meta.close()

        def remove(folder=folder, names=names):
            _, store = opened(folder)
            with store.alone():
                store.remove(names[:3])

        killed = died(remove, calls)
        meta, store = opened(folder)
        assert list(store.verify(told=quiet)) == []
        with store.alone():
            store.remove(names[:3])
        on_disk = b"".join(path.read_bytes() for path in (folder / "store" / "packs").iterdir())
        assert not any(noise(400_000, seed)[1000:2000] in on_disk for seed in range(3))
        assert store.get(names[3]) == noise(400_000, 3)
        meta.close()
        if not killed:
            break
    assert calls > 4


def test_a_kill_at_any_call_of_a_restore_leaves_whole_files_only(tmp_path):
    meta, store = opened(tmp_path)
    tree = store.put_tree(CONTENTS)
    meta.close()

    def restore(folder):
        meta, store = opened(tmp_path)
        list(store.restore([(file, folder / file.name) for file in store.manifest(tree)], told=quiet))
        meta.close()

    for calls in itertools.count(1):
        folder = tmp_path / "out" / str(calls)
        killed = died(lambda folder=folder: restore(folder), calls)
        there = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".kedge-")]
        assert all(path.read_bytes() == CONTENTS[str(path.relative_to(folder))] for path in there)
        assert killed or len(there) == len(CONTENTS)
        restore(folder)
        assert all((folder / name).read_bytes() == data for name, data in CONTENTS.items())
        if not killed:
            break
    assert calls > 8


def test_a_kill_at_any_call_of_a_pull_is_made_good(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    meta, store = opened(tmp_path / "source")
    tree = store.put_tree(CONTENTS)
    wanted = [tree, *(file.digest for file in store.manifest(tree))]
    store.push(bucket, wanted, told=quiet)
    meta.close()
    for calls in itertools.count(1):
        folder = tmp_path / str(calls)
        opened(folder)[0].close()
        killed = died(lambda folder=folder: opened(folder)[1].pull(bucket, wanted, told=quiet), calls)
        meta, store = opened(folder)
        assert list(store.verify(told=quiet)) == []
        store.pull(bucket, wanted, told=quiet)
        assert store.get_tree(tree) == CONTENTS
        assert store.idle_bytes() < 3_000_000
        meta.close()
        if not killed:
            break
    assert calls > 8


class FolderBucket:
    """A bucket in a folder, in this process alone: obstore's own threads do not outlive a fork."""

    def __init__(self, folder):
        self.folder, self.url = folder, f"file://{folder}"

    def put(self, name, data, *, new=False):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        part = self.folder / name.replace("/", "-")
        part.write_bytes(data)
        part.rename(self.folder / name)
        return True

    def get(self, name):
        return (self.folder / name).read_bytes() if (self.folder / name).exists() else None

    def get_spans(self, name, spans):
        return [self.get(name)[start:end] for start, end in spans]

    def size(self, name):
        return (self.folder / name).stat().st_size if (self.folder / name).exists() else None

    def list(self, prefix):
        return iter([(f"{prefix}/{path.name}", path.stat().st_size) for path in (self.folder / prefix).glob("*")])


class DyingBucket:
    """A bucket whose process dies before or after its n-th write."""

    def __init__(self, bucket, left, *, after):
        self._bucket, self._left, self._after, self.url = bucket, left, after, bucket.url
        self._counts = itertools.count(1)  # several threads write at a time

    def put(self, name, data, **more):
        dies = next(self._counts) == self._left
        if dies and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = self._bucket.put(name, data, **more)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    def __getattr__(self, name):
        return getattr(self._bucket, name)


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_write_of_a_push_is_made_good(tmp_path, after):
    meta, store = opened(tmp_path / "source")
    tree = store.put_tree(CONTENTS)
    wanted = [tree, *(file.digest for file in store.manifest(tree))]
    meta.close()

    def push(bucket, left):
        opened(tmp_path / "source")[1].push(DyingBucket(bucket, left, after=after), wanted, told=quiet)

    for writes in itertools.count(1):
        bucket = FolderBucket(tmp_path / "bucket" / str(writes))
        killed = died(lambda bucket=bucket, writes=writes: push(bucket, writes), 10**9)
        meta, other = opened(tmp_path / f"there{writes}")
        if not list(bucket.list("recipes")):
            with pytest.raises(NotFound):
                other.pull(bucket, [tree], told=quiet)
        push(bucket, 10**9)
        other.pull(bucket, wanted, told=quiet)
        assert other.get_tree(tree) == CONTENTS
        assert sum(size for _, size in bucket.list("packs")) < 1.01 * sum(map(len, CONTENTS.values()))
        meta.close()
        if not killed:
            break
    assert writes >= 4


@pytest.mark.parametrize("room", [0, 1000, 150_000, 1_500_000])
def test_a_full_disk_while_adding_loses_nothing_and_the_add_goes_on(tmp_path, monkeypatch, room):
    files = laid_out(tmp_path / "in", CONTENTS)
    meta, store = opened(tmp_path)
    kept = store.put(noise(50_000, 9))
    real, left = os.write, [room]

    def write(descriptor, data):
        if not left[0]:
            raise OSError(28, "No space left on device")
        done = real(descriptor, bytes(data)[: left[0]])
        left[0] -= done
        return done

    def write_blocks(descriptor, data, start):
        if not (size := min(len(data), left[0]) // 4096 * 4096):
            raise OSError(28, "No space left on device")
        done = real_blocks(descriptor, data[:size], start)
        left[0] -= done
        return done

    real_blocks = os.pwrite
    monkeypatch.setattr("kedge.storage.durable.os.write", write)
    monkeypatch.setattr("os.pwrite", write_blocks)
    with pytest.raises(StoreFull, match="free some space"):
        added(store, files)
    left[0] = 1 << 30
    assert store.get_tree(added(store, files)) == CONTENTS
    assert store.get(kept) == noise(50_000, 9)
    assert list(store.verify(told=quiet)) == []
    meta.close()

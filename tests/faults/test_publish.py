"""Power cuts and kills while something is written: what was acknowledged is there, and what is there is whole."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.contract.memory_index import MemoryIndex
from tests.faults.crash_states import crash_states, trace

from kedge.errors import StoreFull
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.journal import FileJournal

BLOBS = (b"first" * 100, b"second" * 900, b"third")


class TellingIndex(MemoryIndex):
    """An index that tells each row it keeps: from then on the store has promised the blob."""

    def __init__(self, tell):
        super().__init__()
        self.tell = tell

    def add(self, places, recipes, **rest):
        lost = super().add(places, recipes, **rest)
        if not lost:
            self.tell((places, recipes))
        return lost


def check_chunks(tmp_path, routine):
    """Point the enumerator at a routine with a chunk store; give the number of states."""
    (tmp_path / "base").mkdir()
    calls = trace(lambda tell: routine(tmp_path / "base", tell), tmp_path / "base")
    count = 0
    for root, acknowledged in crash_states(calls, tmp_path / "states"):
        count += 1
        index = MemoryIndex()
        for row in acknowledged:
            index.add(*row)
        store = ChunkStore(root / "store", index)
        for _, recipes in acknowledged:
            for blob in recipes:
                store.get(blob)  # verifies every byte
        assert [store.get(store.put(blob)) for blob in BLOBS] == list(BLOBS)
    return count


def test_no_power_cut_takes_an_acknowledged_blob(tmp_path):
    def routine(base, tell):
        store = ChunkStore(base / "store", TellingIndex(tell), pack_bytes=4000)
        for blob in BLOBS:
            store.put(blob)

    assert check_chunks(tmp_path, routine) >= 12


def test_no_power_cut_takes_a_blob_that_went_past_the_page_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("kedge.storage.blobs.appending._WORTH", 4096)
    straight, real = [], os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *words: straight.append(words) or real(*words))

    def routine(base, tell):
        store = ChunkStore(base / "store", TellingIndex(tell), pack_bytes=30_000)
        for number in range(2):
            store.put(random.Random(number).randbytes(21_000))

    assert check_chunks(tmp_path, routine) >= 20
    assert straight


def test_no_power_cut_takes_a_blob_that_arrived_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("kedge.storage.blobs.incoming.BATCH", 300_000)

    def routine(base, tell):
        coming = ChunkStore(base / "store", TellingIndex(tell), pack_bytes=300_000).incoming()
        for number in range(2):
            coming.write(random.Random(number).randbytes(400_000))
        coming.keep()

    assert check_chunks(tmp_path, routine) >= 12


def test_the_enumerator_finds_an_upload_whose_name_is_not_synced(tmp_path, monkeypatch):
    monkeypatch.setattr("kedge.storage.blobs.incoming.BATCH", 300_000)
    monkeypatch.setattr("kedge.storage.blobs.incoming.sync_folder", lambda folder: None)

    def routine(base, tell):
        coming = ChunkStore(base / "store", TellingIndex(tell)).incoming()
        coming.write(random.Random(0).randbytes(400_000))
        coming.keep()

    with pytest.raises(Exception, match="cannot read pack"):
        check_chunks(tmp_path, routine)


def test_the_enumerator_finds_a_store_that_does_not_sync(tmp_path, monkeypatch):
    monkeypatch.setattr("kedge.storage.blobs.packs.Pack.finish", lambda pack: pack.flush())

    def routine(base, tell):
        ChunkStore(base / "store", TellingIndex(tell)).put(BLOBS[0])

    with pytest.raises(Exception, match="damaged"):
        check_chunks(tmp_path, routine)


def test_the_enumerator_finds_a_folder_that_is_not_synced(tmp_path, monkeypatch):
    monkeypatch.setattr("kedge.storage.blobs.packs.sync_folder", lambda folder: None)

    def routine(base, tell):
        ChunkStore(base / "store", TellingIndex(tell)).put(BLOBS[0])

    with pytest.raises(Exception, match="cannot read pack"):
        check_chunks(tmp_path, routine)


def test_no_power_cut_takes_a_synced_record_or_shows_a_torn_one(tmp_path):
    records = [bytes([number]) * 40 for number in range(1, 7)]

    def routine(tell):
        journal = FileJournal(tmp_path / "base" / "log", "w", segment_bytes=150)
        for first, second in zip(records[::2], records[1::2], strict=True):
            journal.append(first)
            journal.append(second)
            journal.sync()
            tell(first)
            tell(second)

    (tmp_path / "base").mkdir()
    count = 0
    calls = trace(routine, tmp_path / "base")
    for root, acknowledged in crash_states(calls, tmp_path / "states", appends_in_order=True):
        count += 1
        found = [payload for _, payload in FileJournal(root / "log", "reader").scan()]
        assert found == records[: len(found)]
        assert len(found) >= len(acknowledged)
        again = FileJournal(root / "log", "w")
        again.append(b"after")
        assert [payload for _, payload in again.scan()] == [*found, b"after"]
    assert count >= 20


JOURNAL_WRITER = """
import sys
from pathlib import Path
from kedge.storage.journal import FileJournal
journal = FileJournal(Path(sys.argv[1]), "w", segment_bytes=20_000)
number = int(sys.argv[2])
while True:
    number += 1
    journal.append(b"%d." % number * 50)
    print(number, flush=True)
"""

BLOB_WRITER = """
import random, sys
from pathlib import Path
from kedge.storage.blobs.chunks import ChunkStore
from tests.contract.memory_index import MemoryIndex

class Telling(MemoryIndex):
    def add(self, places, recipes, **rest):
        said = {k: tuple(v) for k, v in places.items()}, {k: tuple(v) for k, v in recipes.items()}
        print(repr(said), flush=True)

store = ChunkStore(Path(sys.argv[1]), Telling(), pack_bytes=500_000)
number = int(sys.argv[2])
while True:
    number += 1
    store.put(random.Random(number).randbytes(60_000))
"""


def killed(code, *arguments, after) -> list[str]:
    """Run a writer, kill it so many seconds after its first line, and give the whole lines that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    first = process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    lines = (first + process.stdout.read()).splitlines(keepends=True)
    process.wait()
    return [line.strip() for line in lines if line.endswith("\n")]


def test_a_killed_journal_has_every_record_whose_append_returned(tmp_path):
    last = 0
    for wait in (0.0, 0.01, 0.03, 0.1):
        told = int(killed(JOURNAL_WRITER, tmp_path, last, after=wait)[-1])
        found = [payload for _, payload in FileJournal(tmp_path, "reader").scan()]
        assert found == [b"%d." % number * 50 for number in range(1, len(found) + 1)]
        assert len(found) >= told
        last = len(found)


def test_a_killed_blob_store_has_every_blob_that_was_indexed(tmp_path):
    from kedge.storage.blobs.index import ChunkPlace, Recipe

    index, last = MemoryIndex(), 0
    for wait in (0.0, 0.01, 0.03, 0.1):
        for line in killed(BLOB_WRITER, tmp_path, last, after=wait):
            places, recipes = eval(line)
            index.add({k: ChunkPlace(*v) for k, v in places.items()}, {k: Recipe(*v) for k, v in recipes.items()})
            last += 1
        store = ChunkStore(tmp_path, index)
        assert all(len(store.get(blob)) == 60_000 for blob in index._blobs)
        store.close()


def test_a_disk_that_is_really_full(tmp_path):
    mount = tmp_path / "tiny"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        fill(mount)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(mount: Path) -> None:
    store, journal = ChunkStore(mount / "store", MemoryIndex()), FileJournal(mount / "log", "w")
    blobs, records = [], []

    def go_on():
        for number in range(1000):
            data = os.urandom(10_000)
            blobs.append((store.put(data), data))
            journal.append(b"%d" % number * 500)
            records.append(b"%d" % number * 500)

    with pytest.raises(StoreFull):
        go_on()
    assert blobs
    assert all(store.get(digest) == data for digest, data in blobs)
    assert [payload for _, payload in journal.scan()] == records
    store.close()
    journal.close()

"""Bytes reach the end of a pack in their order, past the page cache where they are many, and whatever the disk can do."""

import errno
import os
import random

import pytest

from kedge.storage.blobs import appending
from kedge.storage.blobs.appending import BUFFER, Appender, Buffers


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pack"


def opened(path, buffers=None):
    return Appender(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), buffers or Buffers())


def pieces(seed, *, most):
    source = random.Random(seed)
    return [source.randbytes(source.choice((1, 100, 4096, 70_000, most))) for _ in range(12)]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_appended_is_there_in_its_order_whoever_goes_on(path, monkeypatch, seed):
    monkeypatch.setattr(appending, "_WORTH", 8192)
    buffers, wanted = Buffers(), b""
    for turn in range(3):
        tail = opened(path, buffers)
        assert tail.end == len(wanted)
        for number, piece in enumerate(pieces(f"{seed} {turn}", most=BUFFER * 3 // 2)):
            own = bytearray(piece)
            tail.append(memoryview(own))
            own[:] = bytes(len(own))  # the memory is the caller's again
            wanted += piece
            if number == 6:
                tail.flush()
                assert path.read_bytes() == wanted
        if turn == 1:
            tail.sync_later().result()
        else:
            tail.flush()
        assert path.read_bytes() == wanted
        tail.close()


def test_many_bytes_go_straight_to_the_disk_and_few_do_not(path, monkeypatch):
    straight, real = [], os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *words: straight.append(real(*words)) or straight[-1])
    tail = opened(path)
    if not tail._is_direct():
        pytest.skip("this file system writes through its cache only")
    tail.append(memoryview(bytes(500_000)))
    tail.flush()
    assert straight == []
    tail.append(memoryview(bytes(10_000_000)))
    tail.flush()
    assert len(straight) == 3
    assert all(size % 4096 == 0 for size in straight)
    assert 10_000_000 - 3 * 4096 < sum(straight) <= 10_000_000
    tail.close()


@pytest.mark.parametrize("taken", [0, 8192])
def test_a_disk_with_other_blocks_takes_the_ordinary_way(path, monkeypatch, taken):
    real = os.pwrite

    def refuse(descriptor, data, start):
        if len(data) > taken > 0 and start % BUFFER == 0:
            return real(descriptor, data[:taken], start)
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "pwrite", refuse)
    data = random.Random(0).randbytes(2 * BUFFER + 12_345)
    tail = opened(path)
    tail.append(memoryview(data))
    tail.sync_later().result()
    assert path.read_bytes() == data
    tail.close()


def test_what_the_disk_refuses_is_told_by_the_next_word_and_the_buffers_come_back(path, monkeypatch):
    def full(descriptor, data, start=0):
        raise OSError(errno.ENOSPC, "No space left on device")

    buffers = Buffers()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        patch.setattr(os, "pwrite", full)
        for _ in range(5):
            tail = opened(path, buffers)
            with pytest.raises(OSError, match="No space"):
                tail.append(memoryview(bytes(20 * BUFFER)))
            tail.close()
        tail = opened(path, buffers)
        tail.append(memoryview(bytes(BUFFER)))
        with pytest.raises(OSError, match="No space"):
            tail.sync_later().result()
        tail.close()
    tail = opened(path, buffers)
    before = tail.end
    tail.append(memoryview(b"a" * 5 * BUFFER))
    tail.flush()
    tail.close()
    assert path.stat().st_size == before + 5 * BUFFER


def test_a_forked_child_does_not_wait_for_its_parents_writes(path, monkeypatch):
    tail = opened(path)
    tail._on_the_way.append(appending.Future())  # one that only the parent's thread would end
    child = os.fork()
    if not child:
        tail.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    tail._on_the_way.clear()
    tail.close()

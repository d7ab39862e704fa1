"""Power cuts, kills and disk faults while predictions are compacted, merged, struck: every record is there once."""

import errno
import os
import subprocess
import sys
import time

import pytest
from tests.faults.crash_states import crash_states, trace
from tests.unit.storage.answers import answered, compactor, found, journal

from kedge.domain.records import decode_batch, encode_batch
from kedge.errors import KedgeError

RECORDS = [encode_batch(answered(number, 1)) for number in range(4)]


def struck(payload):
    return None if payload == RECORDS[1] else payload


def fill(folder):
    """Write closed segments."""
    for some in (RECORDS[:2], RECORDS[2:3], RECORDS[3:]):
        log = journal(folder)
        log.append_all(some)
        log.close()


def plain(folder):
    """Read what any tool sees: all Parquet files."""
    import polars as pl

    return sorted(id for path in folder.glob("compacted/flights/*.parquet") for id in pl.read_parquet(path)["id"])


def test_no_power_cut_takes_a_record_or_shows_one_twice(tmp_path):
    base = tmp_path / "base"
    base.mkdir()

    def routine(tell):
        for number, some in enumerate((RECORDS[:2], RECORDS[2:])):
            log = journal(base / "log")
            log.append_all(some)
            log.close()
            for payload in some:
                tell(payload)
            compactor(base / "log").compact()
            if number:
                compactor(base / "log").strike(struck)
                tell("struck")

    calls = trace(routine, base)
    count = 0
    for root, acknowledged in crash_states(calls, tmp_path / "states", appends_in_order=True):
        count += 1
        promised = [payload for payload in acknowledged if payload != "struck"]
        there = found(root / "log")
        assert there == [payload for payload in RECORDS if payload in there], "each once, in order"
        lost = {*promised} - {*there}
        assert lost <= {RECORDS[1]}
        assert "struck" not in acknowledged or lost
        if not promised:
            continue
        compactor(root / "log").compact()
        assert found(root / "log") == there
        assert plain(root / "log") == sorted(f"{decode_batch(payload).request}.0" for payload in there)
        compactor(root / "log").strike(struck)
        assert found(root / "log") == [payload for payload in there if payload != RECORDS[1]]
        assert all(b"r-1" not in path.read_bytes() for path in (root / "log").rglob("*") if path.is_file())
    assert count >= 40


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "unlink", "open"])
def test_a_disk_that_refuses_leaves_every_record(tmp_path, monkeypatch, call, number):
    for failing in range(30):
        folder = tmp_path / str(failing)
        fill(folder)
        left = failing
        real = getattr(os, call)

        def refuse(*given, real=real, **more):
            nonlocal left
            left -= 1
            if left == -1:
                raise OSError(number, os.strerror(number))
            return real(*given, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            try:
                compactor(folder).compact()
                compactor(folder).strike(struck)
            except (KedgeError, OSError):
                pass
        there = found(folder)
        assert there in (RECORDS, [RECORDS[0], *RECORDS[2:]])
        compactor(folder).strike(struck)
        assert found(folder) == [RECORDS[0], *RECORDS[2:]]
        assert plain(folder) == ["r-0.0", "r-2.0", "r-3.0"]
        if left >= 0:
            return  # it got through
    raise AssertionError("no run got through")


COMPACTING = """
import sys
from pathlib import Path
from tests.unit.storage.answers import answered, compactor, write
from kedge.domain.records import decode_batch
folder, number = Path(sys.argv[1]), int(sys.argv[2])
print("begun", flush=True)
while True:
    write(folder, [answered(number, 1)])
    print(number, flush=True)
    number += 1
    compactor(folder).compact()
    if number % 3 == 0:
        compactor(folder).strike(lambda payload: payload)
"""


def test_a_killed_compaction_takes_nothing(tmp_path):
    number = 0
    for wait in (0.05, 0.11, 0.17):
        process = subprocess.Popen(
            [sys.executable, "-c", COMPACTING, str(tmp_path), str(number)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "begun\n"
        time.sleep(wait)
        process.kill()
        told = process.stdout.read().split()
        process.wait()
        requests = [decode_batch(payload).request for payload in found(tmp_path)]
        assert requests[: number + len(told)] == [f"r-{each}" for each in range(number + len(told))]
        number = len(requests)
    compactor(tmp_path).compact()
    assert plain(tmp_path) == sorted(f"r-{each}.0" for each in range(number))

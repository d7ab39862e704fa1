"""What becomes of callers and of the log when workers are killed, replaced, or told to end."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.faults.supervised import Plane, busy, planes


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Callable[..., Plane]]:
    with planes(tmp_path) as begin:
        yield begin


def test_kill_9_of_a_worker_under_load_loses_no_answer_and_no_count(plane: Callable[..., Plane]) -> None:
    served = plane("2")
    served.load()
    busy(served)
    before = served.workers()
    os.kill(before[0], signal.SIGKILL)
    busy(served, 400)
    served.eventually(lambda: len(served.workers()) == 2 and before[0] not in served.workers())
    served.unload()
    assert served.counted() >= len(served.answered)
    assert len(served.failed) <= 8, "only who was being answered by the killed one"
    logged = served.logged()
    assert max(logged.values()) == 1
    assert set(served.answered) <= set(logged)
    text = served.ask("/metrics")[1]
    assert 'kedge_worker_ends_total{reason="died"} 1' in text
    served.process.terminate()
    assert served.process.wait(10) == 0
    assert f"worker {before[0]} was ended by SIGKILL; another takes its place" in served.told()


def test_sigterm_under_load_answers_all_that_it_took_and_logs_each_once(plane: Callable[..., Plane]) -> None:
    served = plane("2")
    served.load()
    slow: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: slow.append(served.ask("/slow/last")))
    asking.start()
    busy(served)
    served.process.terminate()
    assert served.process.wait(10) == 0
    asking.join()
    served.unload()
    assert [status for status, _ in slow] == [200]
    assert Counter([*served.answered, "/slow/last"]) == served.logged()


def test_sighup_replaces_every_worker_and_no_caller_notices(plane: Callable[..., Plane]) -> None:
    served = plane("2")
    served.load()
    busy(served)
    before = set(served.workers())
    served.process.send_signal(signal.SIGHUP)
    served.eventually(lambda: len(served.workers()) == 2 and not before & set(served.workers()))
    busy(served)
    served.unload()
    assert served.failed == []
    assert Counter(served.answered) == served.logged()
    assert served.counted() == len(served.answered)


def test_workers_end_with_their_supervisor_and_the_port_is_free(plane: Callable[..., Plane]) -> None:
    served = plane("2")
    workers = served.workers()
    served.process.kill()
    served.process.wait()
    served.eventually(lambda: not any(psutil.pid_exists(pid) for pid in workers))
    with pytest.raises(ConnectionRefusedError):
        served.ask("/ask")


def test_a_bad_successor_leaves_those_before_it(plane: Callable[..., Plane], tmp_path: Path) -> None:
    served = plane("2", "crash=1")
    before = set(served.workers())
    (tmp_path / "crash").touch()
    served.process.send_signal(signal.SIGHUP)
    assert served.process.stderr is not None
    served.eventually(lambda: "those before it stay" in served.process.stderr.readline())  # type: ignore[union-attr]
    assert set(served.workers()) == before
    assert served.ask("/ask")[0] == 200


def test_a_second_signal_ends_at_once(plane: Callable[..., Plane]) -> None:
    served = plane("2")
    with socket.create_connection(("127.0.0.1", served.port)) as wire:
        wire.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(0.3)
        served.process.terminate()
        time.sleep(0.3)
        assert served.process.poll() is None, "it waits for what is in flight"
        served.process.terminate()
        assert served.process.wait(10) == 128 + signal.SIGTERM

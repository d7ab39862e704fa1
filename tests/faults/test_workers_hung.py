"""Workers that hang, stand still, eat memory or cannot start: replaced, while the others serve on."""

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.supervised import Plane, busy, planes


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Callable[..., Plane]]:
    with planes(tmp_path) as begin:
        yield begin


@pytest.mark.parametrize("path", ["/loop", "/hang"])
def test_a_worker_that_hangs_is_replaced_and_says_where(plane: Callable[..., Plane], path: str) -> None:
    served = plane("2", "hang=1")
    served.load()
    before = set(served.workers())
    with pytest.raises((OSError, http.client.HTTPException)):
        served.ask(path)
    served.eventually(lambda: len(served.workers()) == 2 and len(before & set(served.workers())) == 1)
    busy(served)
    served.unload()
    assert set(served.answered) <= set(served.logged())
    served.process.terminate()
    assert served.process.wait(10) == 0
    told = served.told()
    assert "did not answer for 1 s" in told
    assert "serving_workers.py" in told


def test_a_stopped_worker_is_replaced(plane: Callable[..., Plane]) -> None:
    served = plane("2", "hang=0.5")
    stopped = served.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    served.eventually(lambda: stopped not in served.workers() and len(served.workers()) == 2)
    assert 'kedge_worker_ends_total{reason="hung"} 1' in served.ask("/metrics")[1]


def test_a_worker_that_eats_memory_is_replaced_and_a_gulp_fails_alone(plane: Callable[..., Plane]) -> None:
    limit = 400 << 20
    served = plane("2", f"memory={limit}")
    served.load()
    before = set(served.workers())
    assert served.ask("/gulp")[0] == 500, "one call that wants all at once is refused"
    assert set(served.workers()) == before
    try:
        status, _ = served.ask("/eat")
        assert status == 500
    except (OSError, http.client.HTTPException):
        served.eventually(lambda: len(served.workers()) == 2 and len(before & set(served.workers())) == 1)
    busy(served)
    served.unload()
    assert set(served.answered) <= set(served.logged())


def test_no_worker_left_is_said_and_mends_itself(plane: Callable[..., Plane], tmp_path: Path) -> None:
    served = plane("2", "crash=1")
    (tmp_path / "crash").touch()
    for pid in served.workers():
        os.kill(pid, signal.SIGKILL)
    served.eventually(lambda: served.ask("/v2/health/ready")[0] == 503)
    assert "no worker is alive" in served.ask("/ask")[1]
    (tmp_path / "crash").unlink()
    served.eventually(lambda: served.ask("/ask")[0] == 200, 40)
    served.process.terminate()
    assert served.process.wait(10) == 0
    told = served.told()
    assert "ValueError: a bad start" in told
    assert " in a row; another is started in" in told


def test_a_worker_that_refuses_to_start_ends_it_all(plane: Callable[..., Plane]) -> None:
    assert plane("2", "refuse=1").process.wait(10) == 1

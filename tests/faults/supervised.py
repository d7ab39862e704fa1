"""A supervised data plane (`serving_workers.py`) in a process of its own, and callers that load it."""

import http.client
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from kedge.storage.journal import FileJournal

ROOT = Path(__file__).parents[2]


class Plane:
    """A supervised data plane, and callers that load it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.serving_workers", str(folder), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        self.port = int((self.process.stdout.readline().strip().rpartition(":")[2]) or 0)
        self.answered: list[str] = []
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._callers: list[threading.Thread] = []

    def ask(self, path: str, *, timeout: float = 20) -> tuple[int, str]:
        wire = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            wire.request("GET", path)
            answer = wire.getresponse()
            return answer.status, answer.read().decode()
        finally:
            wire.close()

    def load(self, callers: int = 8) -> None:
        """Have callers ask, each on a connection that it keeps, until `unload`."""
        self._callers = [threading.Thread(target=self._call, args=(each,)) for each in range(callers)]
        for caller in self._callers:
            caller.start()

    def unload(self) -> None:
        self._stop.set()
        for caller in self._callers:
            caller.join()

    def _call(self, caller: int) -> None:
        wire, number = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20), 0
        while not self._stop.is_set():
            number += 1
            path = f"/ask/{caller}/{number}"
            try:
                wire.request("GET", path)
                answer = wire.getresponse()
                answer.read()
                (self.answered if answer.status == 200 else self.failed).append(path)
            except (OSError, http.client.HTTPException):
                self.failed.append(path)
                wire.close()
        wire.close()

    def workers(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def eventually(self, holds: Callable[[], bool], seconds: float = 15) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, "it never came about"
            time.sleep(0.02)

    def counted(self) -> float:
        text = self.ask("/metrics")[1]
        return float(next(line for line in text.splitlines() if line.startswith("kedge_requests_total")).split()[-1])

    def logged(self) -> Counter[str]:
        return Counter(payload.decode() for _, payload in FileJournal(self.folder, "reader").scan())

    def told(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def planes(folder: Path) -> Iterator[Callable[..., Plane]]:
    made: list[Plane] = []

    def begin(*words: str) -> Plane:
        made.append(Plane(folder, *words))
        return made[-1]

    yield begin
    for each in made:
        each.unload()
        each.process.kill()
        each.process.wait()
        for pipe in (each.process.stdout, each.process.stderr):
            if pipe is not None:
                pipe.close()


def busy(each: Plane, more: int = 200) -> None:
    """Wait until so many more requests were answered."""
    target = len(each.answered) + more
    each.eventually(lambda: len(each.answered) >= target)

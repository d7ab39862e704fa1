"""Samples the machine while a run goes on: CPU, memory, disk, network, GPUs, as metrics under `system/...`."""

import threading
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue

from kedge.client.life import FORKS
from kedge.training import Machine

EVERY_SECONDS = 10.0
FIRST_SECONDS = 1.0


class Sampler:
    """A thread that samples, and logs what it found. A sample costs a millisecond or two."""

    def __init__(
        self,
        log: Callable[[Mapping[str, float]], None],
        machine: Callable[[], Machine],
        *,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._log, self._machine, self._every = log, machine, every_seconds
        self._stops: SimpleQueue[None] = SimpleQueue()
        self._stopped = False

    def start(self) -> None:
        """Begin to sample."""
        threading.Thread(target=self._sample_on, name="kedge-sampler", daemon=True).start()

    def stop(self) -> None:
        """Sample no more. Safe in a signal's handler."""
        self._stopped = True
        self._stops.put(None)

    def _sample_on(self) -> None:
        with FORKS.kept_off():
            machine = self._machine()
        pause = min(FIRST_SECONDS, self._every)
        while True:
            try:
                self._stops.get(timeout=pause)
            except Empty:
                pause = self._every
            if self._stopped:
                machine.close()
                return
            with FORKS.kept_off():
                sample = machine.sample()
            self._log({f"system/{name}": value for name, value in sample.items()})

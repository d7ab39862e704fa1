"""How a process of the data plane is told to end."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Ending:
    """What SIGTERM and SIGINT do: end the process at once while it starts, drain it once it answers (`drain` is set)."""

    def __init__(self, *, supervised: bool = False) -> None:
        self._supervised = supervised
        self._told = False
        self.drain: Callable[[], None] | None = None

    @classmethod
    @contextmanager
    def by_signals(cls, *, supervised: bool = False) -> Iterator["Ending"]:
        """Take the signals over within. The second one ends the process where it stands; what was answered is logged.

        A supervised process drains however often it is told: a service manager tells it, and so does its supervisor, which
        has SIGKILL for the rest and keeps SIGINT to itself.
        """
        made = cls(supervised=supervised)
        numbers = (signal.SIGTERM,) if supervised else (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, made._end) for number in numbers}
        try:
            yield made
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, _: FrameType | None) -> None:
        if self._told and not self._supervised:
            os._exit(128 + number)
        self._told = True
        if self.drain is None:
            raise SystemExit(0)
        self.drain()

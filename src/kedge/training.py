"""Ports of what trains: where a script's records go, the machine it is on, the frameworks that log by themselves.

Like `ports/`: protocols only, no implementation here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from kedge.domain.told import Told


class Delivery(Protocol):
    """Brings what a training process told of its runs to where it goes."""

    def deliver(self, records: Sequence[Told], files: Path) -> None:
        """Bring records, in order; kept files lie in the folder `files`. The same again changes nothing.

        Raises Unreachable where it can be tried again later, any other KedgeError where something is refused.
        """
        ...

    def close(self) -> None: ...


class Machine(Protocol):
    """The machine that a run is on."""

    def sample(self) -> dict[str, float]:
        """Look once: numbers by name."""
        ...

    def close(self) -> None: ...


class Trained(Protocol):
    """Where a framework's callbacks log to: the run of a fit."""

    def log(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None) -> None: ...
    def log_params(self, params: Mapping[str, Any] | None = None, /) -> None: ...
    def set_tags(self, tags: Mapping[str, Any] | None = None, /) -> None: ...
    def log_model(self, model: Any, name: str = "model") -> object: ...
    def log_table(self, table: Any, path: str = "table.parquet") -> None: ...


class Fitting(Protocol):
    """The fits that go on in a process."""

    def outermost(self, kind: str, name: str) -> AbstractContextManager[Trained | None]:
        """Give the run that a fit is logged to; None where it is part of another fit."""
        ...

    def current(self, kind: str) -> Trained | None:
        """Give the run of the fit that goes on, where it is of this kind."""
        ...

    def keep_model(self, run: Trained, model: Any) -> None:
        """Keep a fitted model, where models are wanted and a safe format takes it."""
        ...


class Autologger(Protocol):
    """Has one framework log what it trains."""

    @property
    def module(self) -> str:
        """The module that says, when it is imported, that the framework is there."""
        ...

    def prepare(self, fitting: Fitting) -> None:
        """Put callbacks in their places; once in a process."""
        ...

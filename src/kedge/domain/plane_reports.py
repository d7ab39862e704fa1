"""What a data plane tells of itself each minute: how much it counted since its report before, whatever became of the log.

A report holds differences, so reports of several processes and hosts add up, and a restart takes nothing back.
"""

from datetime import datetime

import msgspec


class ModelCounts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was counted of one model: requests by HTTP status, rows answered, seconds within its calls, calls with their rows
    and the most rows of one (the bound of its bin), requests that waited at the end and at most."""

    requests: dict[str, int] = {}
    rows: int = 0
    seconds: float = 0.0
    calls: int = 0
    call_rows: int = 0
    call_most: int = 0
    queue: int = 0
    queue_most: int = 0


class PlaneReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One report: of a `process` (the same from its start to its end) on a `host`, over the `seconds` before `at`.

    `logged` are rows of all models in the log, `unlogged` those that it could not take; `lag_seconds` is how long the
    oldest row waits for a sync, `memory_bytes` what the workers take together, `cpu_seconds` what all of its processes
    used. `ended` says that it was told to end: these are its last words. Model "" has requests that no model got.
    """

    at: datetime
    host: str
    process: str
    seconds: float
    workers: int = 1
    models: dict[str, ModelCounts] = {}
    logged: int = 0
    unlogged: int = 0
    lag_seconds: float = 0.0
    memory_bytes: int = 0
    cpu_seconds: float = 0.0
    ended: bool = False

"""What a training logs of itself while it runs as a job of the loop: points, such as its learning curve.

    kedge.log(loss=0.3)  in the job's process  ->  Measured  ->  back with the model  ->  points of the training's run

They come back with the result and are kept with it under the content key: whoever shares the training has the same
points in a run of its own, and a training that was killed and is made again logs nothing twice.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any, NoReturn

import msgspec

from kedge.domain.tracking import Metric
from kedge.errors import KedgeError, RequestInvalid
from kedge.tracking.limits import check_metrics

MOST_POINTS = 1_000_000

# of one training: key, milliseconds since it began, step, value
Measurement = tuple[str, int, int, float]

_open: list["Measured"] = []


class Measured:
    """The points of the training that runs in this process."""

    is_open = True

    def __init__(self) -> None:
        self._began = _now()
        self._steps: defaultdict[str, count[int]] = defaultdict(count)
        self._points: list[Measurement] = []
        self._dropped = 0

    def log(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        step: int | None = None,
        at: datetime | float | None = None,
        **named: Any,
    ) -> None:
        """Log numbers, as `kedge.log` does. Raises RequestInvalid for what is no number."""
        moment = _now() if at is None else round(1000 * (at.timestamp() if isinstance(at, datetime) else at))
        for key, value in {**(values or {}), **named}.items():
            place = next(self._steps[key]) if step is None else step
            point = Metric(key=key, value=_number(key, value), at=moment, step=place)
            check_metrics([point])
            self._keep((key, moment - self._began, place, point.value))

    def points(self) -> tuple[Measurement, ...]:
        """Give what was logged, in order."""
        return tuple(self._points)

    @property
    def dropped(self) -> int:
        """Count the points beyond the most that one training keeps."""
        return self._dropped

    def _keep(self, point: Measurement) -> None:
        if len(self._points) < MOST_POINTS:
            self._points.append(point)
        else:
            self._dropped += 1

    def __getattr__(self, name: str) -> NoReturn:
        """Say what a training of the loop cannot log."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise KedgeError(
            f"{name} is for runs of your own (`with kedge.run(...):`); a training of the loop logs points by kedge.log, and "
            "its params, tags and model are kept by the loop"
        )


@contextmanager
def measuring() -> Iterator[Measured]:
    """Collect what is logged within the block."""
    measured = Measured()
    _open.append(measured)
    try:
        yield measured
    finally:
        _open.remove(measured)


def current_training() -> Measured | None:
    """Find the training that runs in this process, whatever thread asks."""
    return _open[-1] if _open else None


def pack(points: tuple[Measurement, ...]) -> bytes:
    """Write points; NaN and infinities as what they are."""
    return msgspec.msgpack.encode(points)


def unpack(data: bytes, *, began: datetime) -> list[Metric]:
    """Read the points of a training as those of a run that began then."""
    start = round(began.timestamp() * 1000)
    rows = msgspec.msgpack.decode(data, type=tuple[Measurement, ...])
    return [Metric(key=key, value=value, at=start + after, step=step) for key, after, step, value in rows]


def _now() -> int:
    return time.time_ns() // 1_000_000


def _number(key: str, value: Any) -> float:
    """Give a float of what counts as a number: Python's own, NumPy's and tensors of one element, no text."""
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        raise RequestInvalid(f"metric {key!r} is {value!r}, which is not a number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestInvalid(f"metric {key!r} is not one number: {error}") from None

"""The rows of answered requests: what was answered, as arrays, and from which features, read from the log once.

All that is measured of a window asks these rows, so that a record is read once for the window it was answered in, and
once for that in which its truth became known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np

from kedge.domain.buffers import unread_blocks
from kedge.domain.holdout import HOLDOUT
from kedge.domain.monitoring import Value, VersionHealth, own_seconds
from kedge.domain.records import as_logged, held_features, unread_features
from kedge.domain.rollout import Deployment, Strategy
from kedge.monitoring.columns import Column, Plain, objects, plain, read_blocks, read_maps, scattered, strung
from kedge.monitoring.sums import summed
from kedge.monitoring.truth.days import DAY
from kedge.monitoring.truth.join_labels import Answered

PART_ROWS = 50_000


class Gathered(NamedTuple):
    """The features of some requests: values by column, one for each of `rows`; `hidden` are the personal ones, whose values
    are not in the log. `lacking` marks the rows of the requests that lacked a column, `concealed` of those that hide it."""

    rows: int
    columns: Mapping[str, Column | Sequence[Value]]
    hidden: frozenset[str] = frozenset()
    lacking: Mapping[str, np.ndarray] = {}
    concealed: Mapping[str, np.ndarray] = {}


def parts_of(
    answers: Sequence[Answered], *, most: int = PART_ROWS, names: Collection[str] | None = None
) -> Iterator[Gathered]:
    """Gather features in parts of whole requests with about `most` rows, of those named where any are.

    At least one part, even of no rows.
    """
    taken: list[Answered] = []
    rows = 0
    for answered in answers:
        taken.append(answered)
        rows += len(answered.versions)
        if rows >= most:
            yield _gathered(rows, taken, names=names)
            taken, rows = [], 0
    if taken or not answers:
        yield _gathered(rows, taken, names=names)


def _gathered(rows: int, taken: Sequence[Answered], *, names: Collection[str] | None) -> Gathered:
    sizes = [len(one.versions) for one in taken]
    read = held_features if names is None else unread_features
    table = read_blocks(read(one.payload for one in taken), sizes, names=names)
    concealed = {
        name: np.repeat([name in one.hidden for one in taken], sizes)
        for name in dict.fromkeys(name for one in taken for name in one.hidden)
    }
    return Gathered(rows, table.columns, frozenset(concealed), table.lacking, concealed)


class ServedRows:
    """The rows of requests, in their order. Features are read when one is first asked for, those of `names` only where any
    are given; what requests brought beside them when that is."""

    def __init__(self, requests: Sequence[Answered], *, names: Collection[str] | None = None) -> None:
        self.requests = requests
        self._names = names
        self._columns: dict[str, Column | None] = {}
        self._brought: dict[str, Column | None] = {}

    def __len__(self) -> int:
        return int(self.sizes.sum())

    @cached_property
    def sizes(self) -> np.ndarray:
        """Count the rows of each request: int64 (requests,)."""
        return np.fromiter((len(one.versions) for one in self.requests), np.int64, count=len(self.requests))

    @cached_property
    def firsts(self) -> np.ndarray:
        """Give the place of the first row of each request: int64 (requests,)."""
        return np.asarray(np.cumsum(self.sizes) - self.sizes)

    @cached_property
    def answers(self) -> np.ndarray:
        """Give the answers that were used: float64 (rows,)."""
        return np.fromiter(chain.from_iterable(one.outputs for one in self.requests), np.float64, count=len(self))

    @cached_property
    def versions(self) -> np.ndarray:
        """Give the version that answered each row: int64 (rows,)."""
        return np.fromiter(chain.from_iterable(one.versions for one in self.requests), np.int64, count=len(self))

    @cached_property
    def seconds(self) -> np.ndarray:
        """Give the time that each request's answer holds for, in seconds since 1970: float64 (requests,)."""
        return np.fromiter((one.at.timestamp() for one in self.requests), np.float64, count=len(self.requests))

    @cached_property
    def days(self) -> np.ndarray:
        """Number the day of each request, from 1970: int64 (requests,)."""
        return np.asarray(np.floor_divide(self.seconds, DAY.total_seconds()).astype(np.int64))

    @cached_property
    def weights(self) -> np.ndarray:
        """Say for how many rows each row of a request stands, where the log is sampled: float64 (requests,)."""
        return np.fromiter((1.0 / one.share for one in self.requests), np.float64, count=len(self.requests))

    @cached_property
    def testers(self) -> np.ndarray:
        """Mark the requests of testers, who asked for a side of a trial: bool (requests,)."""
        return np.fromiter((bool(one.variant) for one in self.requests), np.bool_, count=len(self.requests))

    @property
    def hidden(self) -> frozenset[str]:
        """Name the columns that some request hides."""
        return frozenset(name for one in self.requests for name in one.hidden)

    @cached_property
    def parts(self) -> tuple[Gathered, ...]:
        """Give the features, in parts of bounded size."""
        return tuple(parts_of(self.requests, names=self._names))

    @cached_property
    def held_out(self) -> np.ndarray:
        """Mark the rows that were served a coin in place of the answer: bool (rows,)."""
        tensors = (unread_blocks(as_logged(one.payload).tensors) for one in self.requests)
        read = read_blocks(tensors, self.sizes.tolist(), names={HOLDOUT})
        coins = read.columns.get(HOLDOUT)
        if coins is None:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(np.isfinite(np.array(coins.tolist(), dtype=np.float64)))

    def per_row(self, of_requests: np.ndarray) -> np.ndarray:
        """Give each row what belongs to its request."""
        return np.repeat(of_requests, self.sizes)

    def feature(self, name: str) -> Column | None:
        """Give a feature as it was served; None where no request had it."""
        if name not in self._columns:
            pieces = [(part.columns.get(name), part.rows) for part in self.parts]
            found = any(piece is not None for piece, _ in pieces)
            self._columns[name] = strung(pieces) if found else None  # type: ignore[arg-type]
        return self._columns[name]

    def lacks(self, name: str) -> np.ndarray:
        """Mark the rows of requests that had no such feature: bool (rows,)."""
        return self._marked(name, [_lacking(part, name) for part in self.parts])

    def conceals(self, name: str) -> np.ndarray:
        """Mark the rows of requests that hide a column: bool (rows,)."""
        return self._marked(name, [part.concealed.get(name, False) for part in self.parts])

    def _marked(self, name: str, marks: Sequence[np.ndarray | bool]) -> np.ndarray:
        spread = [np.broadcast_to(mark, part.rows) for mark, part in zip(marks, self.parts, strict=True)]
        return np.concatenate([np.zeros(0, dtype=bool), *spread])

    def known(self, names: Collection[str]) -> dict[str, Column | None]:
        """Give features, and where a request had no such feature, what it brought by that name; None for what is neither."""
        missing = [name for name in names if name not in self._brought and self.lacks(name).any()]
        if missing:
            read = [as_logged(one.payload).inputs for one in self.requests]
            brought = read_maps(read, self.sizes.tolist(), names=missing)
            self._brought |= {name: self._filled(name, brought.columns.get(name)) for name in missing}
        return {name: self._brought[name] if name in self._brought else self.feature(name) for name in names}

    def shown(self, names: Collection[str], places: np.ndarray) -> dict[str, Plain]:
        """Give features of the rows at some places as models are asked with; what a request lacked or hid is null."""
        return {name: self._shown(name, places) for name in names}

    def _shown(self, name: str, places: np.ndarray) -> Plain:
        column = self.feature(name)
        if column is None:
            return [None] * places.size
        values, hidden = column.take(places), self.conceals(name)[places]
        if hidden.any():
            values = objects(values.tolist())
            values[hidden] = None
        return plain(values)

    def _filled(self, name: str, brought: Column | None) -> Column | None:
        served = self.feature(name)
        if served is None or brought is None:
            return served if brought is None else brought
        lacks = self.lacks(name)
        places = np.flatnonzero(lacks), np.flatnonzero(~lacks)
        return scattered([(brought.take(places[0]), places[0]), (served.take(places[1]), places[1])], rows=lacks.size)


def _lacking(part: Gathered, name: str) -> np.ndarray | bool:
    return part.lacking.get(name, False) if name in part.columns else True


def versions_of(served: ServedRows, deployment_at: Callable[[int], Deployment | None]) -> tuple[VersionHealth, ...]:
    """Sum up what each version did, answers that were not used (shadow) included.

    A row with an error is one that the challenger of its revision failed on; `deployment_at` finds a revision. Rows of
    testers, who asked for a side by name, are left out.
    """
    counted = ~served.per_row(served.testers)
    outputs: dict[int, list[float]] = {
        version: served.answers[counted & (served.versions == version)].tolist()
        for version in np.unique(served.versions[counted]).tolist()
    }
    seconds: dict[int, list[float]] = {}
    errors: dict[int, int] = {}
    for answered in served.requests:
        if answered.variant:
            continue
        for version, copied in answered.shadow.items():
            outputs.setdefault(version, []).extend(copied)
        on_trial = answered.errors or "challenger" in answered.seconds
        deployment = deployment_at(answered.revision) if on_trial else None
        challenger = deployment.challenger if deployment is not None else None
        shadow = deployment is not None and deployment.strategy is Strategy.SHADOW
        for version in {*answered.versions, *answered.shadow} if answered.seconds else ():
            took = own_seconds(answered.seconds, challenger=version == challenger, shadow=shadow)
            seconds.setdefault(version, []).append(took)
        if deployment is not None and deployment.challenger is not None and answered.errors:
            errors[deployment.challenger] = errors.get(deployment.challenger, 0) + len(answered.errors)
    return tuple(
        VersionHealth(
            version=version,
            rows=len(outputs.get(version, ())),
            errors=errors.get(version, 0),
            mean_output=_mean(outputs.get(version, ())),
            latency_seconds=_mean(seconds.get(version, ())),
        )
        for version in sorted({*outputs, *errors})
    )


def _mean(values: Sequence[float]) -> float:
    given = np.array(values, dtype=np.float64)
    finite = given[np.isfinite(given)]
    return summed(0.0, finite) / finite.size if finite.size else 0.0

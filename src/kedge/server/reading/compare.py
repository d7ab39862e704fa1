"""Comparing runs: what differs, the same metric over all of them, many values at once, one value against another."""

from collections import Counter
from collections.abc import Sequence
from math import isfinite

import msgspec

from kedge.domain.finding import Subject
from kedge.domain.ids import RunId
from kedge.domain.overview import RunKey
from kedge.domain.tracking import RunDetail
from kedge.errors import RequestInvalid
from kedge.server.house import House
from kedge.server.reading.curves import LARGE, Curve, curves
from kedge.server.reading.run import SYSTEM
from kedge.server.reading.state import State
from kedge.server.reading.table import RUN_STATES, key_of, name_of, number_of
from kedge.web import words

LEAST, MOST = 2, 50
_POINTS = 8_000  # drawn in all
_CHOICES = 200  # of values that can be an axis


class CompareAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What the address asks of a comparison: which runs; which metric over steps or over time; which axes; x against y."""

    runs: tuple[str, ...]
    metric: str = ""
    over: str = "step"
    log: bool = False
    axes: tuple[str, ...] = ()
    x: str = ""
    y: str = ""
    every: bool = False


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One of the runs compared."""

    id: RunId
    name: str
    experiment: str
    state: State
    word: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One value over the runs, in their order. `spread` is of numbers: how far the greatest is from the least."""

    name: str
    subject: str
    key: str
    values: tuple[float | str | None, ...]
    differs: bool
    spread: float | None = None


class ComparePage(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison: every metric, param and dataset with its value in each run, those that differ marked.

    `choices` are the names of values that could be an axis, some hundreds at most; `metrics` are those with a course.
    """

    say: str
    asked: CompareAsked
    runs: tuple[Compared, ...]
    metric: str
    metrics: tuple[str, ...]
    curves: tuple[Curve, ...]
    axes: tuple[str, ...]
    x: str
    y: str
    choices: tuple[str, ...]
    differences: tuple[Difference, ...]
    differing: int


def compare_page(house: House, asked: CompareAsked) -> ComparePage:
    """Compare 2 to 50 runs. Raises RequestInvalid for fewer or more, NotFound for one that is not there."""
    ids = tuple(dict.fromkeys(RunId(run) for run in asked.runs))
    if not LEAST <= len(ids) <= MOST:
        raise RequestInvalid(
            f"comparing takes {LEAST} to {MOST} runs; {len(ids)} were named. Choose them in the table of runs"
        )
    details = [house.logging.get_run(run) for run in ids]
    differences = differences_of(details)
    metrics = tuple(one.key for one in differences if one.subject == Subject.METRIC.value and not one.key.startswith(SYSTEM))
    moving = Counter(point.key for one in details for point in one.latest if point.step)
    metric = asked.metric or max(metrics, key=lambda key: moving[key], default="")
    numeric = [one for one in differences if any(value is not None and number_of(value) is not None for value in one.values)]
    axes = asked.axes or _axes(numeric)
    x, y = (
        asked.x or _first(numeric, Subject.PARAM) or _first(numeric, Subject.METRIC),
        asked.y or _first(numeric, Subject.METRIC),
    )
    for name in (*asked.axes, asked.x, asked.y):
        if name:
            key_of(name)
    drawn = curves(house, ids, keys=(metric,), count=max(100, min(LARGE, _POINTS // len(ids)))).curves if metric else ()
    differing = sum(one.differs for one in differences)
    return ComparePage(
        say=f"{words.many(len(ids), 'run')}: {words.count(differing)} of {words.many(len(differences), 'value')} differ",
        asked=asked,
        runs=tuple(_compared(one) for one in details),
        metric=metric,
        metrics=metrics,
        curves=drawn,
        axes=axes,
        x=x,
        y=y,
        choices=_choices(differences, {*axes, x, y}),
        differences=differences,
        differing=differing,
    )


def _compared(detail: RunDetail) -> Compared:
    run = detail.run
    return Compared(
        id=run.id,
        name=run.name or words.short(run.id),
        experiment=run.experiment,
        state=RUN_STATES[run.status],
        word=run.status.value,
    )


def differences_of(details: Sequence[RunDetail]) -> tuple[Difference, ...]:
    """List every metric, param and dataset of these runs with its values; those that differ know it."""
    return (
        *_over([one.run.metrics for one in details], Subject.METRIC),
        *_over([one.run.params for one in details], Subject.PARAM),
        *_over([_data(one) for one in details], Subject.DATASET),
    )


def _data(detail: RunDetail) -> dict[str, str]:
    told = {one.name: words.short(one.digest) for one in detail.datasets}
    own = {f"input {index + 1}": words.short(digest) for index, digest in enumerate(detail.run.inputs)}
    return {**own, **told}


def _over(runs: Sequence[dict[str, float]] | Sequence[dict[str, str]], subject: Subject) -> list[Difference]:
    keys = sorted({key for values in runs for key in values})
    found = []
    for key in keys:
        values: tuple[float | str | None, ...] = tuple(one.get(key) for one in runs)
        numbers = [number for value in values if value is not None and (number := number_of(value)) is not None]
        finite = [number for number in numbers if isfinite(number)]
        name = key if subject is Subject.DATASET else name_of(RunKey(subject, key))
        found.append(
            Difference(
                name=f"dataset {name}" if subject is Subject.DATASET else name,
                subject=subject.value,
                key=key,
                values=tuple(words.value(one) if isinstance(one, float) and not isfinite(one) else one for one in values),
                differs=len({repr(value) for value in values}) > 1,
                spread=max(finite) - min(finite) if len(finite) > 1 and len(numbers) == len(_there(values)) else None,
            )
        )
    return found


def _there(values: Sequence[float | str | None]) -> list[float | str]:
    return [value for value in values if value is not None]


def _axes(numeric: Sequence[Difference], most: int = 7) -> tuple[str, ...]:
    """Choose axes: the params that differ, then the metrics that differ, then whatever is there."""
    ordered = sorted(
        numeric, key=lambda one: (not one.differs, one.values.count(None), one.subject != Subject.PARAM.value, one.name)
    )
    chosen = [one.name for one in ordered if one.subject != Subject.DATASET.value and not one.key.startswith(SYSTEM)][:most]
    return tuple(sorted(chosen, key=lambda name: not name.startswith("params.")))


def _choices(differences: Sequence[Difference], chosen: set[str]) -> tuple[str, ...]:
    """Offer values as axes: the chosen ones, then those that differ and are there in most runs; at most some hundreds."""
    fit = [one for one in differences if one.subject != Subject.DATASET.value]
    ordered = sorted(fit, key=lambda one: (one.name not in chosen, not one.differs, one.values.count(None)))
    return tuple(sorted(one.name for one in ordered[:_CHOICES]))


def _first(numeric: Sequence[Difference], subject: Subject) -> str:
    fit = [one for one in numeric if one.subject == subject.value and not one.key.startswith(SYSTEM)]
    return next((one.name for one in fit if one.differs), fit[0].name if fit else "")

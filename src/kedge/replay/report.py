"""The report of a replay: the live loop beside the policies it is compared with, on the same rows, priced.

Differences of cost carry a 95 % interval from a moving-block bootstrap over days (blocks of 7), seeded.
"""

import msgspec
import numpy as np

from kedge.domain.project import ProjectSpec
from kedge.domain.registry import Promotion
from kedge.evaluation.metrics import loss_name
from kedge.replay.score import Track
from kedge.retraining.backtest.intervals import interval

BLOCK_DAYS = 7


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The price of one retraining, what each policy cost at it, and the live policy's difference to the others."""

    retrain: float
    costs: dict[str, float]
    trainings: dict[str, int]
    difference: dict[str, tuple[float, float, float]]
    won: dict[str, bool]


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True):
    """One policy in the report: metrics over all rows, by month, and what it did."""

    metrics: dict[str, float]
    months: dict[str, dict[str, float]]
    trainings: int
    looks: int
    refused: int
    rollbacks: int
    alarms: dict[str, int]
    cost: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a replay came to."""

    project: str
    metric: str
    first: str
    last: str
    rows: int
    policies: dict[str, PolicyResult]
    costs: tuple[Cost, ...]
    promotions: tuple[Promotion, ...]
    alarms: dict[str, int]
    refused: int
    rollbacks: int
    digest: str
    seconds: float
    cpu_seconds: float


def report(spec: ProjectSpec, tracks: dict[str, Track], *, seconds: float, cpu_seconds: float) -> Report:
    """Make the report. `tracks` holds the live policy under its own name, first, and the rehearsed ones after it."""
    live_name = next(iter(tracks))
    live = tracks[live_name]
    price = spec.retraining.price
    fixed = {name: kept for name, kept in tracks.items() if name in ("never", "monthly")}
    priced = {
        price.retrain * 0.1: tracks.get("price x 0.1"),
        price.retrain: live,
        price.retrain * 10: tracks.get("price x 10"),
    }
    return Report(
        project=spec.name,
        metric=loss_name(spec.gate.metric, spec.data.task),
        first=live.days[0].day,
        last=live.days[-1].day,
        rows=live.rows,
        policies={name: _result(spec, kept) for name, kept in {live_name: live, **fixed}.items()},
        costs=tuple(
            _cost(spec, retrain, {live_name: at_price, **fixed})
            for retrain, at_price in priced.items()
            if at_price is not None
        ),
        promotions=live.promotions,
        alarms=live.alarms,
        refused=live.refused,
        rollbacks=live.rollbacks,
        digest=live.digest,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
    )


def document(made: Report) -> dict[str, object]:
    """Lay the report out as the JSON document: `policies.NAME` has metrics, trainings and cost side by side."""
    plain: dict[str, object] = msgspec.to_builtins(made)
    plain["policies"] = {
        name: {**result.metrics, **{k: v for k, v in msgspec.to_builtins(result).items() if k != "metrics"}}
        for name, result in made.policies.items()
    }
    return plain


def _result(spec: ProjectSpec, kept: Track) -> PolicyResult:
    price = spec.retraining.price
    return PolicyResult(
        metrics=kept.metrics,
        months={month.month: {"rows": month.rows, **month.metrics} for month in kept.months},
        trainings=kept.trainings,
        looks=kept.looks,
        refused=kept.refused,
        rollbacks=kept.rollbacks,
        alarms=kept.alarms,
        cost=kept.cost(retrain=price.retrain, loss=price.loss, cpu_hour=price.cpu_hour),
    )


def _cost(spec: ProjectSpec, retrain: float, tracks: dict[str, Track]) -> Cost:
    price = spec.retraining.price
    live_name = next(iter(tracks))
    costs = {name: k.cost(retrain=retrain, loss=price.loss, cpu_hour=price.cpu_hour) for name, k in tracks.items()}
    others = [name for name in tracks if name != live_name]
    return Cost(
        retrain=retrain,
        costs=costs,
        trainings={name: kept.trainings for name, kept in tracks.items()},
        difference={
            name: _difference(tracks[live_name], tracks[name], costs[live_name] - costs[name], loss=price.loss)
            for name in others
        },
        won={name: costs[live_name] < costs[name] for name in others},
    )


def _difference(ours: Track, theirs: Track, difference: float, *, loss: float) -> tuple[float, float, float]:
    """Give the difference of cost with its interval: the losses of days are resampled in blocks, trainings stay."""
    losses = {day.day: day.loss for day in theirs.days}
    daily = np.array([day.loss - losses.get(day.day, day.loss) for day in ours.days]) * loss
    fixed = difference - float(daily.sum())
    low, high = interval(daily, stretch=BLOCK_DAYS)
    return difference, fixed + low, fixed + high

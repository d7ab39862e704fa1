"""Deployments on trial, and what monitoring would see of them."""

from datetime import UTC, datetime, timedelta

from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Block, Health, VersionHealth, Window
from kedge.domain.rollout import Deployment

MODEL = ModelName("flights")
START = datetime(2013, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def trial(**changes) -> Deployment:
    facts = {"revision": 2, "champion": 1, "challenger": 2, "share": 0.05, "step": 0, "salt": "s", "since": START}
    return Deployment(model=MODEL, actor="policy:ledger", reason="regret", **{**facts, **changes})


def side(version, rows=1000, errors=0, mean=0.2, seconds=0.01) -> VersionHealth:
    return VersionHealth(version=version, rows=rows, errors=errors, mean_output=mean, latency_seconds=seconds)


def block(day, version, rows, mean) -> Block:
    return Block(day=START + day * DAY, version=version, rows=rows, loss=rows * mean)


def health(*sides, day=0, blocks=()) -> Health:
    return Health(
        model=MODEL,
        window=Window(START + day * DAY, START + (day + 1) * DAY),
        rows=sum(each.rows for each in sides),
        labels=0,
        versions=sides,
        blocks=tuple(blocks),
        drift=(),
        risk=None,
        alerts=(),
        loss=None,
    )

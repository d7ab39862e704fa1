"""What a backtest of retraining policies came to."""

from datetime import datetime

import msgspec

from kedge.domain.ids import ModelName


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """The step, or the group of rows, on which a policy lost most a row."""

    name: str
    loss: float
    rows: int


class PolicyCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy would have cost. `relative` is to never; `difference` is that share less the one of the policy it is
    compared with, from `low` to `high` (95 %, over blocks of time). `hindsight`: no one could have decided so."""

    policy: str
    hindsight: bool
    cost: float
    loss: float
    relative: float
    difference: float
    low: float
    high: float
    trainings: int
    looks: int
    trained: tuple[datetime, ...]
    worst_step: Worst
    worst_group: Worst | None = None
    by_step: tuple[float, ...] = ()


class PricedBacktest(msgspec.Struct, frozen=True, kw_only=True):
    """The policies at one price of a training and one delay of the labels. `ratio` is the price in steps of never's loss,
    `phi` the share of it that is compute."""

    price: float
    ratio: float
    phi: float
    delay: str
    policies: tuple[PolicyCost, ...]


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a backtest came to. `steps` begin at `begins`; `observations` are the steps of the past that told how fast
    models age: the ledger of a project that starts later starts from them."""

    project: str
    metric: str
    step: str
    begins: tuple[datetime, ...]
    rows: int
    against: str
    results: tuple[PricedBacktest, ...]
    observations: int
    made: int
    found: int
    notes: tuple[str, ...] = ()


class KeptBacktest(msgspec.Struct, frozen=True, kw_only=True):
    """The newest backtest of a project, and when it was made."""

    at: datetime
    backtest: Backtest


def backtest_note(model: ModelName) -> str:
    """Name the note that keeps a model's newest backtest."""
    return f"retraining:{model}:backtest"

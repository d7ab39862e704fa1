"""A backtest as `kedge policy backtest` keeps it, for the seeded year: believable figures by a fixed rule."""

from datetime import datetime, timedelta

import msgspec

from kedge.domain.backtest import Backtest, KeptBacktest, PolicyCost, PricedBacktest, Worst, backtest_note
from kedge.domain.ids import ModelName
from kedge.ports import MetaStore

STEP = timedelta(days=7)
STEPS = 43
POLICIES = {
    "never": (0, 0.0), "every step": (1, 0.03), "every 2 steps": (2, 0.028), "every 4 steps": (4, 0.026),
    "every 8 steps": (8, 0.021), "every 13 steps": (13, 0.018), "best interval of the first third": (8, 0.021),
    "best interval in hindsight": (4, 0.026), "square-root interval": (5, 0.025), "drift": (6, 0.012), "risk": (11, 0.017),
    "ledger": (5, 0.027), "oracle": (4, 0.031),
}  # fmt: skip


def keep_backtest(meta: MetaStore, model: ModelName, *, start: datetime, at: datetime, hostile: str = "") -> Backtest:
    """Keep a backtest of a model's year."""
    begins = tuple(start + STEP * step for step in range(STEPS))
    made = Backtest(
        project=model,
        metric="log_loss",
        step="7d",
        begins=begins,
        rows=241_300,
        against="never",
        results=tuple(priced(price, begins, hostile=hostile) for price in (4.0, 40.0, 400.0)),
        observations=120,
        made=STEPS,
        found=0,
        notes=(f"Left out, alike for all: the gate, the time of rollouts, the week's budget.{hostile}",),
    )
    meta.notes.put(backtest_note(model), msgspec.json.encode(KeptBacktest(at=at, backtest=made)))
    return made


def priced(price: float, begins: tuple[datetime, ...], *, hostile: str) -> PricedBacktest:
    """Price every policy: each saves by its freshness, and pays for its trainings."""
    ratio = price / 2650
    return PricedBacktest(
        price=price,
        ratio=ratio,
        phi=0.1,
        delay="0",
        policies=tuple(
            cost(name, every, saved, ratio=ratio, begins=begins, hostile=hostile)
            for name, (every, saved) in POLICIES.items()
        ),
    )


def cost(name: str, every: int, saved: float, *, ratio: float, begins: tuple[datetime, ...], hostile: str) -> PolicyCost:
    trained = begins[every::every] if every else ()
    steps, total = [], 0.0
    for step in range(STEPS):
        age = step % every if every else step
        total += (1 - saved * (1 - age / 60)) / STEPS + (ratio / STEPS if every and step and step % every == 0 else 0.0)
        steps.append(total if every else (step + 1) / STEPS)
    return PolicyCost(
        policy=name,
        hindsight=name in ("best interval in hindsight", "oracle"),
        cost=steps[-1] * 114_000,
        loss=steps[-1] * 114_000,
        relative=steps[-1],
        difference=steps[-1] - 1,
        low=steps[-1] - 1 - (0.008 if every else 0.0),
        high=steps[-1] - 1 + (0.009 if every else 0.0),
        trainings=len(trained),
        looks=14 if name == "ledger" else 0,
        trained=trained,
        worst_step=Worst(name="2013-07-08", loss=0.61, rows=5_600),
        worst_group=Worst(name=f"carrier=EV{hostile}", loss=0.58, rows=43_100),
        by_step=tuple(steps),
    )

"""Backtest a project's policies: measure its past once, walk every policy at each price and delay, keep what was learnt."""

from collections.abc import Callable
from datetime import timedelta
from math import ceil

import msgspec

from kedge.app import House
from kedge.domain.backtest import Backtest, KeptBacktest, PricedBacktest, backtest_note
from kedge.domain.durations import span_of
from kedge.domain.project import ProjectSpec
from kedge.errors import ConfigError
from kedge.evaluation.metrics import loss_name
from kedge.replay.past import Past, measure
from kedge.retraining.backtest.contest import compare
from kedge.retraining.backtest.walk import WalkTerms
from kedge.retraining.ledger import LOOK_BUDGET, start_from
from kedge.retraining.room import history_note

PRICES = (0.1, 1.0, 10.0)
"""The prices that are walked where none is asked for: so many times the project's own."""


class BacktestAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a backtest: prices in the project's units, extra delays of labels, and whom to compare with."""

    prices: tuple[float, ...] = ()
    delays: tuple[str, ...] = ()
    against: str = "never"


def backtest(
    house: House, spec: ProjectSpec, asked: BacktestAsked, *, told: Callable[[int, int], None] = lambda done, models: None
) -> Backtest:
    """Measure, walk, and keep what it came to. Raises ConfigError for what cannot be asked, or a past that is too short."""
    if any(price <= 0 for price in asked.prices):
        raise ConfigError("a price must be above 0, in the units of retraining.price")
    step = timedelta(seconds=spec.step_seconds)
    delays = [("0", 0), *((text, _steps(text, step)) for text in asked.delays if text not in ("0", "0d"))]
    if asked.delays and not {"0", "0d"} & set(asked.delays):
        delays = delays[1:]
    past = measure(house, spec, told)
    house.meta.notes.put(history_note(spec.name), msgspec.json.encode(past.history))
    prices = asked.prices or tuple(spec.retraining.price.retrain * times for times in PRICES)
    made = Backtest(
        project=spec.name,
        metric=loss_name(spec.gate.metric, spec.data.task),
        step=spec.retraining.step,
        begins=past.begins,
        rows=int(past.matrix.answered.rows.sum()),
        against=asked.against,
        results=tuple(
            _priced(spec, past, price=price, delay=delay, text=text, against=asked.against)
            for text, delay in delays
            for price in prices
        ),
        observations=len(past.history),
        made=past.made,
        found=past.found,
        notes=_notes(past),
    )
    kept = KeptBacktest(at=house.clock.now(), backtest=made)
    house.meta.notes.put(backtest_note(spec.name), msgspec.json.encode(kept))
    return made


def _steps(text: str, step: timedelta) -> int:
    try:
        return ceil(span_of(text) / step)
    except ValueError as error:
        raise ConfigError(f"--delay: {error}") from None


def _priced(spec: ProjectSpec, past: Past, *, price: float, delay: int, text: str, against: str) -> PricedBacktest:
    rules = spec.retraining
    terms = WalkTerms(
        price=price / max(rules.price.loss, 1e-12),
        phi=past.cpu_seconds / 3600 * rules.price.cpu_hour / price,
        delay=delay,
        rules=rules,
        risk_tolerance=spec.monitoring.risk_tolerance,
        start=start_from(past.history, upto=past.begins[0]),
    )
    policies = compare(past.matrix, terms, against=against, begins=past.begins)
    return PricedBacktest(price=price, ratio=terms.price / past.matrix.level, phi=terms.phi, delay=text, policies=policies)


def _notes(past: Past) -> tuple[str, ...]:
    notes = [
        f"{past.made} models were made and scored now, {past.found} were found from before. * is hindsight: nobody could "
        "have known it.",
        "Left out, alike for all: the gate, the time of rollouts, the week's budget. A training at the end of a step serves "
        "the next one.",
        "Intervals: 95 %, over stretches of four steps. Looks are taken while they cost at most "
        f"{100 * LOOK_BUDGET:.0f} % of a retraining.",
    ]
    if past.history:
        notes.append(f"The ledger of this project starts from {len(past.history)} observations of history.")
    return tuple(notes)

"""Where retraining stands, in words: regret against price, when they meet, and what was decided last."""

from collections.abc import Sequence
from math import isfinite

from kedge.domain.durations import roughly
from kedge.domain.project import ProjectSpec
from kedge.domain.retraining import LedgerEntry, RetrainingStanding, TurnEnd
from kedge.retraining.ledger import PRIOR_SLOPE, PRIOR_WEIGHT, RETRAIN, TURNED, steps_left

DECISIONS = 10


def standing(spec: ProjectSpec, entries: Sequence[LedgerEntry], *, ended: TurnEnd | None = None) -> RetrainingStanding:
    """Say where a project's retraining stands, from its entries, oldest first, and how the turn of the newest ended."""
    entry = entries[-1] if entries else None
    steps = steps_left(entry) if entry is not None else None
    days = steps * spec.step_seconds / 86400 if steps is not None and isfinite(steps) else None
    by_ledger = spec.retraining.policy == "ledger"
    return RetrainingStanding(
        model=spec.name,
        policy=spec.retraining.policy,
        entry=entry,
        days_left=days if by_ledger else None,
        words=_words(spec, entry, days=days, ended=ended)
        if entry is not None
        else "no step has closed yet: nothing was decided",
        course=tuple(one.regret for one in entries),
        decisions=tuple(entries[-DECISIONS:]),
        ended=ended,
    )


def _words(spec: ProjectSpec, entry: LedgerEntry, *, days: float | None, ended: TurnEnd | None) -> str:
    if spec.retraining.policy != "ledger":
        return f"policy {spec.retraining.policy}: {entry.reason}"
    if entry.decision in (RETRAIN, TURNED):
        came = ended.words if ended is not None else "it has not ended yet"
        return f"a training was ordered ({entry.reason}); {came}; the regret starts again from 0"
    said = [f"regret {entry.regret:.1f} of {entry.price:.1f}, the price of a retraining"]
    said.append(f"retrains in about {roughly(86400 * days)} at this rate" if days is not None else "it does not rise")
    return "; ".join([*said, slope_words(entry)])


def slope_words(entry: LedgerEntry) -> str:
    """Say what ageing costs a model, and what that is known from."""
    if entry.level <= 0:
        return _known(entry)
    share = f"{100 * entry.slope / entry.level:.2f} %"
    best = f"so that every {entry.interval:.1f} steps would be best"
    return f"a model loses {share} of its loss per step of age, {best}; {_known(entry)}"


def _known(entry: LedgerEntry) -> str:
    """Say what the slope is known from."""
    seen = entry.gaps / (entry.gaps + PRIOR_WEIGHT)
    start = f", started from {entry.started} observations of history" if entry.started else ""
    return f"{100 * seen:.0f} % of that slope is measured here{start}, the rest is the prior of {100 * PRIOR_SLOPE:.0f} %"

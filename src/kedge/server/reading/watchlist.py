"""The models that are watched, each with the state of its newest window: worked out when that window is new."""

import threading
from collections.abc import Callable

import msgspec

from kedge.domain.ids import ModelName
from kedge.domain.monitoring import ANSWERS, Health
from kedge.domain.skew import Skew
from kedge.ports import MetaStore
from kedge.server.reading.state import State
from kedge.web import words

NOTHING = (State.HOLDS, "no window yet")
_ORDER = (State.ALARM, State.WATCH, State.HOLDS)


class WatchedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is deployed, and how its newest window stands."""

    model: str
    state: State
    word: str


class Watchlist:
    """Says how each deployed model stands. A state is worked out once for each newest window."""

    def __init__(self, meta: MetaStore) -> None:
        self._meta = meta
        self._kept: dict[ModelName, tuple[str, State, str]] = {}
        self._lock = threading.Lock()

    def models(self, own: ModelName) -> tuple[WatchedModel, ...]:
        """List the deployed models: the project's own first, then the worst."""
        newest = self._meta.watches.newest()
        found = [self._watched(name, newest.get(name, "")) for name in self._meta.deployments.names()]
        return tuple(sorted(found, key=lambda one: (one.model != own, _rank(one.state), one.model)))

    def _watched(self, name: ModelName, window: str) -> WatchedModel:
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or kept[0] != window:
            health = self._meta.watches.find(name, window) if window else None
            kept = (window, *(state_of(health) if health is not None else NOTHING))
            with self._lock:
                self._kept[name] = kept
        return WatchedModel(model=name, state=kept[1], word=kept[2])


def _rank(state: State) -> int:
    return _ORDER.index(state) if state in _ORDER else len(_ORDER)


def skewed(skew: Skew | None) -> bool:
    """Say whether what was served differs from what training would have read, beyond doubt."""
    return skew is not None and skew.limit > 0 and skew.evidence >= skew.limit


def state_of(health: Health) -> tuple[State, str]:
    """Say how a window stands: the worst of what was found in it."""
    return next(((state, word) for holds, state, word in _RULES if holds(health)), _drifting(health))


def _unlike(health: Health) -> bool:
    return health.fairness is not None and any(gap.alarm for gap in health.fairness.recent_gaps)


def _missed_objective(health: Health) -> bool:
    return health.operations is not None and any(one.alarm for one in health.operations.objectives)


def _conceptual(health: Health) -> bool:
    concept = health.quality.concept if health.quality is not None else None
    return concept is not None and concept.named


_RULES: tuple[tuple[Callable[[Health], bool], State, str], ...] = (
    (lambda one: one.risk is not None and one.risk.alarm, State.ALARM, "loss above limit"),
    (_missed_objective, State.ALARM, "objective missed"),
    (_unlike, State.ALARM, "groups unlike"),
    (lambda one: not one.rows, State.HOLDS, "silent"),
    (lambda one: any(each.missed for each in one.business), State.WATCH, "target missed"),
    (lambda one: skewed(one.skew), State.WATCH, "prediction skew"),
    (_conceptual, State.WATCH, "concept drift"),
)


def above_unsure(health: Health) -> bool:
    """Say whether the champion's mean loss is above its limit, which is not beyond doubt: no alarm yet."""
    risk = health.risk
    return risk is not None and risk.mean > risk.limit and not risk.alarm


def _drifting(health: Health) -> tuple[State, str]:
    moved = sum(drift.alarm for drift in health.drift if drift.column != ANSWERS)
    if moved:
        return State.WATCH, f"{words.many(moved, 'feature')} drift" + ("s" if moved == 1 else "")
    if any(drift.alarm for drift in health.drift):
        return State.WATCH, "answers drift"
    if not health.drift and health.risk is None:
        return State.HOLDS, "not measured"
    return _within(health)


def _within(health: Health) -> tuple[State, str]:
    """Say how a window stands in which nothing is wrong beyond doubt. One window's own loss may be above the limit by
    chance: that is said, and is nothing to watch while the mean over the days is within it."""
    if above_unsure(health):
        return State.WATCH, "loss above limit, not yet sure"
    if health.risk is not None and health.loss is not None and health.loss > health.risk.limit:
        return State.WELL, "loss within limit on average"
    return State.WELL, "well"

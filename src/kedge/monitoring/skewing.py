"""Prediction skew as a window tells it: a sample of its answers replayed, where one is due, and told of once per episode."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.monitoring import Health
from kedge.domain.project import ProjectSpec
from kedge.monitoring.quality.skew import Rejoining, Score, Versions, sample_of, skew_of
from kedge.monitoring.state import MonitorState
from kedge.monitoring.telling.alerts import skew_alert
from kedge.monitoring.truth.join_labels import Answered


class Replaying(msgspec.Struct, frozen=True, eq=False):
    """What it takes to replay answers: `parity` joins served rows again, `versions` finds models, `score` asks them."""

    parity: Callable[[], Rejoining]
    versions: Versions
    score: Score


def sample_due(state: MonitorState) -> bool:
    """Say whether a sample is due: as the bet says, and in each window of an episode, so that calm is seen, not taken for
    granted."""
    last = state.episodes.last.get(AlertKind.PREDICTION_SKEW.value)
    lasts = last is not None and state.windows - last <= state.episodes.quiet
    return lasts or state.skew.due(state.steps)


def with_skew(
    spec: ProjectSpec,
    state: MonitorState,
    *,
    health: Health,
    answers: Sequence[Answered],
    replaying: Replaying,
    at: datetime,
) -> Health:
    """Replay a sample of the window's answers; tell once per episode where served and trained have come apart."""
    found = skew_of(
        spec,
        sample_of(answers),
        parity=replaying.parity(),
        versions=replaying.versions,
        score=replaying.score,
        state=state.skew,
    )
    if found is None:
        return health
    state.skew.step = state.steps
    told: tuple[Alert, ...] = ()
    if found.share > found.tolerance:
        state.episodes.goes_on(AlertKind.PREDICTION_SKEW, state.windows)
    alarms = 0 < found.limit <= found.evidence
    if alarms and state.episodes.begins(AlertKind.PREDICTION_SKEW, state.windows):
        told = (skew_alert(spec.name, health.window, at=at, skew=found),)
    holds = dict.fromkeys((*health.standing, *state.episodes.standing(spec.name, state.windows)))
    return msgspec.structs.replace(
        health,
        skew=found,
        alerts=(*health.alerts, *told),
        standing=tuple(holds),
        notes=(*health.notes, *found.notes),
    )

"""One window, with everything that was measured in it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from kedge.domain.monitoring import ANSWERS, Health, Window
from kedge.errors import NotFound
from kedge.ports import MetaStore
from kedge.server.reading.scene import Scene
from kedge.server.reading.state import Sentence, State
from kedge.server.reading.watching import (
    FeatureDrift,
    OpenAlert,
    WindowLine,
    address_of,
    alert_line,
    line,
    window_of,
)
from kedge.web import words

_ALL = 1_000_000


class WindowPage(msgspec.Struct, frozen=True, kw_only=True):
    """One window with all its figures; `earlier` and `later` are the windows beside it."""

    model: str
    now: datetime
    metric: str
    verdict: Sentence
    line: WindowLine
    health: Health
    drift: tuple[FeatureDrift, ...]
    answers: FeatureDrift | None
    alerts: tuple[OpenAlert, ...]
    earlier: str
    later: str


def window_page(scene: Scene, meta: MetaStore, *, window: str) -> WindowPage:
    """Describe one window. Raises NotFound, RequestInvalid."""
    wanted = window_of(window)
    health = meta.watches.find(scene.model, wanted.id)
    if health is None:
        raise NotFound(f"window {wanted.id} of {scene.model!r} was not measured; /monitoring lists those that were")
    ranked = sorted(health.drift, key=lambda one: (not one.alarm, -one.evidence, one.column))
    plain = [FeatureDrift(drift=one, course=(), shape=None) for one in ranked]
    told = line(health)
    return WindowPage(
        model=scene.model,
        now=scene.now,
        metric=scene.metric,
        verdict=_spoken(health, told),
        line=told,
        health=health,
        drift=tuple(one for one in plain if one.drift.column != ANSWERS),
        answers=next((one for one in plain if one.drift.column == ANSWERS), None),
        alerts=tuple(alert_line(alert) for alert in health.alerts),
        earlier=_beside(meta.watches.list(scene.model, limit=1, before=health.window)),
        later=_later(scene, meta, window=health.window),
    )


def _beside(found: Sequence[Health]) -> str:
    return address_of(found[0].window) if found else ""


def _later(scene: Scene, meta: MetaStore, *, window: Window) -> str:
    """Find the window after one; before those that are read, in the index."""
    windows: Sequence[Window] = [one.window for one in scene.healths]
    if windows and window.end < windows[0].start:
        windows = meta.watches.windows(scene.model, limit=_ALL)
    after = next((one for one in windows if (one.end, one.start) > (window.end, window.start)), None)
    return address_of(after) if after is not None else ""


def _spoken(health: Health, told: WindowLine) -> Sentence:
    span = f"{health.window.start:%Y-%m-%d %H:%M} to {health.window.end:%Y-%m-%d %H:%M} UTC"
    say = {
        State.WELL: "Nothing was wrong in this window",
        State.HOLDS: "No predictions came in this window" if not health.rows else "Nothing could be judged in this window",
    }.get(told.state, f"In this window: {told.word}")
    loss = f"; loss {words.loss(health.loss)}" if health.loss is not None else ""
    limit = f" against a limit of {words.loss(told.limit)}" if health.loss is not None and told.limit is not None else ""
    labels = words.many(health.labels, "label") + " arrived"
    return Sentence(
        state=told.state,
        say=f"{say}: {words.many(health.rows, 'prediction')}, {labels}{loss}{limit}."
        if told.state is State.WELL
        else f"{say}; {words.many(health.rows, 'prediction')}, {labels}{loss}{limit}.",
        sub=f"{span}. {words.many(len(health.alerts), 'alert') if health.alerts else 'No alert'} was raised."
        if len(health.alerts) < 2
        else f"{span}. {words.many(len(health.alerts), 'alert')} were raised.",
    )

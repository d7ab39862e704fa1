"""A store in which much is watched: a model with a thousand windows, and two hundred more with one each."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from tests.ui.seed import DAY, MODEL, START, Year

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.domain.monitoring import Window
from kedge.storage.sql import SqlStore

WINDOWS, MODELS = 1000, 200


def crowd(meta: SqlStore) -> Callable[..., Event]:
    """Fill an empty store; give what makes an event of a kind, named by whatever tells it from others."""
    seeded = Year(meta)
    seeded.write(START + 60 * DAY)
    newest = replace(meta.watches.list(MODEL, limit=1)[0], alerts=())
    (deployment,) = meta.deployments.list(MODEL)[-1:]

    def event(kind: EventKind, *named: object) -> Event:
        made = seeded.event(kind, START, " ".join(map(str, named)))
        return replace(made, key=digest_of(*named))

    for back in range(1, WINDOWS - 59):
        window = Window(START - back * DAY, START - (back - 1) * DAY)
        meta.watches.put(replace(newest, window=window, blocks=()), b"", event=event(EventKind.WINDOW_MEASURED, window.id))
    for place in range(MODELS):
        name = ModelName(f"other{place}")
        meta.deployments.put(replace(deployment, model=name, revision=1), event(EventKind.ROLLOUT_STARTED, name, "live"))
        meta.watches.put(replace(newest, model=name), b"", event=event(EventKind.WINDOW_MEASURED, name, "measured"))
    return event

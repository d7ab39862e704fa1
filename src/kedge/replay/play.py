"""Play a project's past through its loop as if it were live, at full speed.

    history  -> turn()                              the first model
    window   -> per tick: materialize, ask          real requests, features as known at the tick
             -> truths that became known            then watch(): measure, settle, decide, maybe turn()
    progress -> a note after each window            a killed replay starts again at its unfinished window

How a request is answered is handed in: over HTTP by a data plane, or in this process when policies are compared.
Whatever a killed window had already done is found again by its key; requests sent twice count once.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec
import polars as pl

from kedge.app import House
from kedge.domain.evaluation import Task
from kedge.domain.ids import ModelName, PredictionId, digest_of
from kedge.domain.monitoring import TruthBatch, Window
from kedge.domain.played import played_note
from kedge.domain.retraining import Retrain
from kedge.errors import ConfigError, KedgeError
from kedge.loop import turn, watch
from kedge.replay.clock import SetClock
from kedge.replay.timeline import Tick, Timeline


class Answering(Protocol):
    """Whoever answers requests in a replay."""

    def refresh(self) -> None:
        """Take up the newest deployment revision."""
        ...

    def ask(self, window: Window, ticks: list[Tick]) -> None:
        """Send the requests of one window, in time order, and return when all are answered."""
        ...


class Progress(msgspec.Struct, frozen=True):
    """What a replay has behind it: the project's digest, and how many windows are done."""

    project: str
    windows: int


class NoFirstModel(KedgeError):
    """The first model did not come out of the first turn, so nothing can be served."""

    code = "no_first_model"


def play(
    house: House,
    clock: SetClock,
    timeline: Timeline,
    answering: Answering,
    *,
    shown: Callable[[int, Window], None] = lambda done, window: None,
) -> None:
    """Play every window of a timeline that is not behind already. `shown` is told each window that is done."""
    spec, note = timeline.spec, played_note(timeline.spec.name)
    project = digest_of(spec, house.project.code().digest)
    progress = _progress(house, note, project)
    clock.set(timeline.start)
    release_first(house, timeline)
    answering.refresh()
    for done, window in enumerate(timeline.windows):
        if done < progress.windows:
            continue
        clock.set(window.start)
        answering.ask(window, list(timeline.ticks(window)))
        clock.set(window.end)
        tell_truths(house, timeline, after=window.start if done else timeline.begin, upto=window.end)
        watch(house, spec, window)
        answering.refresh()
        house.meta.notes.put(note, msgspec.json.encode(Progress(project, done + 1)))
        shown(done + 1, window)
    end = timeline.end
    clock.set(end)
    tell_truths(house, timeline, after=timeline.windows[-1].end, upto=end)


def release_first(house: House, timeline: Timeline) -> None:
    """Make the first model from history. Raises NoFirstModel with the reason if none passes the gate."""
    spec = timeline.spec
    because = Retrain("no model yet", f"policy:{spec.retraining.policy}")
    if (first := house.registry.champion(spec.name)) is not None:
        if not house.meta.watches.list(spec.name, limit=1):
            house.retraining.turned(spec, because, first)  # its turn may have been killed just before it noted its end
        return
    outcome = turn(house, spec, because)  # also where a deployment is there already: its turn was killed at the alias
    if outcome.released is None:
        reasons = outcome.failed
        if outcome.refused is not None:
            longer = "give it more history (a later replay.live_from), or change gate.checks in kedge.toml"
            reasons = f"{'; '.join(outcome.refused.reasons)}; {longer}"
        raise NoFirstModel(f"no model came out of the history of {spec.name!r} up to {timeline.start:%Y-%m-%d}: {reasons}")


def tell_truths(house: House, timeline: Timeline, *, after: datetime, upto: datetime) -> None:
    """Record the ground truth that became known in (after, upto], as the predictions it belongs to."""
    rows = timeline.known(after, upto)
    if len(rows) == 0:
        return
    labels = timeline.rows[timeline.spec.data.label][rows]
    told = labels.is_not_null().to_numpy()
    if timeline.spec.data.task is Task.CLASSIFICATION:
        told &= (labels <= 1).fill_null(value=False).to_numpy()  # a third value is no truth; validation names it
    ids = timeline.prediction_ids(rows)
    house.monitoring.record_truth(
        TruthBatch(
            model=ModelName(timeline.spec.name),
            known_at=upto,
            predictions=[PredictionId(name) for name, known in zip(ids, told, strict=True) if known],
            values=labels.cast(pl.Float64).to_numpy()[told].tolist(),
        )
    )


def _progress(house: House, note: str, project: str) -> Progress:
    raw = house.meta.notes.get(note)
    if raw is None:
        return Progress(project, 0)
    progress = msgspec.json.decode(raw, type=Progress)
    if progress.project != project:
        raise ConfigError(
            f"the store {house.settings.store} holds a replay of another state of this project (its code or kedge.toml "
            "has changed since); run with --fresh to start over, or with --store for another store"
        )
    return progress

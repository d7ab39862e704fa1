"""Rehearse other policies on the same past: the same turn and watch, in this process, with decisions kept in memory.

A rehearsal answers a window in one request, from features joined some windows ahead; a training whose content key is
known is not made again. Only its track is kept, as a note: a killed rehearsal is played again from the start.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from kedge.app import House, open_house, rehearse
from kedge.config import Settings
from kedge.domain.ids import digest_of
from kedge.domain.monitoring import PredictionBatch, Window
from kedge.domain.project import ProjectSpec
from kedge.domain.records import encode_batch
from kedge.replay.clock import SetClock
from kedge.replay.play import play
from kedge.replay.score import Track, track
from kedge.replay.timeline import Tick, Timeline, lay_out
from kedge.rollout.split import Columns, answer, entities_of, sticky_column

MODELS_KEPT = 64  # policies ask for the same versions one after another
ROWS_AHEAD = 50_000  # that a rehearsal joins at a time: enough that a join costs little, few enough to hold


class Rehearsal(msgspec.Struct, frozen=True):
    """A policy to rehearse: its name in the report, and the project as it would be."""

    name: str
    spec: ProjectSpec


def rehearsals(spec: ProjectSpec) -> tuple[Rehearsal, ...]:
    """List what a replay is compared with: never, monthly, and the project's policy at a tenth and ten times the price."""

    def policy(name: str, *, rule: str | None = None, times: float = 1.0) -> Rehearsal:
        price = msgspec.structs.replace(spec.retraining.price, retrain=spec.retraining.price.retrain * times)
        rules = msgspec.structs.replace(spec.retraining, policy=rule or spec.retraining.policy, price=price)
        return Rehearsal(name, msgspec.structs.replace(spec, retraining=rules))

    return (
        policy("never", rule="never"),
        policy("monthly", rule="every 28d"),
        policy("price x 0.1", times=0.1),
        policy("price x 10", times=10.0),
    )


def run(settings: Settings, spec: ProjectSpec, told: Callable[[str, int, int], None]) -> None:
    """Rehearse what has no track yet; `told` hears (policy, windows done, windows in all). Runs in a process of its own."""
    house = open_house(settings, spec, writer="rehearsal", clock=SetClock(datetime.now(UTC)), models_kept=MODELS_KEPT)
    try:
        for rehearsal in rehearsals(spec):
            note = note_of(house, rehearsal)
            if house.meta.notes.get(note) is None:
                timeline = lay_out(_by_window(rehearsal.spec), house.data.rows(spec))
                kept = _rehearse(house, rehearsal, timeline, told)
                house.meta.notes.put(note, msgspec.json.encode(kept))
    finally:
        house.close()


def found(house: House, rehearsal: Rehearsal) -> Track | None:
    """Read a rehearsal's track, if it has been played."""
    raw = house.meta.notes.get(note_of(house, rehearsal))
    return msgspec.json.decode(raw, type=Track) if raw is not None else None


def note_of(house: House, rehearsal: Rehearsal) -> str:
    """Name the note that keeps a rehearsal's track: of this project file and this code."""
    return f"rehearsal:{rehearsal.name}:{digest_of(rehearsal.spec, house.project.code().digest)[:16]}"


class InProcess:
    """Answers a replay's requests in this process, from features that it joins for some windows at a time."""

    def __init__(self, house: House, timeline: Timeline) -> None:
        self._house, self._timeline = house, timeline
        self._columns = house.features.service(timeline.spec).columns()
        self._first, self._served = 0, pl.DataFrame()

    def refresh(self) -> None:
        """Take up the newest deployment revision."""
        self._deployment = self._house.meta.deployments.find(self._timeline.spec.name)

    def ask(self, window: Window, ticks: list[Tick]) -> None:
        """Answer each tick by the deployment and log it."""
        house, spec, deployment = self._house, self._timeline.spec, self._deployment
        assert deployment is not None, "a replay asks after its first model"  # noqa: S101
        for tick in ticks:
            rows = self._rows(tick)
            sticky = sticky_column(spec, house.features.service(spec))
            entities = entities_of(tick.request, rows[sticky].to_list() if sticky else [None] * len(rows))
            features = {name: rows[name].to_list() for name in self._columns}
            answers = answer(deployment, features, entities=entities, score=self._score)
            batch = PredictionBatch(
                request=tick.request,
                model=spec.name,
                at=tick.at,
                revision=deployment.revision,
                service=house.features.service(spec).name,
                entities=entities,
                versions=answers.versions,
                features=features,
                as_of={},
                outputs=answers.outputs,
                batches=answers.batches,
                shadow=answers.shadow,
                errors=answers.errors,
            )
            house.predictions.append(encode_batch(batch))

    def _rows(self, tick: Tick) -> pl.DataFrame:
        """Give a tick's rows with their features."""
        if not self._first <= tick.first <= tick.last <= self._first + len(self._served):
            features, spec = self._house.features, self._timeline.spec
            ahead = self._timeline.rows[tick.first : max(tick.last, tick.first + ROWS_AHEAD)]
            self._served = pl.DataFrame()  # let go of the last rows before the next are joined
            self._served = features.joined(features.service(spec), ahead, time=spec.data.time)
            self._first = tick.first
        return self._served[tick.first - self._first : tick.last - self._first]

    def _score(self, version: int, columns: Columns) -> NDArray[np.float64]:
        house = self._house
        return house.evaluation.score(house.registry.get(self._timeline.spec.name, version), columns)


def _by_window(spec: ProjectSpec) -> ProjectSpec:
    """Make one request of each window."""
    return msgspec.structs.replace(spec, replay=msgspec.structs.replace(spec.replay, tick=spec.monitoring.window))


def _rehearse(house: House, rehearsal: Rehearsal, timeline: Timeline, told: Callable[[str, int, int], None]) -> Track:
    clock = SetClock(timeline.start)
    twin = rehearse(house, timeline.spec, clock=clock)
    shown = lambda done, _: told(rehearsal.name, done, len(timeline.windows))  # noqa: E731
    try:
        play(twin, clock, timeline, InProcess(twin, timeline), shown=shown)
        return track(twin, timeline.spec, policy=rehearsal.name)
    finally:
        twin.predictions.close()
        twin.truths.close()
        twin.meta.close()

"""The scene: everything the store says about one model, read once. All read models are pure functions of it.

Every change of state writes an event, so the newest event's serial tells whether a scene is still true.
"""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

import msgspec

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.data import DatasetVersion, ValidationReport
from kedge.domain.durations import span_of
from kedge.domain.features import ParityReport, parity_note
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import ANSWERS, Block, Drift, Health, Profile
from kedge.domain.played import played_note
from kedge.domain.predictions import TruthStanding
from kedge.domain.project import ProjectSpec
from kedge.domain.quality import Cohort
from kedge.domain.registry import CHAMPION, AliasMove, ModelVersion
from kedge.domain.retraining import LedgerEntry, TurnEnd
from kedge.domain.rollout import Deployment, RolloutLook, newest_trial, trial_of
from kedge.domain.tracking import Run
from kedge.ports import MetaStore
from kedge.retraining.ended import turn_end
from kedge.server.house import House
from kedge.server.reading.watchlist import Watchlist
from kedge.server.reading.windows import read_windows

_WINDOWS = 1200
_RUNS = 400


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One model's state as the store tells it. Sequences are oldest first, but `versions`, `alerts` and `runs`; `blocks`,
    `cohorts` and `truth` are gathered from all of the windows."""

    spec: ProjectSpec
    model: ModelName
    now: datetime
    serial: int
    dataset: DatasetVersion | None
    report: ValidationReport | None
    runs: tuple[Run, ...]
    versions: tuple[ModelVersion, ...]
    moves: tuple[AliasMove, ...]
    deployments: tuple[Deployment, ...]
    looks: tuple[RolloutLook, ...]
    healths: tuple[Health, ...]
    blocks: tuple[Block, ...]
    cohorts: dict[datetime, Cohort]
    truth: TruthStanding
    alerts: tuple[Alert, ...]
    entries: tuple[LedgerEntry, ...]
    ended: TurnEnd | None = None
    played: bool = False
    parity: ParityReport | None = None
    reference: Profile | None = None
    newest: Profile | None = None

    @property
    def health(self) -> Health | None:
        """Give the newest window."""
        return self.healths[-1] if self.healths else None

    @property
    def trial_looks(self) -> tuple[RolloutLook, ...]:
        """List the looks at the trial that runs; those at an earlier trial of the same version are not its own."""
        trial = trial_of(self.deployments)
        return tuple(look for look in self.looks if look.revision >= trial[0].revision) if trial else ()

    @property
    def drift(self) -> tuple[Drift, ...]:
        """List how far each feature moved in the newest window."""
        return tuple(one for one in self.health.drift if one.column != ANSWERS) if self.health else ()

    @property
    def answers(self) -> Drift | None:
        """Find how far the model's own answers moved in the newest window."""
        return next((one for one in self.health.drift if one.column == ANSWERS), None) if self.health else None

    @property
    def deployment(self) -> Deployment | None:
        """Give what is served now."""
        return self.deployments[-1] if self.deployments else None

    @property
    def entry(self) -> LedgerEntry | None:
        """Give the newest step of the ledger."""
        return self.entries[-1] if self.entries else None

    @property
    def stopped(self) -> Alert | None:
        """Find what stopped the turn that the newest step of the ledger ordered."""
        entry = self.entry
        if entry is None or entry.decision != "retrain":
            return None
        stops = (AlertKind.GATE_REFUSED, AlertKind.TRAINING_FAILED, AlertKind.DATA_INVALID)
        return next((one for one in self.alerts if one.kind in stops and one.raised_at >= entry.decided_at), None)

    @property
    def window(self) -> timedelta:
        """Give the length of a window."""
        return span_of(self.spec.monitoring.window)

    @property
    def metric(self) -> str:
        """Name the loss that the monitors measure: the gate's metric, or what stands in for it."""
        from kedge.evaluation.metrics import loss_name  # with numpy, which a server without a project does not need

        return loss_name(self.spec.gate.metric, self.spec.data.task)

    @property
    def missed(self) -> int:
        """Count the windows that should have closed since the newest one did."""
        if self.health is None:
            return 0
        return max(0, (self.now - self.health.window.end) // self.window)

    @property
    def promotions(self) -> tuple[AliasMove, ...]:
        """List the moves of the alias `champion`, oldest first."""
        return tuple(move for move in self.moves if move.alias == CHAMPION)

    def version(self, number: int | None) -> ModelVersion | None:
        """Find a version by its number."""
        return next((version for version in self.versions if version.number == number), None)

    def recent(self, *kinds: AlertKind) -> Alert | None:
        """Find the newest alert of these kinds that was raised in the newest window or since."""
        if self.health is None:
            return None
        return next(
            (alert for alert in self.alerts if alert.kind in kinds and alert.raised_at >= self.health.window.end), None
        )


class Scenes:
    """Reads scenes, and keeps the last few until something has happened."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.watchlist = Watchlist(house.meta)
        self._kept: OrderedDict[ModelName, Scene] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, model: ModelName | None = None) -> Scene:
        """Give the scene of a model (the project's own, unless named), with the time of now."""
        name = model or self._house.spec.name
        now = self._house.clock.now()
        newest = self._house.meta.events.list(limit=1)
        serial = newest[0][0] if newest else 0
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or kept.serial != serial:
            known = kept.healths if kept is not None else ()
            kept = _read(self._house.meta, self._house.spec, model=name, now=now, serial=serial, known=known)
            kept = _with_shapes(kept, self._house)
            with self._lock:
                self._kept[name] = kept
                while len(self._kept) > 8:
                    self._kept.popitem(last=False)
        return _in_its_time(msgspec.structs.replace(kept, now=now))


def _read(
    meta: MetaStore, spec: ProjectSpec, *, model: ModelName, now: datetime, serial: int, known: tuple[Health, ...]
) -> Scene:
    deployments = tuple(meta.deployments.list(model))
    trials = [each.revision for each in newest_trial(deployments)]
    dataset, parity = meta.datasets.find(spec.dataset), meta.notes.get(parity_note(model))
    entries = tuple(meta.ledgers.list(model))
    windows = read_windows(meta.watches, model, known=known, limit=_WINDOWS)
    return Scene(
        spec=spec,
        model=model,
        now=now,
        serial=serial,
        dataset=dataset,
        report=None if dataset is None else meta.datasets.find_report(dataset.digest),
        runs=tuple(meta.runs.list(model, limit=_RUNS)),
        versions=tuple(meta.models.list(model)),
        moves=tuple(meta.models.moves(model)),
        deployments=deployments,
        looks=tuple(meta.deployments.looks(model, live_since=trials[0] if trials else 0)),
        healths=windows.healths,
        blocks=windows.blocks,
        cohorts=windows.cohorts,
        truth=windows.truth,
        alerts=tuple(meta.watches.alerts(model)),
        entries=entries,
        ended=turn_end(meta, entries[-1] if entries else None),
        played=meta.notes.get(played_note(model)) is not None,
        parity=None if parity is None else msgspec.json.decode(parity, type=ParityReport),
    )


def _with_shapes(scene: Scene, house: House) -> Scene:
    """Add the profiles that the monitors keep: the champion's reference, and the newest window."""
    if scene.deployment is None:
        return scene
    normal = house.references.find(scene.model, scene.deployment.champion)
    newest = house.monitoring.newest_profile(scene.model)
    return msgspec.structs.replace(scene, reference=normal.profile if normal else None, newest=newest)


def _in_its_time(scene: Scene) -> Scene:
    """Look at a replay from its own now, the end of its newest window: its past is not late, it was played."""
    if scene.played and scene.health is not None and scene.missed >= 3:
        return msgspec.structs.replace(scene, now=scene.health.window.end)
    return msgspec.structs.replace(scene, played=False)

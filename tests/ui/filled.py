"""A house with the seeded store, whose rooms do just enough for the control plane."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace

from tests.ui.backtested import keep_backtest
from tests.ui.seed import DAY, END, FEATURES, MODEL, START, Year, spec

from kedge.data.catalogue import Catalogue
from kedge.domain.channels import Message
from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import ModelName, PredictionId, digest_of
from kedge.domain.lineage import Explanation, Link
from kedge.domain.monitoring import ColumnProfile, Profile, TruthBatch
from kedge.domain.predictions import PredictionRules
from kedge.domain.rollout import Deployment
from kedge.domain.tracking import Usage
from kedge.errors import Conflict, NotFound
from kedge.monitoring.telling.desk import AlertDesk
from kedge.monitoring.truth.ground_truth import GroundTruth
from kedge.ports import MetaStore
from kedge.registry.catalog import Catalog
from kedge.retraining.asking import RetrainRequests
from kedge.rollout.hand import ByHand
from kedge.server.comparing import comparison_job
from kedge.server.diffing import diff_job, profile_job
from kedge.settings import UPLOAD_LIMIT
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.log_folder import LogFolder
from kedge.storage.prediction_rows import PredictionRows
from kedge.storage.sql import open_store
from kedge.storage.truth_rows import TruthRows
from kedge.tracking.artifacts import Artifacts
from kedge.tracking.logging import Logging
from kedge.tracking.telling import Telling

PREDICTION = PredictionId("flights-2013-12-27T19.3")


class StoppedClock:
    """Tells one time."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


class Ringing:
    """A channel that takes every message, unless it is given a fault."""

    def __init__(self) -> None:
        self.fault: Exception | None = None

    def send(self, message: Message) -> str:
        if self.fault is not None:
            raise self.fault
        return "200 ok"


def explanation(prediction: PredictionId, *, hostile: str = "", broken: bool = False) -> Explanation:
    def link(title: str, summary: str, check: str, *, verified: bool | None = True, **facts: Fact) -> Link:
        return Link(
            title=title, summary=f"{summary}{hostile}", verified=verified, check=check, digest=digest_of(title), facts=facts
        )

    values: dict[str, Fact] = {f"{name}{hostile}": 62.0 - 3.5 * index for index, name in enumerate(FEATURES)}
    values |= {"weather__dew": 31.5, "weather as of": "2013-12-27T18:00:00+00:00"}
    return Explanation(
        prediction=prediction,
        model=MODEL,
        version=5,
        at=datetime(2013, 12, 27, 19, tzinfo=UTC),
        output=0.7134251,
        links=(
            link(
                "answer",
                "Version 5 of flights answered 0.713425 for 2013-12-27 19:00 UTC.",
                "The record in the prediction log is whole.",
                output=0.7134251,
                row=3,
            ),
            link(
                "route",
                "Revision 9 gave this row to version 5: the entity's place 0.4127 is outside the challenger's share 0.25.",
                "The split was computed again and gives the same version.",
                position=0.4127,
            ),
            link(
                "features",
                "19 values from delay, 2 of its views looked up.",
                "They are the model's inputs in their order, and none is from after the answer's time.",
                **values,
            ),
            link(
                "model version",
                "Version 5 of flights, trained on what was known at 2013-09-15 00:00.",
                "Its files were read, and are bit for bit what was registered.",
                format="sklearn",
            ),
            link(
                "gate verdict",
                "The gate said passed: 7 of 7 findings passed.",
                "The verdict is the one that the registration's event names.",
            ),
            link(
                "approver",
                "policy:canary made version 5 champion: three steps without harm.",
                "The history of the alias, 4 moves, is unbroken.",
                serial=4,
            ),
            link(
                "run",
                f"Run {digest_of('run', 5, MODEL)[:16]} (refit v5) trained it in 1,710 CPU seconds.",
                "The run's model is the registered one.",
                run=digest_of("run", 5, MODEL)[:16],
            ),
            link("code", "Commit 3d0c8f1, nothing changed.", "Its digest is that of the run's event.", verified=not broken),
            link(
                "environment",
                "Python 3.11.9 with 64 packages.",
                "Its digest is that of the run's event.",
                verified=False if broken else None,
            ),
            link(
                "dataset version",
                "Version 5 of flights: 336,780 rows.",
                "All 5 parts were read, and are bit for bit what was committed.",
                dataset="flights",
            ),
        ),
    )


def profile(moved: float, *, hostile: str = "") -> Profile:
    """Profile every feature in the reference's twenty quantile bins; the first ones have moved."""
    inner = [NormalDist().inv_cdf(index / 20) for index in range(1, 20)]
    columns = []
    for index, name in enumerate(FEATURES):
        now = NormalDist(moved * (0.9, 0.6, 0.2, -0.3, 0.2)[index % 5] / (1 + index // 5), 1.0)
        borders = [0.0, *(now.cdf(edge) for edge in inner), 1.0]
        counts = tuple(round(1000 * (high - low)) for low, high in pairwise(borders))
        columns.append(
            ColumnProfile(
                name=f"{name}{hostile}", counts=counts, missing=2, rows=1000, edges=tuple(40 + 15 * edge for edge in inner)
            )
        )
    return Profile(columns=tuple(columns), rows=1000)


class FilledHouse:
    """A house with a filled store, whose rooms do just enough for the control plane."""

    def __init__(
        self, meta: MetaStore, *, at: datetime = END + timedelta(hours=5), hostile: str = "", token: str = ""
    ) -> None:
        self.meta, self.spec, self.clock = meta, spec(), StoppedClock(at)
        self.settings = SimpleNamespace(
            token=token, project=".", store="sqlite://", url="sqlite://", upload_limit=UPLOAD_LIMIT
        )
        self.blobs = MemoryBlobs()
        self.artifacts = Artifacts(
            files=meta.files, runs=meta.runs, models=meta.logged_models, blobs=self.blobs, clock=self.clock
        )
        self.logging = Logging(meta=meta, clock=self.clock)
        self.telling = Telling(logging=self.logging, artifacts=self.artifacts)
        self.catalog = Catalog(
            registered=meta.registered,
            models=meta.models,
            logged=meta.logged_models,
            deployments=meta.deployments,
            files=self.artifacts,
            clock=self.clock,
        )
        self.channel = Ringing()
        self.alert_desk = AlertDesk(
            alerts=meta.alerts,
            models=meta.models.names,
            channels=lambda: {"ops": self.channel},
            clock=self.clock,
            project=self.spec.name,
        )
        self.asking = RetrainRequests(triggers=meta.triggers, datasets=meta.datasets, notes=meta.notes, clock=self.clock)
        self.bound = ""
        self.retraining = SimpleNamespace(held_by=lambda spec: self.bound)
        self.catalogue = Catalogue(meta=meta, blobs=self.blobs, clock=self.clock)
        self.profiled: Callable[..., str] = lambda where, named: "its part is gone"
        self.diffed: Callable[..., bytes | str] = lambda *named: "v1 holds files and v2 table"
        self.compared: Callable[..., bytes | str] = lambda *named: "its part is gone"
        registry = SimpleNamespace(history=meta.models.moves, require_serial=lambda model, serial: None)
        self.by_hand = ByHand(catalog=self.catalog, registry=registry, rollout=self, deployments=meta.deployments)
        self.truths: list[TruthBatch] = []
        none = LogFolder(Path("/nonexistent"), PredictionRows(), rules=PredictionRules())
        self.ground_truth = GroundTruth(
            predictions=none.archive,
            truths=LogFolder(Path("/nonexistent"), TruthRows(), rules=PredictionRules()).archive,
            journal=none.journal("nobody"),
            watches=meta.watches,
            secret=lambda: b"key",
            home=self.spec.name,
        )
        self.hostile, self.broken = hostile, False
        self.lineage = self.monitoring = self.references = self.rollout = self
        self.replayed: Callable[[], dict[str, object]] = lambda: {
            "again": 0.7134251,
            "logged": 0.7134251,
            "equal": True,
            "batch_rows": 31,
        }
        self.jobs = SimpleNamespace(call=self._call)

    def why(self, prediction: PredictionId) -> Explanation:
        if not prediction.startswith("flights-"):
            raise NotFound(f"no prediction is named {prediction!r}; its id stands in the answer that carried it")
        return explanation(prediction, hostile=self.hostile, broken=self.broken)

    def _call(self, function: Callable[..., object], *args: object, seconds: float) -> tuple[object, Usage]:
        jobs = {diff_job: self.diffed, profile_job: self.profiled, comparison_job: self.compared}
        return (jobs[function](*args) if function in jobs else self.replayed()), Usage()

    def record_truth(self, batch: TruthBatch) -> None:
        self.truths.append(batch)

    def find(self, model: ModelName, number: int) -> SimpleNamespace | None:
        return SimpleNamespace(profile=profile(0.0, hostile=self.hostile)) if number else None

    def newest_profile(self, model: ModelName) -> Profile | None:
        return profile(1.0, hostile=self.hostile)

    def promote(self, model: ModelName, number: int, *, actor: str, reason: str) -> Deployment:
        return self._put(model, champion=number, actor=actor, reason=reason)

    def roll_back(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        found = self.meta.deployments.find(model)
        if found is None or found.challenger is None:
            raise Conflict("nothing is on trial")
        return self._put(model, champion=found.champion, actor=actor, reason=reason)

    def _put(self, model: ModelName, *, champion: int, actor: str, reason: str) -> Deployment:
        found = self.meta.deployments.find(model)
        assert found is not None
        changed = Deployment(
            model=model, revision=found.revision + 1, champion=champion, since=self.clock.now(), actor=actor, reason=reason
        )
        event = Event(
            key=digest_of("by hand", changed),
            kind=EventKind.MODEL_PROMOTED,
            at=changed.since,
            subject=model,
            actor=actor,
            message=f"v{champion} has all traffic: {reason}",
        )
        self.meta.deployments.put(changed, event)
        return changed


@cache
def year() -> MetaStore:
    """Give the written year, once a session; for reading only."""
    meta = open_store("sqlite://")
    Year(meta).write()
    keep_backtest(meta, MODEL, start=START, at=END - DAY)
    return meta


def fortnight() -> MetaStore:
    """Write the first two weeks only, anew; v2 is on trial with 5 % at their end."""
    meta = open_store("sqlite://")
    seeded = Year(meta)
    seeded.write(START + 14 * DAY)
    trial = Deployment(
        model=MODEL,
        revision=2,
        champion=1,
        challenger=2,
        share=0.05,
        salt="c",
        since=START + 13 * DAY,
        actor="policy:canary",
        reason="regret",
    )
    meta.deployments.put(trial, seeded.event(EventKind.ROLLOUT_STARTED, trial.since, "v2 on trial with 5 % of the traffic"))
    return meta

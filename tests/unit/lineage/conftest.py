"""A small house with one model: a dataset, a run, a gated version, two deployments and a request of three rows."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.unit.memory_journal import MemoryJournal

from kedge.domain.data import Column, ColumnType, DatasetVersion, Part, Schema
from kedge.domain.evaluation import Finding, Outcome, Task, conclude
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DEFAULT_EXPERIMENT, DatasetName, Digest, ModelName, RequestId, RunId, digest_bytes, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.monitoring import PredictionBatch
from kedge.domain.registry import CHAMPION, AliasMove, ModelVersion, Signature
from kedge.domain.rollout import Deployment, position
from kedge.domain.tracking import Code, Environment, Run, RunStatus, Usage
from kedge.errors import NotFound, StoreBroken
from kedge.lineage.explain import Lineage
from kedge.storage.sql import open_store

MODEL = ModelName("delay")
START = datetime(2013, 3, 1, tzinfo=UTC)
ANSWERED = START + timedelta(days=3, hours=11)
SALT = "salt of revision 2"
SHARE = 0.5
CODE, ENVIRONMENT = digest_of("code"), digest_of("environment")


class Blobs:
    def __init__(self) -> None:
        self.kept: dict[str, object] = {}
        self.broken: set[str] = set()

    def put(self, data: bytes) -> Digest:
        self.kept[digest_bytes(data)] = data
        return digest_bytes(data)

    def put_tree(self, files) -> Digest:
        name = digest_of({file: digest_bytes(data) for file, data in files.items()})
        self.kept[name] = files
        return name

    def get(self, digest):
        if digest in self.broken:
            raise StoreBroken(f"blob {digest[:8]} has changed")
        if digest not in self.kept:
            raise NotFound(f"blob {digest[:8]} is gone")
        return self.kept[digest]

    get_tree = get


def event(kind: EventKind, *parts: object, edges: tuple[Edge, ...] = ()) -> Event:
    return Event(
        key=digest_of(kind, *parts), kind=kind, at=START, subject=MODEL, actor="test", message=kind.value, edges=edges
    )


class House:
    """Everything that an explanation reads; each part can be broken by a test."""

    def __init__(self) -> None:
        self.store, self.blobs, self.journal = open_store("sqlite://"), Blobs(), MemoryJournal()
        self.lineage = Lineage(
            events=self.store.events,
            runs=self.store.runs,
            models=self.store.models,
            registered=self.store.registered,
            deployments=self.store.deployments,
            datasets=self.store.datasets,
            blobs=self.blobs,
            predictions=self.journal,
        )
        self.dataset = self.commit()
        self.run = self.train()
        self.version = self.register(1)
        self.trial = self.register(2)
        self.point(1, previous=None, serial=1)
        self.deploy(revision=1, champion=1)
        self.deploy(revision=2, champion=1, challenger=2, share=SHARE)

    def commit(self) -> DatasetVersion:
        parts = tuple(
            Part(digest=self.blobs.put(data), rows=5, bytes=len(data), after=None, upto=START) for data in (b"a", b"b")
        )
        version = DatasetVersion(
            dataset=DatasetName("delay"),
            number=1,
            digest=digest_of("dataset"),
            schema=Schema(()),
            parts=parts,
            rows=10,
            order="known_at__",
            created_at=START,
        )
        self.store.datasets.add(version, event(EventKind.DATASET_COMMITTED))
        return version

    def train(self) -> Run:
        run = Run(
            id=RunId("run1"),
            experiment=DEFAULT_EXPERIMENT,
            name="train.py:model",
            content_key=digest_of("key"),
            status=RunStatus.FINISHED,
            code=Code(commit="abc123", dirty=True, digest=CODE),
            environment=Environment(python="3.11.4", platform="linux", packages=("numpy 2", "x 1"), digest=ENVIRONMENT),
            inputs=(self.dataset.digest,),
            started_at=START,
            params={"seed": "0", "rows": "all"},
            metrics={"training_loss": 0.5},
            artifacts={"model": self.blobs.put_tree({"model.skops": b"trees"})},
            usage=Usage(cpu_seconds=2.5),
        )
        made = Node(NodeKind.RUN, run.id)
        edges = (
            Edge(made, Node(NodeKind.DATASET_VERSION, self.dataset.digest), "training data"),
            Edge(made, Node(NodeKind.CODE, CODE), "code"),
            Edge(made, Node(NodeKind.ENVIRONMENT, ENVIRONMENT), "environment"),
            Edge(made, Node(NodeKind.PARAMS, digest_of(run.params)), "params"),
        )
        self.store.runs.put(run, event(EventKind.RUN_FINISHED, edges=edges))
        return run

    def register(self, number: int) -> ModelVersion:
        findings = (
            Finding(check="beats baseline", outcome=Outcome.PASSED, reason="It beats the baseline."),
            Finding(check="roc_auc", outcome=Outcome.PASSED, reason="0.7 is at least 0.6.", group="EWR"),
        )
        version = ModelVersion(
            model=MODEL,
            number=number,
            digest=self.run.artifacts["model"],
            format="skops",
            run=self.run.id,
            candidate_run=RunId("run0"),
            signature=Signature(
                inputs=(Column(name="wind", type=ColumnType.FLOAT), Column(name="carrier", type=ColumnType.STRING)),
                task=Task.CLASSIFICATION,
                output="late",
                positive="1",
            ),
            service="delay_features",
            verdict=conclude(findings),
            datasets=(self.dataset.digest,),
            example=Digest("none"),
            trained_upto=START,
            registered_at=START,
        )
        verdict = self.blobs.put(msgspec.json.encode(version.verdict))
        made = Node(NodeKind.MODEL_VERSION, f"{MODEL}@{number}")
        edges = (
            Edge(made, Node(NodeKind.RUN, self.run.id), "refit"),
            Edge(made, Node(NodeKind.VERDICT, verdict), "verdict"),
        )
        self.store.models.add(version, event(EventKind.MODEL_REGISTERED, number, edges=edges))
        return version

    def point(self, number: int | None, *, previous: int | None, serial: int, days: int = 1, alias=CHAMPION) -> None:
        move = AliasMove(
            model=MODEL,
            alias=alias,
            number=number,
            previous=previous,
            serial=serial,
            moved_at=START + timedelta(days=days),
            actor="policy:ledger",
            reason="regret 41 of 40",
        )
        self.store.models.move(move, event(EventKind.ALIAS_MOVED, alias, serial))

    def deploy(self, *, revision: int, champion: int, challenger: int | None = None, **more) -> None:
        deployment = Deployment(
            model=MODEL,
            revision=revision,
            champion=champion,
            challenger=challenger,
            since=START + timedelta(days=revision),
            actor="ann@example.org",
            reason="a trial",
            salt=SALT if challenger else "",
            **more,
        )
        self.store.deployments.put(deployment, event(EventKind.ROLLOUT_STARTED, revision))

    def answer(self, **changes) -> PredictionBatch:
        batch = msgspec.structs.replace(BATCH, **changes)
        self.journal.append(msgspec.msgpack.encode(batch))
        return batch

    def why(self, row: int = 0, request: str = "flights-2013-03-04T11"):
        return self.lineage.why(f"{request}.{row}")

    def link(self, title: str, row: int = 0):
        return next(link for link in self.why(row).links if link.title == title)


def entity(*, challenger: bool) -> str:
    """Name an entity on the wanted side of the split."""
    return next(str(i) for i in range(100) if (position(SALT, str(i)) < SHARE) is challenger)


CHAMPIONS, CHALLENGERS = entity(challenger=False), entity(challenger=True)
BATCH = PredictionBatch(
    request=RequestId("flights-2013-03-04T11"),
    model=MODEL,
    at=ANSWERED,
    revision=2,
    service="delay_features",
    entities=[CHAMPIONS, CHALLENGERS, CHAMPIONS],
    versions=[1, 2, 1],
    features={"wind": [1.5, None, 3.5], "carrier": ["AA", "UA", "DL"]},
    as_of={"weather": [ANSWERED - timedelta(hours=1), None, ANSWERED]},
    outputs=[0.25, 0.5, 0.75],
    batches=[(1, [0, 2]), (2, [1])],
)


@pytest.fixture
def house():
    made = House()
    yield made
    made.store.close()

"""Who uses a dataset: what the lineage graph, clients and registered versions say, together."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from tests.contract import metastore as a

from kedge.data.catalogue import Catalogue
from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.registry import Signature
from kedge.domain.tracking import DatasetInput
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.sql import SqlStore


class _Now:
    def now(self) -> object:
        return a.NOW


def test_runs_models_and_features_of_a_dataset(store: SqlStore) -> None:
    room = Catalogue(meta=store, blobs=MemoryBlobs(), clock=_Now())  # type: ignore[arg-type]
    versions = [a.dataset(number, "flights.planes") for number in (1, 2)]
    for version in versions:
        store.datasets.add(version, a.event("add", version.number))
    loops, clients, gone = (a.run(key) for key in ("loop", "client", "gone"))
    for at, run in enumerate((loops, clients, gone)):
        store.runs.put(msgspec.structs.replace(run, started_at=a.NOW + timedelta(minutes=at)), a.event("run", run.id))
    digest = versions[1].digest
    store.events.append(a.event("trained", edges=(a.edge(loops.id, digest), a.edge(gone.id, digest))))
    store.runs.add_inputs(
        clients.id,
        datasets=[
            DatasetInput(
                name="flights.planes",
                digest=versions[0].digest[:8],
                source_type="local",
                source="x",
                tags={"mlflow.data.context": "testing"},
            )
        ],
    )
    model = a.version(1)
    inputs = (
        Column(name="planes__carrier", type=ColumnType.STRING),
        Column(name="planes__gone", type=ColumnType.FLOAT),
        Column(name="hour", type=ColumnType.FLOAT),
    )
    signature = Signature(inputs=inputs, task=Task.CLASSIFICATION, output="late")
    store.models.add(msgspec.structs.replace(model, run=loops.id, signature=signature), a.event("model"))
    made = Node(NodeKind.MODEL_VERSION, f"{model.model}@1")
    store.events.append(a.event("registered", edges=(Edge(made, Node(NodeKind.DATASET_VERSION, digest), "training data"),)))
    uses = room.uses(room.get("flights.planes"))
    assert [(use.id, use.versions, use.role) for use in uses.runs] == [
        (gone.id, (2,), "training data"),
        (clients.id, (1,), "testing"),
        (loops.id, (2,), "training data"),
    ]
    assert [(use.id, use.versions) for use in uses.models] == [(f"{model.model}@1", (2,))]
    assert [(use.id, use.role) for use in uses.features] == [("planes__carrier", f"{model.model}@1")]
    assert uses.count == 5
    only = room.uses(room.get("flights.planes"), version=versions[0])
    assert [use.id for use in only.runs] == [clients.id]
    assert only.models == ()

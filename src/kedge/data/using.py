"""Who uses a dataset: runs that read it, models made of it, features looked up in it.

The loop's runs and versions are in the lineage graph; a client says by name what its runs read; versions of registered
models follow from their runs; features from what those versions accept.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from kedge.domain.catalogue import DatasetUse, DatasetUses, UseKind
from kedge.domain.data import DatasetVersion
from kedge.domain.ids import DatasetName, ModelName, RunId
from kedge.domain.lineage import Node, NodeKind
from kedge.domain.overview import RunGlance
from kedge.domain.tracking import Lifecycle
from kedge.ports import MetaStore

Key = TypeVar("Key")

_MOST_EDGES, _MOST = 2000, 100


class _Reading(NamedTuple):
    """What a run or a version of a model read: versions of the dataset by number, and as what."""

    versions: tuple[int, ...]
    role: str


def uses_of(meta: MetaStore, name: DatasetName, *, versions: Sequence[DatasetVersion], whole: bool) -> DatasetUses:
    """Say who uses these versions of a dataset; with `whole` also the runs that named it, and none of its versions."""
    numbers = {str(version.digest): version.number for version in versions}
    nodes = [Node(NodeKind.DATASET_VERSION, digest) for digest in numbers]
    edges = meta.events.uses_of(nodes, limit=_MOST_EDGES)
    runs: dict[RunId, _Reading] = {}
    models: dict[tuple[ModelName, int], _Reading] = {}
    for edge in edges:
        number = numbers[edge.source.id]
        if edge.made.kind is NodeKind.RUN:
            _add(runs, RunId(edge.made.id), numbers=[number], role=edge.role)
        elif edge.made.kind is NodeKind.MODEL_VERSION and (key := _model_key(edge.made.id)):
            _add(models, key, numbers=[number], role=edge.role)
    for run, digest, context in meta.overviews.readers(name, limit=_MOST_EDGES):
        read = [number for known, number in numbers.items() if len(digest) >= 6 and known.startswith(digest)]
        if read or whole:
            _add(runs, run, numbers=read, role=context)
    shown = [one for one in meta.overviews.rows(list(runs), ()) if one.lifecycle is Lifecycle.ACTIVE]
    shown.sort(key=lambda one: (one.started_at, one.id), reverse=True)
    for one in shown[:_MOST]:
        for key in meta.overviews.versions_of(one.id):
            _add(models, key, numbers=runs[one.id].versions, role=f"made by {one.name or one.id}")
    made = _models(meta, models)
    return DatasetUses(
        runs=tuple(_run(one, runs[one.id]) for one in shown[:_MOST]),
        models=made[:_MOST],
        features=_features(meta, name, versions=versions, models=models),
        more=len(edges) == _MOST_EDGES or len(shown) > _MOST or len(made) > _MOST,
    )


def _add(found: dict[Key, _Reading], key: Key, *, numbers: Sequence[int], role: str) -> None:
    kept = found.get(key, _Reading((), role))
    found[key] = _Reading(tuple(sorted({*kept.versions, *numbers}, reverse=True)), kept.role or role)


def _model_key(node: str) -> tuple[ModelName, int] | None:
    """Read `MODEL@NUMBER`."""
    model, _, number = node.rpartition("@")
    return (ModelName(model), int(number)) if model and number.isdecimal() else None


def _run(one: RunGlance, read: _Reading) -> DatasetUse:
    return DatasetUse(
        kind=UseKind.RUN, id=one.id, name=one.name or one.id, role=read.role, versions=read.versions, at=one.started_at
    )


def _models(meta: MetaStore, models: Mapping[tuple[ModelName, int], _Reading]) -> tuple[DatasetUse, ...]:
    found = meta.registered.find_versions(list(models))
    uses = [
        DatasetUse(
            kind=UseKind.MODEL,
            id=f"{one.model}@{one.number}",
            name=f"{one.model} v{one.number}",
            role=models[one.model, one.number].role,
            versions=models[one.model, one.number].versions,
            at=one.created_at,
        )
        for one in found
    ]
    return tuple(sorted(uses, key=lambda use: (use.at, use.id), reverse=True))


def _features(
    meta: MetaStore,
    name: DatasetName,
    *,
    versions: Sequence[DatasetVersion],
    models: Mapping[tuple[ModelName, int], _Reading],
) -> tuple[DatasetUse, ...]:
    """List the inputs of each model's newest version that come from this dataset: features of the view that it holds
    (`PROJECT.VIEW`), or columns that a request brings."""
    if not versions:
        return ()
    columns, view = set(versions[-1].schema.names()), name.rpartition(".")[2] if "." in name else ""
    newest: dict[ModelName, int] = {}
    for model, number in models:
        newest[model] = max(number, newest.get(model, 0))
    uses: dict[str, DatasetUse] = {}
    for model, number in sorted(newest.items()):
        version = meta.models.find(model, number)
        for column in version.signature.inputs if version else ():
            owner, _, feature = column.name.partition("__")
            if (view and owner == view and feature in columns) or (not view and column.name in columns):
                uses.setdefault(
                    column.name,
                    DatasetUse(
                        kind=UseKind.FEATURE,
                        id=column.name,
                        name=column.name,
                        role=f"{model}@{number}",
                        versions=models[model, number].versions,
                        at=version.registered_at if version else None,
                    ),
                )
    return tuple(uses.values())

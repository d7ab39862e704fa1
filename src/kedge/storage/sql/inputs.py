"""What runs read and made: datasets, each described once in its experiment, and logged models."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kedge.domain.ids import LoggedModelId
from kedge.domain.tracking import CONTEXT_TAG, DatasetInput, ModelOutput
from kedge.storage.sql.session import Session, places

_FIND = "SELECT id FROM input_datasets WHERE experiment = ? AND name = ? AND digest = ?"
_ADD = (
    "INSERT INTO input_datasets (experiment, name, digest, source_type, source, schema, profile)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_LINK = "INSERT INTO run_datasets (run, dataset, context, tags) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_OF_RUNS = (
    "SELECT r.run, r.tags, d.name, d.digest, d.source_type, d.source, d.schema, d.profile"
    " FROM run_datasets r JOIN input_datasets d ON d.id = r.dataset WHERE r.run IN"
)

_tags = msgspec.json.Decoder(dict[str, str])


def write_datasets(session: Session, run: str, *, experiment: str, datasets: Sequence[DatasetInput]) -> None:
    """Link datasets to a run; one that the experiment knows by name and digest stays as it was first described."""
    for one in datasets:
        key = (experiment, one.name, one.digest)
        if (row := session.row(_FIND, *key)) is None:
            session.run(_ADD, *key, one.source_type, one.source, one.schema, one.profile)
            row = session.row(_FIND, *key)
        assert row is not None  # noqa: S101  # written above, or by whoever was first
        session.run(_LINK, run, row[0], one.tags.get(CONTEXT_TAG, ""), msgspec.json.encode(one.tags).decode())


def write_models(session: Session, run: str, *, direction: str, models: Sequence[ModelOutput]) -> None:
    """Link logged models to a run: "in" for those it read, "out" for those it made."""
    session.many(
        "INSERT INTO run_models (run, direction, model, step) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(run, direction, one.model, one.step) for one in models],
    )


def datasets_of(session: Session, runs: Sequence[str]) -> dict[str, tuple[DatasetInput, ...]]:
    """Read the datasets of runs, by run."""
    found: dict[str, tuple[DatasetInput, ...]] = {}
    if not runs:
        return found
    rows = session.rows(f"{_OF_RUNS} ({places(runs)}) ORDER BY r.run, r.dataset", *runs)
    for run, tags, name, digest, source_type, source, schema, profile in rows:
        one = DatasetInput(
            name=name,
            digest=digest,
            source_type=source_type,
            source=source,
            schema=schema,
            profile=profile,
            tags=_tags.decode(tags),
        )
        found[run] = (*found.get(run, ()), one)
    return found


def models_of(
    session: Session, runs: Sequence[str]
) -> tuple[dict[str, tuple[ModelOutput, ...]], dict[str, tuple[ModelOutput, ...]]]:
    """Read the logged models that runs read, and those they made, by run."""
    found: dict[str, dict[str, tuple[ModelOutput, ...]]] = {"in": {}, "out": {}}
    if runs:
        rows = session.rows(
            f"SELECT run, direction, model, step FROM run_models WHERE run IN ({places(runs)}) ORDER BY run, step, model",
            *runs,
        )
        for run, direction, model, step in rows:
            one = ModelOutput(model=LoggedModelId(model), step=step)
            found[direction][run] = (*found[direction].get(run, ()), one)
    return found["in"], found["out"]

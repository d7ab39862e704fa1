"""The prediction log for notebooks and scripts: `kedge.predictions(...)` on the store of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kedge.domain.ids import ModelName
from kedge.settings import project_root, settings

if TYPE_CHECKING:
    import polars as pl


def predictions(
    model: str | None = None,
    *,
    version: int | None = None,
    variant: str | None = None,
    entity: str | None = None,
    id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    where: str | None = None,
    columns: Sequence[str] = (),
    limit: int | None = None,
    store: str | None = None,
) -> pl.DataFrame:
    """Read predictions as a Polars frame, newest first: a row each, with their ground truth where it came.

    Times without a zone are UTC; `where` is an SQL condition on columns. Raises NotFound where there is no store, and
    RequestInvalid for a condition or a column that cannot be asked.
    """
    from kedge.app import open_house
    from kedge.config import bare_project, project_or_none
    from kedge.monitoring.answer_log import PredictionQuery

    root = project_root(Path())
    spec = project_or_none(root)
    house = open_house(
        settings(root, store=store), bare_project(root) if spec is None else spec, writer="script", make=False
    )
    try:
        return house.answers.select(
            PredictionQuery(
                model=ModelName(model) if model is not None else None,
                version=version,
                variant=variant,
                entity=entity,
                prediction=id,
                since=_utc(since),
                until=_utc(until),
                where=where,
                columns=tuple(columns),
                limit=limit,
            )
        )
    finally:
        house.close()


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

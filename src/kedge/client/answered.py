"""The prediction log for notebooks and scripts: `kedge.predictions` and `kedge.ground_truth` on the store of this folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedge.domain.durations import span_of
from kedge.domain.ids import ModelName
from kedge.domain.predictions import TruthReport
from kedge.errors import RequestInvalid
from kedge.monitoring.truth.horizon import WITHIN, horizon_of
from kedge.settings import project_root, settings

if TYPE_CHECKING:
    import polars as pl

    from kedge.app import House


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
    from kedge.monitoring.answer_log import PredictionQuery

    with _opened(store) as house:
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


def ground_truth(
    facts: Any,
    *,
    id: str = "id",
    entity: str = "",
    time: str = "time",
    value: str = "value",
    known_at: str | datetime | None = None,
    within: str = WITHIN,
    model: str | None = None,
    store: str | None = None,
) -> TruthReport:
    """Record what came true: a table (pandas, Polars, Arrow, columns by name), a row for each fact.

    The other arguments name its columns: `id` of predictions, or, with `entity` named, entities and `time`s, each about the
    newest prediction of its entity at or before the time and not older than `within`. `known_at` names a column, too, or is
    one time for all (now). Without `model` each prediction by id is its model's. Facts that are in the log are not
    recorded again; the report says what became of all. Raises RequestInvalid for a column that is not there, and where it
    is unclear which model is meant.
    """
    from kedge.monitoring.truth.ground_truth import facts_of

    with _opened(store) as house:
        import polars as pl

        table = pl.DataFrame(facts) if isinstance(facts, dict) else house.tables.frame(facts, "the facts")
        now = _utc(known_at) if isinstance(known_at, datetime) else house.clock.now()
        column = known_at if isinstance(known_at, str) else ""
        found = facts_of(table, now=now or house.clock.now(), id=id, entity=entity, time=time, value=value, known_at=column)
        return house.ground_truth.record(
            ModelName(model) if model is not None else None,
            found,
            horizon=horizon_of(house.spec),
            within=_span(within),
        )


@contextmanager
def _opened(store: str | None) -> Iterator[House]:
    from kedge.app import open_house
    from kedge.config import bare_project, project_or_none

    root = project_root(Path())
    spec = project_or_none(root)
    house = open_house(
        settings(root, store=store), bare_project(root) if spec is None else spec, writer="script", make=False
    )
    try:
        yield house
    finally:
        house.close()


def _span(text: str) -> timedelta:
    try:
        return span_of(text)
    except ValueError as error:
        raise RequestInvalid(f"within: {error}") from None


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

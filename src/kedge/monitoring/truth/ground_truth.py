"""Ground truth as it arrives: by prediction, or by entity and time; looked up, counted once, and kept by prediction.

    entity and time -> the newest prediction of that entity at or before the time, no older than `within`
Of predictions at one time the one that was logged last. Facts are kept under their prediction's id, so that every reader
joins by id alone; whether an entity is logged plain or hashed makes no difference. A fact is recorded once: the first
one about a prediction stays.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar

import polars as pl

from kedge.domain.ids import ModelName, PredictionId
from kedge.domain.monitoring import TruthBatch
from kedge.domain.predictions import TruthReport, TruthStanding, hashed, standing_of
from kedge.domain.records import encode_truth
from kedge.errors import RequestInvalid
from kedge.ports import Archive, Journal, Watches

BATCH = 10_000
"""How many facts stand in one record."""
EXAMPLES = 10
_TRIES = 3
_UTC = pl.Datetime("us", "UTC")
_Found = TypeVar("_Found")


class GroundTruth:
    """Takes facts."""

    def __init__(
        self,
        *,
        predictions: Archive,
        truths: Archive,
        journal: Journal,
        watches: Watches,
        secret: Callable[[], bytes],
        home: ModelName,
    ) -> None:
        self._predictions, self._truths, self._journal = predictions, truths, journal
        self._watches, self._secret, self._home = watches, secret, home

    def tell(
        self,
        model: ModelName | None,
        values: Sequence[float],
        *,
        known_at: datetime,
        predictions: Sequence[str] = (),
        entities: Sequence[str] = (),
        times: Sequence[datetime] = (),
        horizon: timedelta,
        within: timedelta,
    ) -> TruthReport:
        """Look facts up and record those that are new: a value for each prediction, or for each entity and time."""
        about = {"entity": entities, "time": times} if entities else {"id": predictions}
        table = pl.DataFrame({**about, "value": values}, strict=False)
        return self.record(
            model, facts_of(table, now=known_at, entity="entity" if entities else ""), horizon=horizon, within=within
        )

    def record(self, model: ModelName | None, facts: pl.DataFrame, *, horizon: timedelta, within: timedelta) -> TruthReport:
        """Look facts up and record those that are new. Columns: `value` (float64) and `known_at` (UTC), and either `id` or
        `entity` (text) and `time` (UTC). `horizon` is how long monitoring waits for a label. Without a model each prediction
        by id is its model's, and entities are those of `only()`.

        Raises RequestInvalid for other columns, and where it is unclear which model is meant; StoreBroken where the log
        cannot be read. What was recorded before stays.
        """
        by_entity = "entity" in facts.columns
        if {*facts.columns} != ({"entity", "time", "value", "known_at"} if by_entity else {"id", "value", "known_at"}):
            raise RequestInvalid("facts have value, known_at, and either id or entity and time")
        if model is None and not by_entity:
            shares = _steadily(lambda: self._by_model(facts))
            return _together([self.record(each, some, horizon=horizon, within=within) for each, some in shares])
        whose = self.only() if model is None else model
        judged = _steadily(lambda: self._judged(whose, facts.with_row_index("row"), horizon=horizon, within=within))
        recorded = judged.filter(pl.col("why").is_in(["", "late"]))
        self._keep(whose, recorded)
        counts = dict(judged.group_by("why").len().iter_rows())
        refused = judged.filter(~pl.col("why").is_in(["", "late"])).sort("row").head(EXAMPLES)
        return TruthReport(
            recorded=len(recorded),
            **{why: counts.get(why, 0) for why in ("repeated", "contradicting", "unknown", "invalid", "late")},
            examples=tuple(f"{name} is {why}" for name, why in refused.select("name", "why").iter_rows()),
        )

    def standing(self, model: ModelName) -> TruthStanding:
        """Tell how a model's ground truth stands, over the windows that were measured."""
        return standing_of(model, self._watches.list(model, limit=1_000_000))

    def only(self) -> ModelName:
        """Give the model that is meant where none is named: the project's, if it answered or none did, else the only
        one that is in the log. Raises RequestInvalid where there are several."""
        names = _steadily(self._models)
        if self._home in names or not names:
            return self._home
        return _one(names, "several models answered")

    # ---- whose ----

    def _models(self) -> list[str]:
        tables = [table.select("model") for table in self._predictions.index()]
        known = pl.concat([pl.LazyFrame(schema={"model": pl.String}), *tables])
        return known.unique().collect()["model"].sort().to_list()

    def _by_model(self, facts: pl.DataFrame) -> list[tuple[ModelName, pl.DataFrame]]:
        """Share facts by prediction out: to the project's model its own and what names nothing, to others theirs."""
        wanted = pl.col("id").is_in(facts["id"].drop_nulls().unique().implode())
        known = _read(self._predictions.index(), wanted, columns=("id", "model")).select("id", "model").unique()
        mine = known.filter(pl.col("model") == self._home)
        others = known.join(mine, on="id", how="anti")
        twice = others.filter(pl.col("id").is_duplicated()).sort("id", "model")
        if len(twice):
            one = twice["id"][0]
            _one(twice.filter(pl.col("id") == one)["model"].to_list(), f"several models answered {one}")
        shared = facts.join(others, on="id", how="left", maintain_order="left")
        groups = shared.with_columns(pl.col("model").fill_null(self._home)).partition_by(
            "model", as_dict=True, include_key=False, maintain_order=True
        )
        return [(ModelName(str(name)), some) for (name,), some in groups.items()] or [(self._home, facts)]

    # ---- judging ----

    def _judged(self, model: ModelName, facts: pl.DataFrame, *, horizon: timedelta, within: timedelta) -> pl.DataFrame:
        """Say of each fact which prediction it is about, and why it is not recorded ("" where it is)."""
        if "entity" in facts.columns:
            name = pl.format("{} at {}", "entity", pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%SZ"))
            found = self._by_entity(model, facts.with_columns(name=name), within=within)
        else:
            found = self._by_id(model, facts.with_columns(name="id"))
        told = self._told(model, found["id"].drop_nulls().unique())
        value = pl.col("value")
        valid = value.is_not_null() & value.is_finite()
        first, first_row = value.filter(valid).first().over("id"), pl.col("row").filter(valid).first().over("id")
        return found.join(told, on="id", how="left").with_columns(
            why=pl.when(~valid)
            .then(pl.lit("invalid"))
            .when(pl.col("answered_at").is_null())
            .then(pl.lit("unknown"))
            .when(pl.col("told").is_not_null())
            .then(pl.when(pl.col("told") == value).then(pl.lit("repeated")).otherwise(pl.lit("contradicting")))
            .when(pl.col("row") != first_row)
            .then(pl.when(first == value).then(pl.lit("repeated")).otherwise(pl.lit("contradicting")))
            .when(pl.col("known_at") > pl.col("answered_at") + horizon)
            .then(pl.lit("late"))
            .otherwise(pl.lit(""))
        )

    def _by_id(self, model: ModelName, facts: pl.DataFrame) -> pl.DataFrame:
        wanted = (pl.col("model") == model) & pl.col("id").is_in(facts["id"].drop_nulls().unique().implode())
        known = _first(_read(self._predictions.index(), wanted, columns=("id", "answered_at")))
        return facts.join(known.select("id", "answered_at"), on="id", how="left", maintain_order="left")

    def _by_entity(self, model: ModelName, facts: pl.DataFrame, *, within: timedelta) -> pl.DataFrame:
        """Find the newest prediction of each fact's entity at or before its time, no older than `within`."""
        names = facts["entity"].drop_nulls().unique().to_list()
        key = self._secret()
        plain = {name: name for name in names} | {hashed(key, name): name for name in names}
        wanted = (pl.col("model") == model) & pl.col("entity").is_in([*plain])
        times = facts["time"].drop_nulls()
        if len(times):
            wanted &= pl.col("answered_at").is_between(times.min() - within, times.max())  # type: ignore[operator] # times
        columns = ("id", "entity", "answered_at")
        known = _first(_read(self._predictions.index(), wanted, columns=columns)).with_columns(
            pl.col("entity").replace_strict(plain, default=None, return_dtype=pl.String)
        )
        known = known.sort("answered_at", "segment", "segment_end", "place", maintain_order=True)
        usable = facts.drop_nulls(["entity", "time"]).sort("time")
        found = usable.join_asof(
            known.select("id", "entity", "answered_at"),
            left_on="time",
            right_on="answered_at",
            by="entity",
            strategy="backward",
            tolerance=within,
            coalesce=False,
            check_sortedness=False,  # both are sorted just above
        )
        rest = facts.filter(pl.col("entity").is_null() | pl.col("time").is_null())
        return pl.concat([found, rest], how="diagonal").with_columns(pl.col("id").cast(pl.String)).sort("row")

    def _told(self, model: ModelName, ids: pl.Series) -> pl.DataFrame:
        """Read what is known of predictions: the first fact about each."""
        wanted = (pl.col("model") == model) & pl.col("id").is_in(ids.implode())
        known = _first(_read(self._truths.index(), wanted, columns=("id", "value")))
        return known.select("id", told=pl.col("value").cast(pl.Float64))

    def _keep(self, model: ModelName, facts: pl.DataFrame) -> None:
        payloads = [
            encode_truth(
                TruthBatch(
                    model=model,
                    known_at=known_at,
                    predictions=[PredictionId(name) for name in some["id"]],
                    values=some["value"].to_list(),
                )
            )
            for (known_at,), group in facts.sort("row").group_by("known_at", maintain_order=True)
            if isinstance(known_at, datetime)
            for some in group.iter_slices(BATCH)
        ]
        if payloads:
            self._journal.append_all(payloads)


def _steadily(read: Callable[[], _Found]) -> _Found:
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError):  # compacted or erased between the listing and the reading
            return read()
    return read()


def _one(names: Sequence[str], why: str) -> ModelName:
    if len(names) > 1:
        raise RequestInvalid(f'{why}: {", ".join(names)}; name one (--model, or "model" in the request)')
    return ModelName(names[0])


def _together(reports: Sequence[TruthReport]) -> TruthReport:
    counts = {
        name: sum(getattr(report, name) for report in reports)
        for name in ("recorded", "repeated", "contradicting", "unknown", "invalid", "late")
    }
    return TruthReport(**counts, examples=tuple(each for report in reports for each in report.examples)[:EXAMPLES])


def _read(tables: Iterable[pl.LazyFrame], wanted: pl.Expr, *, columns: tuple[str, ...]) -> pl.DataFrame:
    places = ("segment", "segment_end", "place")
    found = [table.filter(wanted).select(*columns, *places) for table in tables]
    types: dict[str, pl.DataType | type[pl.DataType]] = {
        "value": pl.Float64,
        "answered_at": _UTC,
        "segment_end": pl.Int64,
        "place": pl.Int32,
    }
    empty = pl.DataFrame(schema={name: types.get(name, pl.String()) for name in (*columns, *places)})
    return pl.concat([empty, *pl.collect_all(found)])


def _first(rows: pl.DataFrame) -> pl.DataFrame:
    """Keep of each id what was logged first."""
    return rows.sort("segment", "segment_end", "place").unique("id", keep="first", maintain_order=True)


def facts_of(
    table: pl.DataFrame,
    *,
    now: datetime,
    id: str = "id",
    entity: str = "",
    time: str = "time",
    value: str = "value",
    known_at: str = "",
) -> pl.DataFrame:
    """Make facts of a table whose columns have other names or types. With `entity` named they are by entity and time, else
    by prediction. Without `known_at` they became known now. Times without a zone are UTC; what is no number or no time is
    null, and told when it is recorded. Raises RequestInvalid for a column that the table does not have."""
    wanted = {"entity": entity, "time": time, "value": value} if entity else {"id": id, "value": value}
    if known_at:
        wanted["known_at"] = known_at
    if missing := [name for name in wanted.values() if name not in table.columns]:
        raise RequestInvalid(f"the facts have no column {', '.join(missing)}; they have {', '.join(table.columns)}")
    columns = {name: table[source] for name, source in wanted.items()}
    made = {name: column.cast(pl.String) for name, column in columns.items() if name in ("id", "entity")}
    made |= {name: _times(column) for name, column in columns.items() if name in ("time", "known_at")}
    facts = pl.DataFrame({**made, "value": columns["value"].cast(pl.Float64, strict=False)})
    if known_at:
        return facts.with_columns(pl.col("known_at").fill_null(now))
    return facts.with_columns(known_at=pl.lit(now, dtype=_UTC))


def _times(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        column = column.str.to_datetime("%+", strict=False, time_zone="UTC").fill_null(
            column.str.to_datetime(strict=False, time_unit="us").dt.replace_time_zone("UTC")
        )
    column = column.cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None)), strict=False)
    return column.dt.replace_time_zone("UTC") if column.dtype.time_zone is None else column.dt.convert_time_zone("UTC")  # type: ignore[attr-defined] # a column of times

"""The prediction log as people use it: asked, compacted, kept for as long as the project says, erased by entity.

A prediction is a row. The first record of a request is the one that counts, and the first fact about a prediction.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from kedge.domain.durations import span_of
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.domain.monitoring import COPIED, PredictionBatch
from kedge.domain.predictions import Compacted, ErasedAnswers, PredictionRules, Stored, hashed
from kedge.domain.records import decode_batch, decode_truth, encode_batch, encode_truth
from kedge.domain.rows import taken
from kedge.errors import RequestInvalid
from kedge.ports import Archive, Clock, Events, Strike
from kedge.rollout.forgetting import TrialRows

ACTOR = "kedge"
OWN = ("segment", "segment_end", "place", "rest", "record", "missing")
"""Columns that only the log itself needs."""
_TRIES = 3


class PredictionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the log. Times are UTC, `since` included, `until` not; `where` is an SQL condition on columns."""

    model: ModelName | None = None
    version: int | None = None
    variant: str | None = None
    entity: str | None = None
    prediction: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    where: str | None = None
    columns: tuple[str, ...] = ()
    limit: int | None = None


class AnswerLog:
    """Asks and keeps the prediction log."""

    def __init__(
        self,
        *,
        predictions: Archive,
        truths: Archive,
        trials: TrialRows,
        events: Events,
        secret: Callable[[], bytes],
        clock: Clock,
    ) -> None:
        self._predictions, self._truths, self._trials, self._events = predictions, truths, trials, events
        self._secret, self._clock = secret, clock

    def select(self, question: PredictionQuery) -> pl.DataFrame:
        """Read predictions, newest first, one row each, with their ground truth (`truth`, `truth_known_at`) where it came.

        Raises RequestInvalid for a condition or a column that cannot be asked; StoreBroken for a damaged file.
        """
        for left in reversed(range(_TRIES)):
            try:
                return self._selected(question)
            except FileNotFoundError:  # compacted, merged or erased between the listing and the reading
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def stored(self) -> tuple[Stored, Stored]:
        """Tell what there is on disk: predictions, ground truth."""
        return self._predictions.stored(), self._truths.stored()

    def compact(self, rules: PredictionRules, *, most_bytes: int | None = None) -> Compacted:
        """Make Parquet of closed segments, and delete what is older than the rules say. Raises Conflict."""
        done = self._predictions.compact(most_bytes=most_bytes)
        facts = self._truths.compact(most_bytes=most_bytes)
        if rules.keep:
            self._forget(self._clock.now() - span_of(rules.keep))
        return Compacted(
            segments=done.segments + facts.segments,
            records=done.records + facts.records,
            bytes=done.bytes + facts.bytes,
            merged=done.merged + facts.merged,
            stored_bytes=done.stored_bytes + facts.stored_bytes,
            damaged=(*done.damaged, *facts.damaged),
            more=done.more or facts.more,
        )

    def erase(self, entity: str, *, actor: str, reason: str, model: ModelName | None = None) -> ErasedAnswers:
        """Erase an entity's predictions, the facts about them and what trials keep of them: the bytes are gone, the event
        has nothing of them.

        The entity may be logged as it is or hashed; both are erased. A prediction whose fact is in a segment that is still
        being written stays, to be erased with it by the next run. Raises RequestInvalid without a reason, Conflict.
        """
        if not reason.strip():
            raise RequestInvalid("an erasure needs a reason, which is kept; give it with --reason")
        names = self._names(entity)
        gone: set[str] = set()
        named = pl.col("entity").is_in(sorted(names)) | pl.col("id").is_in(sorted(names))
        # facts first: only their predictions say whose they are, and an erasure that stops in between is run again
        whose = _ids_in(self._predictions, named if model is None else named & (pl.col("model") == model))
        about = pl.col("id").is_in(sorted(whose))
        facts = self._truths.strike(_facts_without(whose, model=model), only=about)
        told = _ids_in(self._truths, about) if facts.left and not facts.damaged else set()
        answers = self._predictions.strike(_without(names, model, gone=gone, told=told), only=named)
        # by the entity as well: a row that is no longer in the log may still be kept as evidence
        mine = names | whose
        looks = self._trials.forget(lambda row, _: row.entity in names or row.prediction in mine, model=model)
        done = ErasedAnswers(
            predictions=len(gone),
            facts=facts.rows,
            looks=looks,
            left=(*answers.left, *answers.damaged, *facts.left, *facts.damaged),
        )
        self._tell(
            EventKind.PREDICTIONS_ERASED,
            f"{done.predictions} predictions of one entity and {done.facts} facts about it were erased: {reason}",
            actor=actor,
            model=model,
            facts={
                "predictions": done.predictions,
                "facts": done.facts,
                "looks": done.looks,
                "left": len(done.left),
                "reason": reason,
            },
        )
        return done

    # ---- within ----

    def _names(self, entity: str) -> set[str]:
        """Give what an entity may be logged as: itself, or its hash where it is personal."""
        return {entity, hashed(self._secret(), entity) or entity}

    def _selected(self, question: PredictionQuery) -> pl.DataFrame:
        wanted = _wanted(question, () if question.entity is None else sorted(self._names(question.entity)))
        tables = [table.filter(*wanted) for table in self._predictions.tables()]
        frame = _together(tables)
        if frame is None:
            frame = pl.DataFrame(schema={"id": pl.String, "model": pl.String, "answered_at": pl.Datetime("us", "UTC")})
        else:
            frame = _with_shadows(frame.sort("segment", "segment_end", "place"))
        frame = self._with_truths(frame)
        if question.where:
            frame = _where(frame, question.where)
        frame = frame.sort("answered_at", "id", descending=[True, False])
        if question.limit is not None:
            frame = frame.head(question.limit)
        left = [name for name in frame.columns if name not in OWN]
        if unknown := [name for name in question.columns if name not in left]:
            raise RequestInvalid(f"the log has no column {', '.join(unknown)}; it has {', '.join(left)}")
        return frame.select(question.columns or left)

    def _with_truths(self, frame: pl.DataFrame) -> pl.DataFrame:
        ids = frame["id"].unique().implode()
        facts = [table.filter(pl.col("id").is_in(ids)) for table in self._truths.tables()] if len(frame) else []
        known = _together(facts)
        if known is None:
            return frame.with_columns(truth=pl.lit(None, pl.Float64), truth_known_at=pl.lit(None, pl.Datetime("us", "UTC")))
        first = known.sort("segment", "segment_end", "place").unique("id", keep="first", maintain_order=True)
        return frame.join(
            first.select("id", truth="value", truth_known_at="known_at"), on="id", how="left", maintain_order="left"
        )

    def _forget(self, moment: datetime) -> None:
        answers = self._predictions.forget_before(moment, _not_before(moment))
        facts = self._truths.forget_before(
            moment, lambda payload: payload if decode_truth(payload).known_at >= moment else None
        )
        self._trials.forget(lambda _, look: look is not None and look.looked_at < moment)
        if answers.rows or facts.rows:
            self._tell(
                EventKind.PREDICTIONS_FORGOTTEN,
                f"{answers.rows} predictions from before {moment:%Y-%m-%d %H:%M} and {facts.rows} facts were deleted",
                actor=ACTOR,
                model=None,
                facts={"predictions": answers.rows, "facts": facts.rows, "before": moment.isoformat()},
            )

    def _tell(
        self, kind: EventKind, message: str, *, actor: str, model: ModelName | None, facts: dict[str, str | int]
    ) -> None:
        now = self._clock.now()
        self._events.append(
            Event(
                key=digest_of(kind.value, model, message, now),
                kind=kind,
                at=now,
                subject=model or "predictions",
                actor=actor,
                message=message,
                facts={**facts},
            )
        )


def _wanted(question: PredictionQuery, entities: Sequence[str]) -> list[pl.Expr]:
    """Say what is asked for by the columns that every table has."""
    wanted = [pl.col("version").is_not_null()]  # a gap is no prediction
    if question.model is not None:
        wanted.append(pl.col("model") == question.model)
    if question.version is not None:
        wanted.append(pl.col("version") == question.version)
    if question.variant is not None:
        wanted.append(pl.col("variant") == question.variant)
    if question.entity is not None:
        wanted.append(pl.col("entity").is_in(entities))
    if question.prediction is not None:
        wanted.append(pl.col("id") == question.prediction)
    if question.since is not None:
        wanted.append(pl.col("answered_at") >= question.since)
    if question.until is not None:
        wanted.append(pl.col("answered_at") < question.until)
    return wanted


def _together(tables: Sequence[pl.LazyFrame]) -> pl.DataFrame | None:
    """Read tables and put them under one another; None where no row is left."""
    frames = [frame for frame in pl.collect_all(tables) if len(frame)]
    return pl.concat(frames, how="diagonal_relaxed") if frames else None


def _with_shadows(frame: pl.DataFrame) -> pl.DataFrame:
    """Give each prediction once, its first record, with what a version in shadow answered to it in another."""
    again = pl.col("asked_variant").eq_missing(COPIED) if "asked_variant" in frame.columns else pl.lit(value=False)
    first = frame.filter(~again).unique("id", keep="first", maintain_order=True)
    copies = frame.filter(again).unique("id", keep="first", maintain_order=True)
    if copies.is_empty():
        return first
    told = [name for name in frame.columns if name.startswith("shadow_") or name in ("error", "seconds_challenger")]
    joined = first.join(copies.select("id", *told), on="id", how="left", suffix=COPIED, maintain_order="left")
    return joined.with_columns(pl.coalesce(name, f"{name}{COPIED}").alias(name) for name in told).select(frame.columns)


def _where(frame: pl.DataFrame, condition: str) -> pl.DataFrame:
    try:
        return frame.filter(pl.sql_expr(condition))
    except PolarsError as error:
        said = str(error).splitlines()[0]
        raise RequestInvalid(
            f"--where {condition!r} cannot be asked of the log: {said};"
            " write SQL such as feature_distance > 500 AND output < 0.5"
        ) from None


def _ids_in(log: Archive, wanted: pl.Expr) -> set[str]:
    """Read which predictions a log has something about."""
    for left in reversed(range(_TRIES)):
        try:
            found = pl.collect_all([table.filter(wanted).select("id") for table in log.tables()])
            return {name for frame in found for name in frame["id"]}
        except FileNotFoundError:  # compacted or erased between the listing and the reading
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _without(names: set[str], model: ModelName | None, *, gone: set[str], told: set[str]) -> Strike:
    """Take an entity's rows out of requests, but those that facts are `told` about; what goes is noted in `gone`."""

    def strike(payload: bytes) -> bytes | None:
        batch = decode_batch(payload)
        count = len(batch.versions)
        if not count or (model is not None and batch.model != model):
            return payload
        left = [
            place for place in range(count) if batch.entity(place) not in names or told.intersection(_ids(batch, {place}))
        ]
        if len(left) == count:
            return payload
        gone.update(_ids(batch, {*range(count)} - {*left}))
        return encode_batch(taken(batch, left)) if left else None

    return strike


def _ids(batch: PredictionBatch, places: set[int]) -> list[str]:
    return [f"{batch.request}.{batch.rows[place] if batch.rows else place}" for place in places]


def _facts_without(gone: set[str], *, model: ModelName | None) -> Strike:
    """Take the facts about predictions out of records."""

    def strike(payload: bytes) -> bytes | None:
        batch = decode_truth(payload)
        if model is not None and batch.model != model:
            return payload
        left = [place for place in range(len(batch.values)) if batch.predictions[place] not in gone]
        if len(left) == len(batch.values):
            return payload
        if not left:
            return None
        return encode_truth(
            msgspec.structs.replace(
                batch,
                predictions=[batch.predictions[place] for place in left],
                values=[batch.values[place] for place in left],
            )
        )

    return strike


def _not_before(moment: datetime) -> Strike:
    return lambda payload: payload if decode_batch(payload).at >= moment else None

"""Parity: the features that were served against what the point-in-time join gives now, row by row and value by value.

    prediction log -> entity keys, request columns, time -> join -> the same values?

They differ where training and serving have come apart: the online store lagged behind its source, a row became known
later than its `created` says, a source was rewritten, `derive` is not the function it was.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import heappop, heappush
from math import isclose, isnan

import msgspec
import polars as pl

from kedge.domain.events import Event, EventKind
from kedge.domain.features import FeatureService, Mismatch, ParityReport, parity_note
from kedge.domain.ids import ModelName, RequestId, digest_of, prediction_id
from kedge.domain.monitoring import PredictionBatch, Value
from kedge.domain.project import ProjectSpec
from kedge.domain.records import decode_answers, decode_batch
from kedge.errors import NotFound, StoreBroken
from kedge.features.room import Features
from kedge.ports import Clock, Events, Journal, Notes

ACTOR = "kedge"
ROWS = 10_000
EXAMPLES = 20


class Parity:
    """Replays the prediction log through the join."""

    def __init__(self, *, features: Features, predictions: Journal, notes: Notes, events: Events, clock: Clock) -> None:
        self._features, self._predictions = features, predictions
        self._notes, self._events, self._clock = notes, events, clock

    def check(self, spec: ProjectSpec, *, since: datetime | None = None, limit: int = ROWS) -> ParityReport:
        """Compare the newest served rows, whole requests of `limit` rows or just over, none from before `since`; keep
        the report. Raises SourceFailed where a view's source cannot be read, StoreBroken for a broken record."""
        service = self._features.service(spec)
        columns = tuple(name for name in service.columns() if name not in service.request)
        report = ParityReport(columns=columns)
        if columns:
            report = self._compared(service, self._newest(spec.name, since, limit=limit), report=report)
        self._keep(spec.name, report)
        return report

    def compare_batches(self, spec: ProjectSpec, batches: Sequence[PredictionBatch]) -> ParityReport:
        """Compare what these requests were served with what the join gives; nothing is kept. Raises SourceFailed."""
        service = self._features.service(spec)
        columns = tuple(name for name in service.columns() if name not in service.request)
        report = ParityReport(columns=columns)
        return self._compared(service, batches, report=report) if columns else report

    def newest(self, model: ModelName) -> ParityReport | None:
        """Find the report of the newest check."""
        raw = self._notes.get(parity_note(model))
        return msgspec.json.decode(raw, type=ParityReport) if raw is not None else None

    def _newest(self, model: ModelName, since: datetime | None, *, limit: int) -> list[PredictionBatch]:
        """Read the newest requests, by time; each once. The log is walked whole, and no more than asked is kept."""
        kept: list[tuple[datetime, RequestId, int, bytes]] = []
        seen: set[RequestId] = set()
        rows = 0
        try:
            for _, payload in self._predictions.scan(since=since):
                answers = decode_answers(payload)
                late = since is not None and answers.at < since
                if late or answers.model != model or answers.request in seen:
                    continue
                seen.add(answers.request)
                heappush(kept, (answers.at, answers.request, len(answers.versions), payload))
                rows += len(answers.versions)
                while rows - kept[0][2] >= limit:
                    rows -= heappop(kept)[2]
            return [decode_batch(payload) for _, _, _, payload in sorted(kept)]
        except msgspec.DecodeError as error:
            raise StoreBroken(
                f"a record of the prediction log cannot be read ({error}); restore it from a backup"
            ) from error

    def _compared(
        self, service: FeatureService, batches: Sequence[PredictionBatch], *, report: ParityReport
    ) -> ParityReport:
        reads = tuple(dict.fromkeys((*service.entities(), *service.request)))
        same = [batch for batch in batches if (*batch.features,) == service.columns()]
        read = [batch for batch in same if {*reads} <= batch.inputs.keys() | batch.features.keys()]
        usable = [batch for batch in read if not {*batch.hidden} & {*reads, *service.columns()}]
        counts = {"older": _rows(batches) - _rows(same), "keyless": _rows(same) - _rows(usable)}
        if not usable:
            return msgspec.structs.replace(report, **counts)
        brought = {name: _stacked(usable, name) for name in reads}
        at = [batch.at for batch in usable for _ in batch.versions]
        joined = self._features.rejoined(service, brought, at=at)
        served = {name: _stacked(usable, name) for name in report.columns}
        names = [prediction_id(batch.request, row) for batch in usable for row in range(len(batch.versions))]
        found = compare(served, joined, columns=report.columns)
        mismatches = tuple(
            Mismatch(prediction=names[row], at=at[row], column=column, served=one, joined=other)
            for row, column, one, other in found[:EXAMPLES]
        )
        return msgspec.structs.replace(
            report,
            **counts,
            rows=len(at),
            values=len(at) * len(report.columns),
            mismatched=len(found),
            skewed=len({row for row, *_ in found}),
            by_column=dict(Counter(column for _, column, _, _ in found)),
            mismatches=mismatches,
            first_at=at[0],
            last_at=at[-1],
        )

    def _keep(self, model: ModelName, report: ParityReport) -> None:
        """Keep a report as the newest one, and note that it was made; the same again is no second event."""
        self._notes.put(parity_note(model), msgspec.json.encode(report))
        self._events.append(
            Event(
                key=digest_of("parity-checked", model, report),
                kind=EventKind.PARITY_CHECKED,
                at=self._clock.now(),
                subject=model,
                actor=ACTOR,
                message=f"Features: {report}",
                facts={"rows": report.rows, "values": report.values, "mismatched": report.mismatched},
            )
        )


def compare(
    served: Mapping[str, Sequence[Value]], joined: pl.DataFrame, *, columns: Sequence[str], tolerance: float = 0.0
) -> list[tuple[int, str, Value, Value]]:
    """List (row, column, served, joined) where served rows and the same rows joined again differ; both in one order.

    `tolerance` is the greatest relative difference of two numbers that counts as none. NaN and null are the same: missing.
    Raises NotFound for a column that one side lacks, or another number of rows.
    """
    differences: list[tuple[int, str, Value, Value]] = []
    for name in columns:
        if name not in served or name not in joined.columns:
            raise NotFound(f"column {name!r} is not in the {'joined' if name in served else 'served'} rows")
        values = joined[name].to_list()
        if len(values) != len(served[name]):
            raise NotFound(f"{len(served[name])} rows were served, but {len(values)} were joined")
        differences += [
            (row, name, one, other)
            for row, (one, other) in enumerate(zip(served[name], values, strict=True))
            if not same(one, other, tolerance=tolerance)
        ]
    return sorted(differences, key=lambda difference: difference[0])


def same(one: Value, other: Value, *, tolerance: float = 0.0) -> bool:
    """Tell whether two values are one: numbers within the tolerance, missing and missing, else equal."""
    if _missing(one) or _missing(other):
        return _missing(one) and _missing(other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or isclose(one, other, rel_tol=tolerance, abs_tol=0.0)
    return one == other


def _missing(value: Value) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def _rows(batches: Sequence[PredictionBatch]) -> int:
    return sum(len(batch.versions) for batch in batches)


def _stacked(batches: Sequence[PredictionBatch], name: str) -> list[Value]:
    """Put a column of several requests end to end, whether the model reads it or not."""
    return [value for batch in batches for value in (batch.features if name in batch.features else batch.inputs)[name]]

"""Sides of a comparison that are no table: a window of the prediction log, and what a version was judged on.

    predictions:MODEL@FROM..TO    features as they were served, times in UTC; either end may be left out
    reference:MODEL@vN            a sample of the gate's rows of version N, at most 5,000, which it had not seen
The sample is kept as the model reads it: numbers in single precision, a category that training never had as missing. So
numbers beside it are read in that precision, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl

from kedge.domain.comparing import REFERENCE, is_logged, logged_parts
from kedge.domain.data import ColumnType
from kedge.domain.ids import ModelName
from kedge.domain.registry import Signature
from kedge.errors import NotFound, RequestInvalid
from kedge.monitoring.answer_log import AnswerLog, PredictionQuery
from kedge.monitoring.comparing.room import MOST_ROWS, NamedRows
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.references import References
from kedge.registry.room import Registry

ANSWER = "prediction"
_FEATURE = "feature_"


class LoggedSides:
    """Reads such sides."""

    def __init__(self, *, answers: AnswerLog, references: References, registry: Registry) -> None:
        self._answers, self._references, self._registry = answers, references, registry

    def read(self, names: Sequence[str]) -> list[str | NamedRows]:
        """Read those of two sides that are logged, under their features' own names; and where both are, what was answered.

        Raises RequestInvalid, NotFound.
        """
        both = all(map(is_logged, names))
        read = [self.rows(name, answers=both) if is_logged(name) else name for name in names]
        if not any(name.startswith(REFERENCE) for name in names):
            return read
        return [one._replace(rows=_single(one.rows)) if isinstance(one, NamedRows) else one for one in read]

    def rows(self, side: str, *, answers: bool) -> NamedRows:
        """Read one such side; with `answers` what was answered, too. Raises RequestInvalid, NotFound."""
        return self._reference(side, answers=answers) if side.startswith(REFERENCE) else self._window(side, answers=answers)

    def _window(self, side: str, *, answers: bool) -> NamedRows:
        first, _, last = logged_parts(side)[1].partition("..")
        question = PredictionQuery(
            model=ModelName(logged_parts(side)[0]), since=_time(first, side), until=_time(last, side), limit=MOST_ROWS
        )
        rows = self._answers.select(question)
        if not len(rows):
            raise RequestInvalid(f"{side}: the log has no predictions of this model and time; see: kedge predictions list")
        named = {name: name.removeprefix(_FEATURE) for name in rows.columns if name.startswith(_FEATURE)}
        if answers:
            named["output"] = ANSWER
        return NamedRows(side, rows.select(list(named)).rename(named))

    def _reference(self, side: str, *, answers: bool) -> NamedRows:
        number = logged_parts(side)[1].removeprefix("v")
        if not number.isdecimal():
            raise RequestInvalid(f"{side}: write such as reference:MODEL@v3")
        model = ModelName(logged_parts(side)[0])
        version = self._registry.find(model, int(number))
        kept = self._references.at_gate(model, int(number)) if version is not None else None
        if version is None or kept is None or not kept.columns:
            raise NotFound(
                f"{side}: no rows of the gate are kept of that version; they are of versions that the loop makes. List them "
                f"with: kedge models versions {model}"
            )
        rows = _decoded(version.signature, kept)
        return NamedRows(side, rows if answers else rows.drop(ANSWER, strict=False))


def _decoded(signature: Signature, kept: AtGate) -> pl.DataFrame:
    """Write the sample of the gate's rows as columns, with what was answered to them."""
    matrix, _ = kept.sample()
    inputs = {column.name: column for column in signature.inputs}
    columns = {}
    for place, name in enumerate(kept.columns):
        values, column = matrix[:, place], inputs[name]
        missing = np.isnan(values)
        whole = np.where(missing, 0, values)
        if column.type is ColumnType.STRING:
            texts = pl.Series(name, column.categories, pl.String).gather(whole.astype(np.uint32))
            columns[name] = texts.zip_with(pl.Series(~missing), pl.Series([None], dtype=pl.String))
        elif column.type is ColumnType.BOOLEAN:
            columns[name] = pl.Series(name, [None if gone else bool(one) for gone, one in zip(missing, whole, strict=True)])
        else:
            columns[name] = pl.Series(name, values.astype(np.float64)).fill_nan(None)
    if kept.row_answers:
        columns[ANSWER] = pl.Series(ANSWER, np.frombuffer(kept.row_answers, dtype="<f8"))
    return pl.DataFrame(columns)


def _single(rows: pl.DataFrame) -> pl.DataFrame:
    """Read numbers in single precision, as the sample of the gate keeps them."""
    return rows.with_columns(pl.selectors.float().exclude(ANSWER).cast(pl.Float32).cast(pl.Float64))


def _time(text: str, side: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise RequestInvalid(
            f"{side}: {text!r} is no time; write such as predictions:MODEL@2026-05-01..2026-05-08"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)

"""Parity of a compiled form with its original, before it may answer anybody: over rows chosen to make it fail.

    example rows      as they were registered, in one batch and each alone
    threshold rows    example rows with one value at a threshold of the model's own trees, just below it, just above it:
                      by one step of float64, and by one of float32 where the original rounds to that
    missing           example rows with one value missing, in the columns where the original takes that
Infinities are made missing before any model sees them (`features.encode`), so none is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from kedge.domain.registry import Signature
from kedge.errors import KedgeError
from kedge.ports import CompiledForm, ModelFormat, Predictor

MOST_ROWS = 20_000
TOLERANCE = {"xgboost": 1e-6}
"""The greatest difference allowed, by format: XGBoost's own answers are sums of float32."""
EXACT = 1e-12


class ToExamine(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison as it is sent to its process: the model's files, example rows as a matrix, the tolerance."""

    format: str
    files: dict[str, bytes]
    signature: Signature
    rows: np.ndarray
    tolerance: float


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about a model of tables: the columns that must have a value, and how a compiled form compared."""

    required: tuple[str, ...] = ()
    compared: ComparedForm | None = None


class ComparedForm(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled form as it compared. `answers` are its own to the example rows, in one batch."""

    form: str
    files: dict[str, bytes] = {}
    rows: int = 0
    difference: float = 0.0
    answers: tuple[float, ...] = ()
    libraries: dict[str, str] = {}
    fault: str = ""


def tolerance_of(format: str) -> float:
    """Give the difference that a compiled form may have where nobody declared one."""
    return TOLERANCE.get(format, EXACT)


def examine(asked: ToExamine, *, formats: Sequence[ModelFormat], forms: Sequence[CompiledForm]) -> Examined:
    """Load a model as it was registered, see where it takes missing values, and compile it. Raises ModelRefused."""
    original = next(each for each in formats if each.name == asked.format).load(asked.files, asked.signature)
    required = _required(original, asked.rows)
    names = tuple(asked.signature.inputs[place].name for place in required)
    return Examined(required=names, compared=_compiled(asked, forms, original=original, required=required))


def _compiled(
    asked: ToExamine, forms: Sequence[CompiledForm], *, original: Predictor, required: Sequence[int]
) -> ComparedForm | None:
    """Compile a model in the first form that is equal within the tolerance, else give the first that was tried; None
    where none compiles such models."""
    first: ComparedForm | None = None
    for form in forms:
        if not form.available():
            continue
        try:
            compiled = form.compile(asked.format, asked.files)
            if compiled is None:
                continue
            rows = reference_rows(asked.rows, compiled.thresholds, required=required)
            found = _compared(asked, form.load(compiled.files, columns=rows.shape[1]), original=original, rows=rows)
            found = msgspec.structs.replace(found, form=form.name, files=compiled.files, libraries=form.libraries())
        except KedgeError as error:
            found = ComparedForm(form=form.name, fault=str(error))
        if not found.fault and found.difference <= asked.tolerance:
            return found
        first = first or found
    return first


def reference_rows(example: np.ndarray, thresholds: Sequence[np.ndarray], *, required: Sequence[int] = ()) -> np.ndarray:
    """Make the rows that a comparison is made on, at most 20,000, from example rows (n, columns)."""
    parts = [example, *_missing(example, required)]
    left = MOST_ROWS - sum(len(part) for part in parts)
    wanted = sum(5 * len(values) for values in thresholds)
    every = max(1, -(-wanted // max(left, 1)))
    parts += _beside(example, [values[::every] for values in thresholds])
    return np.ascontiguousarray(np.concatenate(parts))


def difference_of(original: np.ndarray, compiled: np.ndarray) -> float:
    """Give the greatest difference of two answers, relative to the original's above 1; infinite where one is NaN alone."""
    if original.shape != compiled.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        apart = np.abs(original - compiled) / np.maximum(1.0, np.abs(original))
    apart[(original == compiled) | (np.isnan(original) & np.isnan(compiled))] = 0.0
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))


def _compared(asked: ToExamine, fast: Predictor, *, original: Predictor, rows: np.ndarray) -> ComparedForm:
    apart = difference_of(_answers(original, rows), _answers(fast, rows))
    alone = [np.concatenate([_answers(each, row[None]) for row in asked.rows]) for each in (original, fast)]
    return ComparedForm(
        form="",
        rows=len(rows),
        difference=max(apart, difference_of(alone[0], alone[1])),
        answers=tuple(_answers(fast, asked.rows).tolist()),
    )


def _required(model: Predictor, example: np.ndarray) -> list[int]:
    """List the columns whose missing value the model fails on, or answers with none."""
    one = next(_missing(example, ()))
    if _takes(model, one):
        return []
    return [place for place in range(example.shape[1]) if not _takes(model, one[place][None])]


def _takes(model: Predictor, rows: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(_answers(model, rows)).all())
    except (ValueError, TypeError, ArithmeticError, RuntimeError):
        return False


def _answers(model: Predictor, rows: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(np.ascontiguousarray(rows)), dtype=np.float64)


def _missing(example: np.ndarray, required: Sequence[int]) -> Iterator[np.ndarray]:
    """Take one value away at a time, from a row each, and then all that may be missing from one row."""
    free = np.array([place for place in range(example.shape[1]) if place not in set(required)], dtype=np.int64)
    one = example[free % len(example)].copy()
    one[np.arange(len(free)), free] = np.nan
    yield one
    none = example[:1].copy()
    none[:, free] = np.nan
    yield none


def _beside(example: np.ndarray, thresholds: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Put values at and beside the thresholds into example rows, one a row."""
    turn = 0
    for column, values in enumerate(thresholds):
        single = values.astype(np.float32)
        tried = np.unique(
            np.concatenate(
                [
                    values,
                    np.nextafter(values, -np.inf),
                    np.nextafter(values, np.inf),
                    np.nextafter(single, np.float32(-np.inf)).astype(np.float64),
                    np.nextafter(single, np.float32(np.inf)).astype(np.float64),
                ]
            )
        )
        rows = example[(turn + np.arange(len(tried))) % len(example)].copy()
        rows[:, column] = tried[: len(rows)]
        turn += len(tried)
        yield rows

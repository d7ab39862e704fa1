"""All columns in one question: can a classifier tell the two frames apart, or do they lie apart in energy distance?

Both work on an even sample of each side. Times, running numbers, identifiers, free text and vectors are left out: the
first three always tell, and the others have tests of their own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from kedge.domain.comparing import ComparedKind, Teller, Together
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing.apart import auc, told_apart
from kedge.monitoring.comparing.columns import as_labels, as_numbers
from kedge.monitoring.comparing.rules import AUC
from kedge.monitoring.comparing.turns import by_chance, parted, squares_apart

JOINT = ("classifier", "energy")
_ROWS, _ENERGY_ROWS = 10_000, 1000
_LEAST, _CATEGORIES, _TOLD = 20, 50, 10
_LEVEL = 0.01


def together(
    reference: pl.DataFrame, current: pl.DataFrame, *, test: str, kinds: Sequence[tuple[str, ComparedKind]]
) -> Together:
    """Ask one joint test of the columns that are numbers, booleans or categories. Raises RequestInvalid."""
    if test not in JOINT:
        raise RequestInvalid(f"there is no joint test {test!r}; there are: {', '.join(JOINT)}")
    names = [name for name, kind in kinds if kind in (ComparedKind.NUMBER, ComparedKind.CATEGORY, ComparedKind.BOOLEAN)]
    if not names:
        raise RequestInvalid("no column is left to compare together: they are times, identifiers, texts or vectors")
    many = _ROWS if test == "classifier" else _ENERGY_ROWS
    sides = [_even(side.select(names), many) for side in (reference, current)]
    if min(map(len, sides)) < _LEAST:
        raise RequestInvalid(
            f"comparing columns together needs {_LEAST} rows on each side; there are {min(map(len, sides))}"
        )
    chosen = [(name, kind) for name, kind in kinds if name in names]
    return _classifier(*sides, kinds=chosen) if test == "classifier" else _energy(*sides, kinds=chosen)


def _even(rows: pl.DataFrame, many: int) -> pl.DataFrame:
    return rows if len(rows) <= many else rows[np.linspace(0, len(rows) - 1, many).round().astype(np.int64).tolist()]


def _classifier(reference: pl.DataFrame, current: pl.DataFrame, *, kinds: Sequence[tuple[str, ComparedKind]]) -> Together:
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns, coded = [], []
    for name, kind in kinds:
        ordered = kind is ComparedKind.NUMBER
        columns.append(_numbers(reference[name], current[name]) if ordered else _codes(reference[name], current[name]))
        coded.append(not ordered)
    rows = np.column_stack(columns)
    is_current = np.repeat([False, True], [len(reference), len(current)])
    make = lambda: HistGradientBoostingClassifier(  # noqa: E731
        max_iter=60, learning_rate=0.15, max_leaf_nodes=15, categorical_features=coded, early_stopping=False, random_state=0
    )
    found, model, held = told_apart(make, rows, current=is_current)
    return Together(
        test="classifier",
        value=found.auc,
        low=found.low,
        high=found.high,
        threshold=AUC,
        moved=found.low > AUC,
        rows_reference=len(reference),
        rows_current=len(current),
        telling=_telling(model, rows[held], is_current=is_current[held], names=[name for name, _ in kinds])
        if found.low > 0.5
        else (),
    )


def _telling(model: Any, rows: np.ndarray, *, is_current: np.ndarray, names: Sequence[str]) -> tuple[Teller, ...]:
    """Say by how much the AUC falls on rows that the model has not seen when a column is shuffled; the most first."""

    def score(some: np.ndarray) -> float:
        return auc(model.predict_proba(some)[:, 1], is_current)

    whole, turns, losses = score(rows), np.random.default_rng(0), []
    for place, name in enumerate(names):
        kept = rows[:, place].copy()
        rows[:, place] = turns.permutation(kept)
        losses.append(Teller(name, whole - score(rows)))
        rows[:, place] = kept
    told = sorted((one for one in losses if one.loss > 0), key=lambda one: -one.loss)
    return tuple(told[:_TOLD])


def _numbers(reference: pl.Series, current: pl.Series) -> np.ndarray:
    sides = [as_numbers(side).cast(pl.Float64).fill_null(np.nan).to_numpy() for side in (reference, current)]
    return np.concatenate(sides)


def _codes(reference: pl.Series, current: pl.Series) -> np.ndarray:
    """Number categories by how many rows they have; the rarer ones share a number, the missing are NaN."""
    texts = [_labelled(side) for side in (reference, current)]
    both = pl.concat(texts)
    top = both.drop_nulls().value_counts(sort=True)[both.name].head(_CATEGORIES)
    codes = both.cast(pl.Enum(top), strict=False).to_physical().cast(pl.Float64).fill_null(float(len(top))).to_numpy()
    return np.where(both.is_null().to_numpy(), np.nan, codes)


def _labelled(side: pl.Series) -> pl.Series:
    made = pl.Series("label", [None] * len(side), dtype=pl.String)
    there = side.is_not_null() & (side.is_not_nan() if side.dtype.is_float() else True)
    return made.scatter(there.arg_true(), as_labels(side).cast(pl.String)) if there.any() else made


def _energy(reference: pl.DataFrame, current: pl.DataFrame, *, kinds: Sequence[tuple[str, ComparedKind]]) -> Together:
    """Measure the energy distance (Szekely & Rizzo, 2013) of ranks and categories; p-value by 200 permutations."""
    points = np.column_stack([_spread(reference[name], current[name], kind=kind) for name, kind in kinds])
    n, m = len(reference), len(current)
    sums = parted(np.sqrt(squares_apart(points)), n)
    found = 2 * sums.across / (n * m) - sums.first / n**2 - sums.second / m**2
    p = by_chance(found)
    return Together(
        test="energy", value=float(found[0]), p=p, threshold=_LEVEL, moved=p < _LEVEL, rows_reference=n, rows_current=m
    )


def _spread(reference: pl.Series, current: pl.Series, *, kind: ComparedKind) -> np.ndarray:
    """Give numbers as ranks of one standard deviation, missing at the middle with a flag; categories as flags."""
    if kind is ComparedKind.NUMBER:
        from scipy.stats import rankdata

        values = _numbers(reference, current)
        missing = np.isnan(values)
        ranks = rankdata(np.where(missing, np.nanmedian(values) if not missing.all() else 0.0, values))
        deviation = ranks.std() or 1.0
        return np.column_stack([(ranks - ranks.mean()) / deviation, missing])
    codes = _codes(reference, current)
    values = np.unique(codes[~np.isnan(codes)])
    return np.column_stack([*(codes == value for value in values), np.isnan(codes)]).astype(np.float64)

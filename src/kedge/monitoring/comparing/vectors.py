"""Vectors, such as embeddings: how far their mean moved, and how well a classifier tells the two sides apart.

The distance of means is in units of the reference's spread: the root of its summed variances.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from scipy.special import chdtrc

from kedge.domain.comparing import ComparedKind, Oddity, OddNote, SideFigures
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing.apart import told_apart
from kedge.monitoring.comparing.columnwise import ColumnPair, Draft, DraftMeasure, measured, missing_share, odd_missing
from kedge.monitoring.comparing.number_tests import mmd_of
from kedge.monitoring.comparing.outcome import LEVEL, MUCH, NamedTest, Tested
from kedge.monitoring.comparing.rules import AUC, Chosen, Wishes, threshold_of

Embed = Callable[[Sequence[str]], object]
_ROWS, _MMD = 5000, 1000
_LEAST, _DIRECTIONS = 20, 16


def of_vectors(pair: ColumnPair, wishes: Wishes, *, embed: Embed | None = None) -> Draft:
    """Compare vectors: those of a column, or those that `embed` gives of its texts. Raises RequestInvalid."""
    present = [side.drop_nulls() for side in (pair.reference, pair.current)]
    rows, missing = (len(pair.reference), len(pair.current)), [side.null_count() for side in (pair.reference, pair.current)]
    found: tuple[DraftMeasure, ...] = ()
    odd = tuple(odd_missing(len(present[0]), len(present[1]), rows=rows[1]))
    if all(map(len, present)):
        some = [side.sample(_ROWS, seed=0) if len(side) > _ROWS else side for side in present]
        x, y = (_matrix(side, pair.name, embed=embed) for side in some)
        if x.shape[1] == y.shape[1]:
            found += tuple(_tests(pair, wishes, x=x, y=y))
        else:  # as when another model embeds: nothing about them can be compared, and the other columns can
            odd += (OddNote(Oddity.RETYPED, f"the type changed: vectors of {x.shape[1]} numbers, now of {y.shape[1]}"),)
    if any(missing) and all(rows):
        found += (missing_share(wishes, was=missing[0], now=missing[1], rows=rows),)
    figures = [SideFigures(rows=rows[place], missing=missing[place]) for place in (0, 1)]
    told = next((each.outcome.value for each in found if each.of == "content"), 0.5)
    return Draft(pair.name, ComparedKind.VECTOR, figures[0], figures[1], max(2 * told - 1, 0.0), None, found, odd)


def _tests(pair: ColumnPair, wishes: Wishes, *, x: np.ndarray, y: np.ndarray) -> list[DraftMeasure]:
    spread = float(np.sqrt(x.var(axis=0).sum())) or 1.0
    moved = float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0))) / spread
    p = _means_differ(x, y)
    found = [measured("mean", "distance", wishes=wishes, pair=pair, outcome=Tested(moved, p), guard=p, usual=MUCH)]
    if "mmd" in (*wishes.tests.get(pair.name, ()), *wishes.test):
        by = mmd_of(x[:_MMD], y[:_MMD])
        test = NamedTest(lambda one, other: by, LEVEL, True)
        found.append(
            DraftMeasure("values", Chosen("mmd", test, threshold_of(wishes, pair.name, name="mmd", test=test)), by, by.p)
        )
    if min(len(x), len(y)) >= _LEAST:
        told = _classified(x, y)
        found.append(measured("content", "classifier", wishes=wishes, pair=pair, outcome=told, guard=told.p, usual=AUC))
    return found


def _means_differ(x: np.ndarray, y: np.ndarray) -> float:
    """Test whether two samples of vectors have one mean: chi-squared, in the directions that hold nearly all variance.

    The mean square of a standardised direction's difference has the mean 1 then; directions are the reference's own, taken
    from half of it that is not tested.
    """
    half = len(x) // 2
    many = min(x.shape[1], _DIRECTIONS, max(half // 10, 1))
    if half < _LEAST:
        return 1.0
    _, _, axes = np.linalg.svd(x[:half] - x[:half].mean(axis=0), full_matrices=False)
    one, other = x[half:] @ axes[:many].T, y @ axes[:many].T
    variance = one.var(axis=0, ddof=1) / len(one) + other.var(axis=0, ddof=1) / len(other)
    differences = one.mean(axis=0) - other.mean(axis=0)
    there = variance > 0
    return float(chdtrc(max(int(there.sum()), 1), (differences[there] ** 2 / variance[there]).sum()))


def _matrix(side: pl.Series, name: str, *, embed: Embed | None) -> np.ndarray:
    """Lay vectors under one another, float64 (n, d); numbers that are not finite count as 0."""
    if embed is not None:
        made = np.asarray(embed(side.cast(pl.String).to_list()), dtype=np.float64)
        if made.ndim != 2 or len(made) != len(side):
            raise RequestInvalid(
                f"the function that embeds column {name!r} gave an array of shape {made.shape} for {len(side)} texts"
            )
        return np.nan_to_num(made, posinf=0.0, neginf=0.0)
    if isinstance(side.dtype, pl.Array):
        return np.nan_to_num(side.to_numpy().astype(np.float64).reshape(len(side), -1), posinf=0.0, neginf=0.0)
    lengths = side.list.len().unique()
    if len(lengths) > 1:
        raise RequestInvalid(
            f"column {name!r} holds lists of {len(lengths)} different lengths; vectors have one: leave it out, or pad it"
        )
    flat = side.explode().cast(pl.Float64).fill_null(0.0).to_numpy()
    return np.asarray(np.nan_to_num(flat.reshape(len(side), -1), posinf=0.0, neginf=0.0))


def _classified(x: np.ndarray, y: np.ndarray) -> Tested:
    """Tell vectors apart."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_current = np.repeat([False, True], [len(x), len(y)])
    make = lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))  # noqa: E731
    found, _, _ = told_apart(make, np.concatenate([x, y]), current=is_current)
    return Tested(found.auc, found.p)

"""Tell two samples apart: how well a classifier does it, out of fold, and how sure that is.

The AUC is the chance that a row of the current side gets a higher score than one of the reference: 0.5 where nothing
tells them apart. Its interval is Hanley and McNeil's (Radiology, 1982), 95 %.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

FOLDS = 3
_WIDE = 1.96


class AucBand(NamedTuple):
    """An AUC, the interval that holds it, and the one-sided p-value of "no better than chance" (Mann & Whitney)."""

    auc: float
    low: float
    high: float
    p: float


def told_apart(
    make: Callable[[], Any], rows: Any, *, current: np.ndarray, alike: np.ndarray | None = None
) -> tuple[AucBand, Any, np.ndarray]:
    """Cross-validate a classifier of `current` (boolean, n) against reference rows. Also give the last fold's model and
    the places of the rows that it has not seen. Rows that are `alike` (a number for each, n) are kept in one fold: a copy
    on the other side would be answered by heart, the wrong way round."""
    scores = np.zeros(current.size)
    model, held = None, np.array([], dtype=np.int64)
    for train, held in _folds(current, alike):
        model = make().fit(rows[train], current[train])
        scores[held] = model.predict_proba(rows[held])[:, 1]
        # ranks within a fold: models of different folds do not share a scale
        scores[held] = rankdata(scores[held]) / max(held.size, 1) if _steady(scores[held]) else 0.5
    return interval(auc(scores, current), current), model, held


def _folds(current: np.ndarray, alike: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Part the rows into folds, (train, held out) each. Copies stay together, unless a fold would learn one side alone."""
    from sklearn.model_selection import StratifiedKFold

    if alike is not None and np.intersect1d(alike[current], alike[~current]).size:
        names, places = np.unique(alike, return_inverse=True)
        fold = (np.random.default_rng(0).permutation(len(names)) % FOLDS)[places]
        parted = [(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in range(FOLDS)]
        if all(held.size and 0 < current[train].sum() < train.size for train, held in parted):
            return parted
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(np.zeros(current.size), current))


def _steady(scores: np.ndarray) -> bool:
    return bool(scores.max(initial=0.0) > scores.min(initial=1.0))


def auc(scores: np.ndarray, current: np.ndarray) -> float:
    """Give the area under the ROC curve; ties count half."""
    ranks, many = rankdata(scores), int(current.sum())
    return float((ranks[current].sum() - many * (many + 1) / 2) / (many * (current.size - many)))


def interval(value: float, current: np.ndarray) -> AucBand:
    """Bound an AUC."""
    m = int(current.sum())
    n = current.size - m
    one, two = value / (2 - value), 2 * value**2 / (1 + value)
    variance = (value * (1 - value) + (m - 1) * (one - value**2) + (n - 1) * (two - value**2)) / (n * m)
    wide = _WIDE * float(np.sqrt(max(variance, 0.0)))
    spread = float(np.sqrt((n + m + 1) / (12 * n * m)))
    return AucBand(value, max(value - wide, 0.0), min(value + wide, 1.0), float(ndtr((0.5 - value) / spread)))

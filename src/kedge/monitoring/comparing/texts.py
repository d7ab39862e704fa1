"""Free text: how long it is, how many of its words the reference does not know, how well a classifier tells it apart.

The share of unknown words is held against what is usual: the reference's own second half, read with the words of its
first. The classifier is a logistic regression of hashed words.
"""

import numpy as np
import polars as pl
from scipy.special import ndtr

from kedge.domain.comparing import ComparedKind, SideFigures
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing import cells as counted
from kedge.monitoring.comparing.apart import told_apart
from kedge.monitoring.comparing.columns import number_side
from kedge.monitoring.comparing.columnwise import ColumnPair, Draft, DraftMeasure, measured, missing_share, odd_missing
from kedge.monitoring.comparing.number_tests import wasserstein
from kedge.monitoring.comparing.outcome import MUCH, Tested
from kedge.monitoring.comparing.rules import AUC, Wishes

_ROWS = 5000
_LEAST = 20
_WORDS = r"\w+"
UNKNOWN = 0.05
"""The rise of the share of unknown words from which a text counts as moved."""


def of_texts(pair: ColumnPair, wishes: Wishes) -> Draft:
    """Compare free text. Raises RequestInvalid for a test of the column that is not for text."""
    if wanted := [name for name in wishes.tests.get(pair.name, ()) if name != "classifier"]:
        raise RequestInvalid(
            f"column {pair.name!r} is free text, compared by length, vocabulary and classifier; not by {wanted[0]!r}"
        )
    sides = [side.drop_nulls() for side in (pair.reference, pair.current)]
    lengths = [number_side(side.str.len_chars()) for side in sides]
    found: tuple[DraftMeasure, ...] = ()
    distance = 0.0
    cells = counted.profile_of_numbers(*lengths)
    if all(len(side) for side in sides):
        length = wasserstein(lengths[0].values, lengths[1].values)
        found += (
            measured(
                "length",
                "wasserstein",
                wishes=wishes,
                pair=pair,
                outcome=length,
                guard=counted.chance_in_order(cells.present()),
                usual=MUCH,
            ),
        )
        unknown, p = _unknown(*sides)
        found += (
            measured("vocabulary", "share", wishes=wishes, pair=pair, outcome=Tested(unknown, p), guard=p, usual=UNKNOWN),
        )
        distance = counted.far(cells)
        if min(map(len, sides)) >= _LEAST:
            told = _classified(*sides)
            found += (measured("content", "classifier", wishes=wishes, pair=pair, outcome=told, guard=told.p, usual=AUC),)
    missing = [side.null_count() for side in (pair.reference, pair.current)]
    rows = (len(pair.reference), len(pair.current))
    if any(missing) and all(rows):
        found += (missing_share(wishes, was=missing[0], now=missing[1], rows=rows),)
    figures = [
        SideFigures(
            rows=rows[place],
            missing=missing[place],
            distinct=sides[place].n_unique(),
            mean=float(lengths[place].values.mean()) if lengths[place].values.size else None,
        )
        for place in (0, 1)
    ]
    odd = tuple(odd_missing(len(sides[0]), len(sides[1]), rows=rows[1]))
    picture = counted.bars_of_numbers(*lengths)
    return Draft(pair.name, ComparedKind.TEXT, figures[0], figures[1], distance, None, found, odd, picture)


def _unknown(reference: pl.Series, current: pl.Series) -> tuple[float, float]:
    """Give how much the share of unknown words rose over the reference's own, at least 0, and the p-value (z)."""
    half = max(len(reference) // 2, 1)
    shuffled = reference.sample(fraction=1.0, shuffle=True, seed=0)
    first, second = _words(shuffled.head(half)), _words(shuffled.tail(len(reference) - half))
    known = first.unique()
    if not len(second) or not len(known):
        return 0.0, 1.0
    now = _words(current)
    if not len(now):
        return 0.0, 1.0
    out = [int((~side.is_in(known.implode())).sum()) for side in (second, now)]
    shares = [out[0] / len(second), out[1] / len(now)]
    pooled = sum(out) / (len(second) + len(now))
    spread = float(np.sqrt(pooled * (1 - pooled) * (1 / len(second) + 1 / len(now))))
    rise = max(shares[1] - shares[0], 0.0)
    return rise, float(ndtr(-rise / spread)) if spread else 1.0


def _words(texts: pl.Series) -> pl.Series:
    return texts.str.to_lowercase().str.extract_all(_WORDS).explode().drop_nulls()


def _classified(reference: pl.Series, current: pl.Series) -> Tested:
    """Tell texts apart."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    some = [side.sample(_ROWS, seed=0) if len(side) > _ROWS else side for side in (reference, current)]
    is_current = np.repeat([False, True], [len(side) for side in some])
    hashed = HashingVectorizer(n_features=2**16, alternate_sign=False).transform([*some[0], *some[1]])
    make = lambda: make_pipeline(TfidfTransformer(), LogisticRegression(max_iter=200))  # noqa: E731
    alike = pl.concat([side.cast(pl.String) for side in some]).rank("dense").to_numpy()
    found, _, _ = told_apart(make, hashed, current=is_current, alike=alike)
    return Tested(found.auc, found.p)

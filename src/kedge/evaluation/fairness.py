"""How differently a model decides for groups of people or things: the greatest difference of a rate between two groups.

    equal_opportunity    true positive rate (Hardt, Price & Srebro 2016)       counts the rows with label 1
    equalized_odds       the worse of true and false positive rate (the same)  counts the rows of each label
    demographic_parity   selection rate                                        counts all rows
Each agrees with fairlearn's `..._difference`. A group with fewer rows of the kind that a rate counts than `min_group` is
named, not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kedge.evaluation.metrics import Vector
from kedge.evaluation.slices import Group, groups_of

Mask = NDArray[np.bool_]


def _positives(y: Vector) -> Mask:
    return y > 0.5


def _negatives(y: Vector) -> Mask:
    return y <= 0.5


def _everyone(y: Vector) -> Mask:
    return np.ones(len(y), dtype=np.bool_)


# name -> the rows over which the share of decisions "1" is taken; the worst of them counts
FAIRNESS: dict[str, tuple[Callable[[Vector], Mask], ...]] = {
    "equal_opportunity": (_positives,),
    "equalized_odds": (_positives, _negatives),
    "demographic_parity": (_everyone,),
}


class RateDifference(NamedTuple):
    """The greatest difference of a rate, between which groups, and who was judged. `value` is NaN with fewer than two
    judged groups; `rows` counts the rows of the two groups that the rate is taken over."""

    value: float
    highest: str
    lowest: str
    rows: int
    judged: tuple[str, ...]
    unjudged: tuple[str, ...]


def difference_of(
    name: str, y: Vector, *, p: Vector, by: str, values: Sequence[str], threshold: float, min_group: int
) -> RateDifference:
    """Measure a difference by name, between the groups of column `by` with the given values, one a row."""
    bases = [base(y) for base in FAIRNESS[name]]
    chosen = p >= threshold
    groups = groups_of(by, values)
    judged = [group for group in groups if all(int(base[group.rows].sum()) >= max(min_group, 1) for base in bases)]
    unjudged = tuple(group.name for group in groups if not any(group is each for each in judged))
    names = tuple(group.name for group in judged)
    if len(judged) < 2:
        return RateDifference(float("nan"), "", "", 0, names, unjudged)
    value, highest, lowest, rows = max(_spread(judged, base, chosen=chosen) for base in bases)
    return RateDifference(value, highest, lowest, rows, names, unjudged)


def _spread(groups: Sequence[Group], base: Mask, *, chosen: Mask) -> tuple[float, str, str, int]:
    """Find the groups with the highest and the lowest share of decisions "1" among the rows of a base."""
    rates = [(float(np.mean(chosen[group.rows][base[group.rows]])), int(base[group.rows].sum())) for group in groups]
    top = max(range(len(groups)), key=lambda i: rates[i][0])
    low = min(range(len(groups)), key=lambda i: rates[i][0])
    return rates[top][0] - rates[low][0], groups[top].name, groups[low].name, rates[top][1] + rates[low][1]

"""How far apart groups are: by measure, the greatest difference between two groups and the ratio of lower to higher.

    demographic_parity   selection rate                        over all rows
    equal_opportunity    true positive rate                    over the rows with label 1
    equalized_odds       the worse of true and false positive  over the rows of each label
    calibration          mean answer less mean truth           over labelled rows ("mean_error" of numbers)
    mean_answer, loss    the mean
The first three agree with fairlearn's `..._difference` and `..._ratio`. A group with fewer rows of the kind that a rate
counts than the project's `min_group` is named, not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kedge.domain.fairness import RATE_GAPS, Gap
from kedge.monitoring.groups.days import (
    ANSWERS,
    CHOSEN,
    FALSE_ALARMS,
    HITS,
    LABELLED,
    LOSS,
    POSITIVES,
    ROWS,
    SUMS,
    TOLD,
    TRUTH,
)
from kedge.monitoring.quality.bands import FEWEST_DAYS, quantile


class Rate(NamedTuple):
    """A sum over a count: weights of the sums above and below the line, and whether it lies in [0, 1]."""

    above: np.ndarray
    below: np.ndarray
    bounded: bool


def over(*plus: int, minus: int | None = None) -> np.ndarray:
    """Give the weights that add some of the sums, less another."""
    weights = np.zeros(SUMS)
    weights[list(plus)] = 1.0
    if minus is not None:
        weights[minus] = -1.0
    return weights


_SELECTION = Rate(over(CHOSEN), over(ROWS), bounded=True)
_TRUE_POSITIVE = Rate(over(HITS), over(POSITIVES), bounded=True)
_FALSE_POSITIVE = Rate(over(FALSE_ALARMS), over(LABELLED, minus=POSITIVES), bounded=True)
_ERROR = Rate(over(TOLD, minus=TRUTH), over(LABELLED), bounded=False)

RATES: dict[str, tuple[Rate, ...]] = {
    "demographic_parity": (_SELECTION,),
    "equal_opportunity": (_TRUE_POSITIVE,),
    "equalized_odds": (_TRUE_POSITIVE, _FALSE_POSITIVE),
    "calibration": (_ERROR,),
    "mean_error": (_ERROR,),
    "mean_answer": (Rate(over(ANSWERS), over(ROWS), bounded=False),),
    "loss": (Rate(over(LOSS), over(LABELLED), bounded=False),),
}


def judged_by(rates: Sequence[Rate], sums: np.ndarray, *, min_group: int) -> np.ndarray:
    """Mark the groups with enough rows for every rate; `sums` is (groups, SUMS), bool (groups,)."""
    enough = np.ones(len(sums), dtype=bool)
    for rate in rates:
        enough &= sums @ rate.below >= max(min_group, 1)
    return enough


def gap_of(measure: str, column: str, *, names: Sequence[str], days: np.ndarray, counted: np.ndarray, min_group: int) -> Gap:
    """Find the greatest difference between two groups by the sums of each day (days, groups, SUMS), which may be weighted;
    `counted` are the sums of plain rows (groups, SUMS), by which groups are judged."""
    rates, sums = RATES[measure], days.sum(axis=0)
    enough = judged_by(rates, counted, min_group=min_group)
    unjudged = tuple(name for name, judged in zip(names, enough.tolist(), strict=True) if not judged)
    places = np.flatnonzero(enough)
    if places.size < 2:
        return Gap(measure=measure, column=column, unjudged=unjudged)
    found = []
    for rate in rates:
        below, values = counted[places] @ rate.below, (sums[places] @ rate.above) / (sums[places] @ rate.below)
        top, low = int(np.argmax(values)), int(np.argmin(values))
        pair = (int(places[top]), int(places[low]))
        found.append((float(values[top] - values[low]), _ratio(values, rate), pair, round(below[top] + below[low]), rate))
    value, _, (top, low), rows, rate = max(found, key=lambda one: one[0])
    ratios = [one[1] for one in found if one[1] is not None]
    half = _half_width(days[:, (top, low)], rate)
    most = 1.0 if measure in RATE_GAPS and rate.bounded else np.inf
    return Gap(
        measure=measure,
        column=column,
        value=value,
        low=None if half is None else value - half,
        high=None if half is None else min(value + half, most),
        ratio=min(ratios) if ratios else None,
        highest=names[top],
        lowest=names[low],
        rows=rows,
        unjudged=unjudged,
    )


def _half_width(days: np.ndarray, rate: Rate) -> float | None:
    """Give half of the 95 % interval of the difference between the rates of two groups, from the sums of each day
    (days, 2, SUMS): a difference of ratio estimators (Cochran, Sampling Techniques, 1977, 6.4) whose unit is the day, as
    the rows of one day rise and fall together; Student's t. None where fewer than five days have rows of both."""
    above, below = days @ rate.above, days @ rate.below
    count = int(((below > 0).all(axis=1)).sum())
    if count < FEWEST_DAYS:
        return None
    total = below.sum(axis=0)
    stray = (above - above.sum(axis=0) / total * below) / total
    apart = stray[:, 0] - stray[:, 1]
    return quantile(count) * float(np.sqrt(count / (count - 1) * (apart**2).sum()))


def _ratio(values: np.ndarray, rate: Rate) -> float | None:
    """Give the lowest over the highest, where that says something: of rates in [0, 1] that are not all 0."""
    return float(values.min() / values.max()) if rate.bounded and values.max() > 0 else None

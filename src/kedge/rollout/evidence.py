"""Evidence as odds, each valid however often one looks (an e-process: it passes 1 / alpha with a chance of alpha ever).

Bets      a share or a mean in [0, 1] is at most so much: betting on what comes (Waudby-Smith and Ramdas 2024)
mixture   an estimate exceeds 0: a mixture over effects in information time, the normal limit of group sequential tests
split     of so many draws so many went to a side: beta mixture against the share that was set (Lindon and Malek 2022)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from kedge.domain.rollout import Clusters

TENTHS = 10
SURE = 1e12  # odds are cut here, so that they stay a number in JSON
STAKES = (0.02, 0.1, 0.3, 0.6, 0.85)
FEWEST_CLUSTERS = 8
DAY_SPREAD = 0.1  # by which share of the mean a day favours one version, before the days have shown it
DAYS_KNOWN = 4.0  # how many days that stands for
EFFECTS = (0.05, 0.2, 0.8)
Floats = NDArray[np.float64]


class Bets(msgspec.Struct):
    """Bets against "the mean of what comes is at most so much", some stakes at once.

    Of the capital of 1 a part of 1 / (n (n + 1)) is brought in at the n-th value, the rest waits: so what was seen in
    quiet times does not use the capital up, and a challenger that breaks after a day is found in a few requests.
    """

    count: int = 0
    wealth: list[float] = msgspec.field(default_factory=lambda: [-math.inf] * len(STAKES))

    def see(self, value: float, *, allowed: float) -> None:
        """Bet on one value in [0, 1] before it is seen; `allowed` (in (0, 1)) may depend on what came before it."""
        self.count += 1
        fresh = -math.log(self.count * (self.count + 1))
        for place, stake in enumerate(STAKES):
            old = self.wealth[place]
            most = max(old, fresh)
            invested = most + math.log(math.exp(old - most) + math.exp(fresh - most))
            self.wealth[place] = invested + math.log1p(stake * (value - allowed) / allowed)

    @property
    def odds(self) -> float:
        """Give the capital now: the mean over the stakes, and what still waits."""
        return min(mean_exp(self.wealth) + 1 / (self.count + 1), SURE)


def mean_exp(logs: Sequence[float]) -> float:
    """Average exp(x), cut at SURE."""
    return min(sum(math.exp(min(log, 50.0)) for log in logs) / len(logs), SURE)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimated difference: its value, its variance, and the degrees of freedom that the variance was measured with."""

    value: float
    variance: float
    freedom: float


def mixture_odds(estimate: Estimate, scale: float) -> float:
    """Give the odds against "the difference is at most 0", by half-normal mixtures over effects of some sizes of `scale`.

    The value over its error counts as Student's t does: brought to the normal scale by sign(t) sqrt(f log(1 + t^2 / f)).
    """
    if estimate.variance <= 0 or scale <= 0 or not math.isfinite(estimate.value):
        return SURE if estimate.value > 0 and scale > 0 else 1.0
    t = estimate.value / math.sqrt(estimate.variance)
    z = math.copysign(math.sqrt(estimate.freedom * math.log1p(t * t / estimate.freedom)), t)
    logs = [_half_normal(z, (effect * scale) ** 2 / estimate.variance) for effect in EFFECTS]
    return mean_exp(logs)


def _half_normal(z: float, ratio: float) -> float:
    """Give the log of the half-normal mixture of likelihood ratios: effect variance over error variance is `ratio`."""
    grown = 1 + ratio
    reach = z * math.sqrt(ratio / grown)
    below = max(0.5 * math.erfc(-reach / math.sqrt(2)), 1e-300)
    return math.log(2 / math.sqrt(grown)) + min(reach**2 / 2, 60.0) + math.log(below)


def difference_of(ours: Clusters, theirs: Clusters) -> Estimate | None:
    """Compare the means of two sides that share no cluster; None where either has too few clusters to know its error."""
    one, other = mean_of(ours), mean_of(theirs)
    if one is None or other is None:
        return None
    return Estimate(
        value=one.value - other.value,
        variance=one.variance + other.variance,
        freedom=_welch((one.variance, one.freedom), (other.variance, other.freedom)),
    )


def paired_difference_of(ours: Clusters, theirs: Clusters) -> Estimate | None:
    """Compare the means of two sides that answered the same rows, cluster by cluster; None where there are too few."""
    sums = [one - other for one, other in zip(ours.sums, theirs.sums, strict=True)]
    return mean_of(Clusters(rows=ours.rows, sums=sums))


def mean_of(clusters: Clusters) -> Estimate | None:
    """Estimate a mean over rows with the variance between clusters (ratio estimator); None with too few of them."""
    there = [(rows, total) for rows, total in zip(clusters.rows, clusters.sums, strict=True) if rows]
    rows = sum(count for count, _ in there)
    if len(there) < FEWEST_CLUSTERS:
        return None
    mean = sum(total for _, total in there) / rows
    spread = sum((total - mean * count) ** 2 for count, total in there)
    count = len(there)
    return Estimate(value=mean, variance=spread * count / (count - 1) / rows**2, freedom=count - 1)


def _welch(*parts: tuple[float, float]) -> float:
    """Give the degrees of freedom of a sum of measured variances (Welch and Satterthwaite)."""
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return total**2 / below if below > 0 else min(freedom for _, freedom in parts)


def added(estimate: Estimate, variance: float, *, freedom: float) -> Estimate:
    """Give an estimate with a further source of error."""
    both = _welch((estimate.variance, estimate.freedom), (variance, freedom))
    return Estimate(value=estimate.value, variance=estimate.variance + variance, freedom=both)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Rows and a sum over them by day and random group: arrays (days, groups)."""

    rows: Floats
    sums: Floats


def stratified(ours: Cells, theirs: Cells, *, paired: bool, scale: float) -> Estimate | None:
    """Estimate our mean less theirs, compared within days, with the variance between groups of entities and between days.

    The same entities come every day, so their groups are followed over all days (linearised). A day may favour one side:
    by a tenth of `scale` (the mean) as a rule, which the days themselves correct as they come. `paired`: both sides
    answered the same rows. None with fewer than eight groups on a side.
    """
    ours_rows, theirs_rows = ours.rows.sum(axis=1), theirs.rows.sum(axis=1)
    kept = (ours_rows > 0) & (theirs_rows > 0)
    if not kept.any():
        return None
    n, m = ours_rows[kept], theirs_rows[kept]
    a, b = Cells(rows=ours.rows[kept], sums=ours.sums[kept]), Cells(rows=theirs.rows[kept], sums=theirs.sums[kept])
    paired = paired and np.array_equal(a.rows, b.rows)  # not where one has failed on some rows
    weights = n if paired else n * m / (n + m)
    weights = weights / weights.sum()
    apart = a.sums.sum(axis=1) / n - b.sums.sum(axis=1) / m
    value = float(weights @ apart)
    sides = [Cells(rows=a.rows, sums=a.sums - b.sums)] if paired else [a, b]
    measured = [part for side in sides if (part := _between(side, weights)) is not None]
    if len(measured) < len(sides):
        return None
    found = Estimate(
        value=value,
        variance=sum(part[0] for part in measured),
        freedom=_welch(*((part[0], part[1]) for part in measured)),
    )
    seen = max(float(np.square(apart - value).sum()) - sum(part[2] for part in measured), 0.0)
    by_day = (DAYS_KNOWN * (DAY_SPREAD * scale) ** 2 + seen) / (DAYS_KNOWN + len(n) - 1)
    return added(found, by_day * float(weights @ weights), freedom=5.0 * DAYS_KNOWN + len(n))


def _between(side: Cells, weights: Floats) -> tuple[float, float, float] | None:
    """Give a side's variance between groups, its freedom, and by how much its days differ by chance alone."""
    rows = side.rows.sum(axis=1, keepdims=True)
    deviations = (side.sums - side.rows * side.sums.sum(axis=1, keepdims=True) / rows) / rows
    groups = int((side.rows.sum(axis=0) > 0).sum())
    if groups < FEWEST_CLUSTERS:
        return None
    grown = groups / (groups - 1)
    followed = float(np.square((weights[:, None] * deviations).sum(axis=0)).sum()) * grown
    return followed, groups - 1, float(np.square(deviations).sum()) * grown


def split_odds(ours: int, count: int, *, share: float) -> float:
    """Give the odds against "each of `count` draws went to our side with chance `share`", where `ours` of them did."""
    if not count or not 0 < share < 1:
        return 1.0
    weight = 4.0  # how firmly the mixture stands around the share: four draws' worth
    a, b = weight * share, weight * (1 - share)
    log = _log_beta(a + ours, b + count - ours) - _log_beta(a, b)
    log -= ours * math.log(share) + (count - ours) * math.log1p(-share)
    return min(math.exp(min(log, 50.0)), SURE)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def stability_of(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float] | None:
    """Compare two samples: population stability index over the tenths of `theirs`, and the two-sample Kolmogorov-Smirnov
    distance; None where one is empty. What is no number counts as infinite."""
    if not ours or not theirs:
        return None
    a, b = (np.sort(np.where(np.isnan(values), np.inf, values)) for values in (ours, theirs))
    everywhere = np.concatenate([a, b])
    reached, reached_theirs = (np.searchsorted(each, everywhere, side="right") / each.size for each in (a, b))
    cuts, times = np.unique(b[b.size * np.arange(1, TENTHS) // TENTHS], return_counts=True)
    cuts = np.unique([*cuts, *np.nextafter(cuts[times > 1], np.inf)])  # a value that many rows have is a bin of its own
    p, q = (np.bincount(np.searchsorted(cuts, each, side="right"), minlength=cuts.size + 1) + 0.5 for each in (a, b))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((p - q) * np.log(p / q))), float(np.abs(reached - reached_theirs).max())

"""Tests of numbers, by name, on the raw values: two sorted float64 arrays of finite values, neither empty.

Where a test is common property it is scipy's; what is written here is faster on sorted values, or not in scipy.
To add one: a function of (reference, current) that gives a `Tested`, and a line in `NUMBER_TESTS`.
"""

import sys
import warnings
from functools import lru_cache

import numpy as np
from scipy import stats

from kedge.monitoring.comparing.outcome import LEVEL, MUCH, NamedTest, Tested
from kedge.monitoring.comparing.turns import by_chance, parted, squares_apart

_EXACT_ROWS = 10_000  # up to here scipy gives the exact p-value of KS
_LEAST_DEVIATION = 0.001
_ROUNDING = 1e-12  # of a constant's size: the deviation that adding its values up may leave
_NOTHING = 1e-100  # what is smaller counts as 0
_MMD_ROWS = 1000


def ks(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Kolmogorov-Smirnov: the greatest difference of the distribution functions; two-sided p-value."""
    n, m = reference.size, current.size
    if max(n, m) <= _EXACT_ROWS:
        found = stats.ks_2samp(reference, current)
        return Tested(float(found.statistic), float(found.pvalue))
    pooled = np.concatenate([reference, current])
    order = np.argsort(pooled, kind="stable")
    steps = np.where(order < n, m, -n).cumsum()
    pooled = pooled[order]
    ends = np.append(pooled[1:] != pooled[:-1], True)
    distance = float(np.abs(steps[ends]).max()) / (n * m)
    return Tested(distance, float(stats.kstwo.sf(distance, np.round(n * m / (n + m)))))


def wasserstein(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Earth mover's distance in standard deviations of the reference, whatever its unit: how far a value moved, on average.
    A constant has none: there it is in thousandths of the constant, in 0.001 at most."""
    deviation, size = float(reference.std()), float(max(abs(reference[0]), abs(reference[-1])))
    if deviation <= _ROUNDING * size or size < _NOTHING:
        deviation = _LEAST_DEVIATION * (min(size, 1.0) if size >= _NOTHING else 1.0)
    return Tested(min(wasserstein_raw(reference, current).value / deviation, sys.float_info.max))


def wasserstein_floored(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Earth mover's distance in standard deviations of the reference, 0.001 at least, as Evidently has it: a column of small
    numbers seems to stand still."""
    return Tested(wasserstein_raw(reference, current).value / max(float(reference.std()), _LEAST_DEVIATION))


def wasserstein_raw(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Earth mover's distance in the column's own unit."""
    if reference.size == current.size:
        return Tested(float(np.abs(reference - current).mean()))
    left, right, widths = _steps(reference.size, current.size)
    return Tested(float(np.abs(reference[left] - current[right]) @ widths))


@lru_cache(maxsize=4)
def _steps(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut [0, 1] where either side's quantile function steps: the place of each piece in both sides, and its width."""
    ends = np.union1d(np.arange(1, n + 1, dtype=np.int64) * m, np.arange(1, m + 1, dtype=np.int64) * n)
    starts = np.concatenate([[0], ends[:-1]])
    return starts // m, starts // n, (ends - starts) / (n * m)


def energy(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Energy distance, in the root of the column's unit (scipy's)."""
    return Tested(float(stats.energy_distance(reference, current)))


def anderson_darling(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Anderson-Darling for two samples, midrank; its p-value lies between 0.001 and 0.25."""
    if reference[0] == reference[-1] == current[0] == current[-1]:
        return Tested(0.0, 0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy says each time that its p-value is bounded
        found = stats.anderson_ksamp([reference, current], **_MIDRANK)
    return Tested(float(found.statistic), float(found.pvalue))


def cramer_von_mises(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Cramer-von Mises for two samples; at least two values on each side."""
    if min(reference.size, current.size) < 2:
        return Tested(0.0, 1.0)
    found = stats.cramervonmises_2samp(reference, current)
    return Tested(float(found.statistic), float(found.pvalue))


def t(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Student's t with one variance, two-sided: do the means differ?"""
    return _of_means(reference, current, one_variance=True)


def welch(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Welch's t, which lets variances differ, two-sided."""
    return _of_means(reference, current, one_variance=False)


def _of_means(reference: np.ndarray, current: np.ndarray, *, one_variance: bool) -> Tested:
    if min(reference.size, current.size) < 2:
        return Tested(0.0, 1.0)
    if reference[0] == reference[-1] and current[0] == current[-1]:
        return Tested(0.0, 1.0) if reference[0] == current[0] else Tested(float("inf"), 0.0)
    found = stats.ttest_ind(reference, current, equal_var=one_variance)
    return Tested(float(found.statistic), float(found.pvalue))


def mann_whitney(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Mann-Whitney U, two-sided: does one side tend to greater values?"""
    found = stats.mannwhitneyu(reference, current, alternative="two-sided")
    return Tested(float(found.statistic), float(found.pvalue))


def mann_whitney_less(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Mann-Whitney U, one-sided: does the current side tend to greater values?"""
    found = stats.mannwhitneyu(reference, current, alternative="less")
    return Tested(float(found.statistic), float(found.pvalue))


def epps_singleton(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Epps-Singleton: do the characteristic functions differ? Not known for fewer than five values, or where the middle
    half of them is one value: the p-value is 1 then."""
    pooled = np.concatenate([reference, current])
    low, high = np.quantile(pooled, [0.25, 0.75])
    if min(reference.size, current.size) < 5 or low == high:
        return Tested(0.0, 1.0)
    found = stats.epps_singleton_2samp(reference, current)
    return Tested(float(found.statistic), float(found.pvalue))


def levene(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Levene's test around the median (Brown & Forsythe): do the spreads differ?"""
    if min(reference.size, current.size) < 2 or (reference[0] == reference[-1] and current[0] == current[-1]):
        return Tested(0.0, 1.0)
    found = stats.levene(reference, current, center="median")
    return Tested(float(found.statistic), float(found.pvalue))


def mmd(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Maximum mean discrepancy, unbiased, Gaussian kernel at the median distance (Gretton et al., JMLR 2012), on at most
    1,000 values of each side, evenly spread; p-value by 200 permutations."""
    x, y = (_some(side, _MMD_ROWS)[:, None] for side in (reference, current))
    return mmd_of(x, y)


def mmd_of(x: np.ndarray, y: np.ndarray) -> Tested:
    """Give the maximum mean discrepancy of two samples of points, float64 (n, d) and (m, d)."""
    n, m = len(x), len(y)
    if min(n, m) < 2:
        return Tested(0.0, 1.0)
    apart = squares_apart(np.concatenate([x, y]))
    middle = float(np.median(apart[:n, :n])) or 1.0
    kernel = np.exp(-apart / middle)
    np.fill_diagonal(kernel, 0.0)
    sums = parted(kernel, n)
    found = sums.first / (n * (n - 1)) + sums.second / (m * (m - 1)) - 2 * sums.across / (n * m)
    return Tested(float(found[0]), by_chance(found))


def _some(values: np.ndarray, many: int) -> np.ndarray:
    """Take at most so many of sorted values, at evenly spread ranks."""
    return values if values.size <= many else values[np.linspace(0, values.size - 1, many).round().astype(np.int64)]


def _midrank() -> dict[str, object]:
    """Ask for midranks by the name that the installed scipy has for them."""
    import inspect

    return {"variant": "midrank"} if "variant" in inspect.signature(stats.anderson_ksamp).parameters else {}


_MIDRANK = _midrank()

NUMBER_TESTS: dict[str, NamedTest] = {
    "ks": NamedTest(ks, LEVEL, True),
    "wasserstein": NamedTest(wasserstein, MUCH, False),
    "wasserstein_raw": NamedTest(wasserstein_raw, MUCH, False),
    "energy": NamedTest(energy, MUCH, False),
    "anderson_darling": NamedTest(anderson_darling, LEVEL, True),
    "cramer_von_mises": NamedTest(cramer_von_mises, LEVEL, True),
    "t": NamedTest(t, LEVEL, True),
    "welch": NamedTest(welch, LEVEL, True),
    "mann_whitney": NamedTest(mann_whitney, LEVEL, True),
    "mann_whitney_less": NamedTest(mann_whitney_less, LEVEL, True),
    "epps_singleton": NamedTest(epps_singleton, LEVEL, True),
    "levene": NamedTest(levene, LEVEL, True),
    "mmd": NamedTest(mmd, LEVEL, True),
}

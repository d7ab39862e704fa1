"""Tests of counts in cells, by name: the categories of both sides, or the bins of numbers. Missing values are left out.

Each takes two float64 arrays of the same cells, neither of them empty of rows. To add one: a function of (reference,
current) that gives a `Tested`, and a line in `CELL_TESTS`.
"""

import math

import numpy as np
from scipy import special, stats

from kedge.data.tables.distances import FLOOR
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing.outcome import LEVEL, MUCH, NamedTest, Tested

_TURNS, _TURNED = 1000, 1000  # permutations, and the most cells that they are made for


def psi(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Population stability index: sum of (q - p) ln(q / p), shares of at least 1e-4."""
    return _psi(*(np.maximum(share, FLOOR) for share in shares(reference, current)))


def kl(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Kullback-Leibler divergence of the reference from the current side, sum of p ln(p / q), shares of at least 1e-4."""
    return _kl(*(np.maximum(share, FLOOR) for share in shares(reference, current)))


def psi_filled(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Population stability index with only empty cells filled: by 1e-4, or by a millionth of the least share below that."""
    return _psi(*map(_filled, shares(reference, current)))


def kl_filled(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Kullback-Leibler divergence with only empty cells filled."""
    return _kl(*map(_filled, shares(reference, current)))


def _psi(p: np.ndarray, q: np.ndarray) -> Tested:
    return Tested(float(((q - p) * np.log(q / p)).sum()))


def _kl(p: np.ndarray, q: np.ndarray) -> Tested:
    p, q = p / p.sum(), q / q.sum()
    return Tested(float(special.rel_entr(p, q).sum()))


def _filled(share: np.ndarray) -> np.ndarray:
    least = share[share > 0].min()
    return np.where(share > 0, share, least / 1e6 if least <= FLOOR else FLOOR)


def jensen_shannon(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Jensen-Shannon distance in [0, 1]: the square root of the divergence to base 2."""
    return Tested(jensen_shannon_nats(reference, current).value / math.sqrt(math.log(2.0)))


def jensen_shannon_nats(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Jensen-Shannon distance with natural logarithms, in [0, 0.833]."""
    p, q = shares(reference, current)
    middle = (p + q) / 2
    return Tested(float(np.sqrt(max((special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum() / 2, 0.0))))


def hellinger(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Hellinger distance in [0, 1]."""
    p, q = shares(reference, current)
    return Tested(float(np.sqrt(np.clip(1.0 - np.sqrt(p * q).sum(), 0.0, 1.0))))


def total_variation(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Total variation distance: the share of rows that would have to change cell; p-value by 1,000 permutations."""
    p, q = shares(reference, current)
    found = float(np.abs(p - q).sum() / 2)
    if reference.size > _TURNED:
        return Tested(found)
    pooled, n = (reference + current).astype(np.int64), int(reference.sum())
    drawn = np.random.default_rng(0).multivariate_hypergeometric(pooled, n, size=_TURNS, method="marginals")
    turned = np.abs(drawn / n - (pooled - drawn) / current.sum()).sum(axis=1) / 2
    return Tested(found, float((1 + (turned >= found - 1e-12).sum()) / (_TURNS + 1)))


def l_infinity(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Greatest difference of a cell's share, in [0, 1]."""
    p, q = shares(reference, current)
    return Tested(float(np.abs(p - q).max()))


def chi2(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Pearson's chi-squared test of one distribution behind both sides."""
    return _contingency(reference, current, power="pearson")


def g(reference: np.ndarray, current: np.ndarray) -> Tested:
    """G test (likelihood ratio) of one distribution behind both sides."""
    return _contingency(reference, current, power="log-likelihood")


def _contingency(reference: np.ndarray, current: np.ndarray, *, power: str) -> Tested:
    table = np.vstack([reference, current])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return Tested(0.0, 1.0)
    found = stats.chi2_contingency(table, correction=False, lambda_=power)
    return Tested(float(found.statistic), float(found.pvalue))


def chi2_fit(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Pearson's chi-squared test of fit, which takes the reference's shares for known without error."""
    expected = reference * (current.sum() / reference.sum())
    if ((expected == 0) & (current > 0)).any():
        return Tested(float("inf"), 0.0)
    there = expected > 0
    value = float(((current - expected)[there] ** 2 / expected[there]).sum())
    return Tested(value, float(stats.chi2.sf(value, reference.size - 1)) if reference.size > 1 else 1.0)


def g_fit(reference: np.ndarray, current: np.ndarray) -> Tested:
    """G test of fit, which takes the reference's shares for known without error."""
    expected = reference * (current.sum() / reference.sum())
    if ((expected == 0) & (current > 0)).any():
        return Tested(float("inf"), 0.0)
    value = float(2 * special.rel_entr(current, expected).sum())
    return Tested(value, float(stats.chi2.sf(value, reference.size - 1)) if reference.size > 1 else 1.0)


def z(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Z test of two proportions, pooled, two-sided: the first cell's share against that of all others together."""
    n, m = reference.sum(), current.sum()
    pooled = (reference[0] + current[0]) / (n + m)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if spread == 0:
        return Tested(0.0, 1.0)
    value = float((current[0] / m - reference[0] / n) / spread)
    return Tested(value, float(2 * stats.norm.sf(abs(value))))


def fisher(reference: np.ndarray, current: np.ndarray) -> Tested:
    """Fisher's exact test; of two cells. Raises RequestInvalid for more."""
    if reference.size > 2:
        raise RequestInvalid(f"fisher needs a column of two values, not of {reference.size}; use chi2 or g there")
    if reference.size < 2:
        return Tested(1.0, 1.0)
    found = stats.fisher_exact(np.vstack([current, reference]).astype(np.int64))
    return Tested(float(found.statistic), float(found.pvalue))


def shares(reference: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give both sides' counts as shares."""
    return reference / reference.sum(), current / current.sum()


CELL_TESTS: dict[str, NamedTest] = {
    "psi": NamedTest(psi, MUCH, False),
    "kl": NamedTest(kl, MUCH, False),
    "jensen_shannon": NamedTest(jensen_shannon, MUCH, False),
    "hellinger": NamedTest(hellinger, MUCH, False),
    "total_variation": NamedTest(total_variation, MUCH, False),
    "l_infinity": NamedTest(l_infinity, MUCH, False),
    "chi2": NamedTest(chi2, LEVEL, True),
    "chi2_fit": NamedTest(chi2_fit, LEVEL, True),
    "g": NamedTest(g, LEVEL, True),
    "g_fit": NamedTest(g_fit, LEVEL, True),
    "z": NamedTest(z, LEVEL, True),
    "fisher": NamedTest(fisher, LEVEL, True),
}

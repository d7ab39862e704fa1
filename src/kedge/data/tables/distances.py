"""Distances between two distributions, given as shares: those that monitoring shows of windows, and a diff of versions.

To add one: a function of two share arrays (reference, window) and a line in `DRIFT_TESTS`. The arrays are float64
(columns, cells): the bins in order of value, or the categories and "others"; the last cell is the missing share. Each
row sums to 1; cells that a column does not have are 0. A test gives one number for each column.
"""

from collections.abc import Callable

import numpy as np

DriftTest = Callable[[np.ndarray, np.ndarray], np.ndarray]
BINS = 64
FLOOR = 1e-4


def psi(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Population stability index: sum of (q - p) ln(q / p), shares of at least 1e-4."""
    p, q = np.maximum(reference, FLOOR), np.maximum(window, FLOOR)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def jensen_shannon(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Jensen-Shannon distance in [0, 1]: square root of the divergence to base 2."""
    middle = (reference + window) / 2
    divergence = (_relative_entropy(reference, middle) + _relative_entropy(window, middle)) / 2
    return np.asarray(np.sqrt(np.maximum(divergence, 0.0)))


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    inside = p > 0
    ratio = np.divide(p, q, out=np.ones_like(p), where=inside)
    return np.asarray((p * np.log2(ratio, out=np.zeros_like(p), where=inside)).sum(axis=-1))


def kolmogorov_smirnov(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Greatest difference of the distribution functions at the bins' borders, missing values left out."""
    return np.asarray(np.abs(present(reference).cumsum(axis=-1) - present(window).cumsum(axis=-1)).max(axis=-1, initial=0.0))


def wasserstein(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Wasserstein distance between the reference ranks, in [0, 1/2]: mean move of a value along the reference."""
    p, q = present(reference), present(window)
    return np.asarray((np.abs(p.cumsum(axis=-1) - q.cumsum(axis=-1)) * p).sum(axis=-1))


def rank_shift(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Mean reference rank of the window less 1/2, in [-1/2, 1/2]."""
    p, q = present(reference), present(window)
    return np.asarray((q * ranks(p)).sum(axis=-1) - q.sum(axis=-1) / 2)


def total_variation(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Share of rows that would have to change cell: half the sum of absolute differences."""
    return np.asarray(np.abs(reference - window).sum(axis=-1) / 2)


DRIFT_TESTS: dict[str, DriftTest] = {
    "psi": psi,
    "jensen_shannon": jensen_shannon,
    "kolmogorov_smirnov": kolmogorov_smirnov,
    "wasserstein": wasserstein,
    "rank_shift": rank_shift,
    "total_variation": total_variation,
}
ORDERED_ONLY = frozenset({"kolmogorov_smirnov", "wasserstein", "rank_shift"})


def ranks(shares: np.ndarray) -> np.ndarray:
    """Give each bin the middle of the ranks that the reference's values in it take, in [0, 1]."""
    return np.asarray(shares.cumsum(axis=-1) - shares / 2)


def present(shares: np.ndarray) -> np.ndarray:
    """Give the shares among the values that are not missing; zeros where all are."""
    total = shares[..., :-1].sum(axis=-1, keepdims=True)
    return np.asarray(shares[..., :-1] / np.where(total > 0, total, 1.0))


def number_borders(values: np.ndarray) -> tuple[float, ...]:
    """Choose the inner borders of the bins for a reference column: float64 values, NaN for missing.

    With up to 62 distinct values each gets a bin of its own. Without any finite value there are no borders: one bin.
    """
    return tuple(sorted_borders(np.sort(values[np.isfinite(values)])).tolist())


def sorted_borders(finite: np.ndarray) -> np.ndarray:
    """Choose the inner borders of the bins for sorted finite values: float64 (borders,)."""
    if not finite.size:
        return finite
    ranked = finite[np.arange(BINS - 2) * finite.size // (BINS - 2)]
    if (ranked[1:] > ranked[:-1]).all():  # so many distinct values at least: what is below comes to the same
        return np.append(ranked, np.nextafter(finite[-1], np.inf))
    inner = finite[np.flatnonzero(np.diff(finite, prepend=-np.inf))]
    if inner.size > BINS - 2:
        inner = np.unique(ranked)
    return np.append(inner, np.nextafter(finite[-1], np.inf))

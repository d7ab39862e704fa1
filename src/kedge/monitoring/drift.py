"""Distances between a column of a window and its reference, from their profiles alone. Shown; they never alarm.

To add one: a function of two share vectors (reference, window) and a line in `DRIFT_TESTS`. The shares are those of the
bins in order of value, or of the categories and "others"; the last one is the missing share. They sum to 1.
"""

from collections.abc import Callable

import numpy as np

from kedge.domain.monitoring import ColumnProfile
from kedge.monitoring.profile import cells

DriftTest = Callable[[np.ndarray, np.ndarray], float]
FLOOR = 1e-4


def psi(reference: np.ndarray, window: np.ndarray) -> float:
    """Population stability index: sum of (q - p) ln(q / p), shares of at least 1e-4."""
    p, q = np.maximum(reference, FLOOR), np.maximum(window, FLOOR)
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(reference: np.ndarray, window: np.ndarray) -> float:
    """Jensen-Shannon distance in [0, 1]: square root of the divergence to base 2."""
    middle = (reference + window) / 2
    divergence = (_relative_entropy(reference, middle) + _relative_entropy(window, middle)) / 2
    return float(np.sqrt(max(0.0, divergence)))


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    inside = p > 0
    return float(np.sum(p[inside] * np.log2(p[inside] / q[inside])))


def kolmogorov_smirnov(reference: np.ndarray, window: np.ndarray) -> float:
    """Greatest difference of the distribution functions at the bins' borders, missing values left out."""
    return float(np.max(np.abs(np.cumsum(_present(reference)) - np.cumsum(_present(window))), initial=0.0))


def wasserstein(reference: np.ndarray, window: np.ndarray) -> float:
    """Wasserstein distance between the reference ranks, in [0, 1/2]: mean move of a value along the reference."""
    p, q = _present(reference), _present(window)
    return float(np.sum(np.abs(np.cumsum(p) - np.cumsum(q)) * p))


def rank_shift(reference: np.ndarray, window: np.ndarray) -> float:
    """Mean reference rank of the window less 1/2, in [-1/2, 1/2]."""
    p, q = _present(reference), _present(window)
    return float(np.sum(q * ranks(p)) - np.sum(q) / 2)


def total_variation(reference: np.ndarray, window: np.ndarray) -> float:
    """Share of rows that would have to change cell: half the sum of absolute differences."""
    return float(np.sum(np.abs(reference - window)) / 2)


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
    return np.asarray(np.cumsum(shares) - shares / 2)


def distances(reference: ColumnProfile, window: ColumnProfile) -> dict[str, float]:
    """Measure all distances that make sense for a column; none where either side has no rows."""
    if not reference.rows or not window.rows:
        return {}
    p, q = cells(reference) / reference.rows, cells(window) / window.rows
    return {
        name: test(p, q) for name, test in DRIFT_TESTS.items() if not (reference.labels and name in ORDERED_ONLY)
    }


def _present(shares: np.ndarray) -> np.ndarray:
    """Give the shares among the values that are not missing; zeros where all are."""
    total = shares[:-1].sum()
    return np.asarray(shares[:-1] / total if total > 0 else shares[:-1])

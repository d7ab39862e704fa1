"""Sums over rows that come out the same however the rows were parted: added one by one, in order."""

from collections.abc import Sequence

import numpy as np


def summed(start: float, values: np.ndarray) -> float:
    """Add values to a sum."""
    return float(np.cumsum(np.append(start, values))[-1])


def summed_by(starts: Sequence[float], places: np.ndarray, *, values: np.ndarray) -> np.ndarray:
    """Add values to sums, each to that at its place: float64 (starts,)."""
    each = np.concatenate([np.arange(len(starts)), places])
    return np.bincount(each, weights=np.concatenate([starts, values]), minlength=len(starts))

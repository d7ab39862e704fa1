"""Permutation tests: a statistic of two samples by sums within and across them, and of the same rows parted by chance."""

from typing import NamedTuple

import numpy as np

TURNS = 200


class PartedSums(NamedTuple):
    """Sums of a symmetric matrix over the pairs within the first sample, within the second, and across them: float64
    (1 + TURNS,), those of the samples as they are first, then of the rows parted by chance."""

    first: np.ndarray
    second: np.ndarray
    across: np.ndarray


def squares_apart(points: np.ndarray) -> np.ndarray:
    """Give the squared distances of points, float64 (n, d): (n, n)."""
    squares = (points**2).sum(axis=1)
    return np.asarray(np.maximum(squares[:, None] - 2 * points @ points.T + squares[None, :], 0.0))


def parted(matrix: np.ndarray, n: int) -> PartedSums:
    """Sum a matrix (rows, rows) whose first n rows are one sample. Seeded."""
    size = len(matrix)
    member = np.zeros((size, TURNS + 1))
    member[:n, 0] = 1.0
    turns = np.random.default_rng(0)
    for turn in range(1, TURNS + 1):
        member[turns.permutation(size)[:n], turn] = 1.0
    toward = matrix @ member
    first = (member * toward).sum(axis=0)
    across = ((1.0 - member) * toward).sum(axis=0)
    return PartedSums(first, matrix.sum() - first - 2 * across, across)


def by_chance(found: np.ndarray) -> float:
    """Give the p-value of a statistic: the share of partings by chance, the real one among them, with as much."""
    return float((1 + (found[1:] >= found[0] - 1e-12).sum()) / found.size)

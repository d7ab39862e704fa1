"""Where the loss rose: every item and every pair of items of two columns, recent rows against the gate's.

One product of matrices gives the rows, losses and squared losses of all pairs at once. Rows of a day rise and fall
together, so variances are widened by how much the days' mean losses stray beyond what their rows explain; and as many
slices are tried as there are, so a rise is called sure only beyond Bonferroni's limit for their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kedge.evaluation.metrics import Vector
from kedge.monitoring.causes.items import Items

LEVEL = 0.05
BAND = 1.96
FEWEST_GATE = 20
MOST_SHOWN = 5
OVERLAP = 0.6


class FoundSlice(NamedTuple):
    """A slice by its items, with its rows and mean losses on both sides, the standard error of its rise, its mask."""

    items: tuple[int, ...]
    rows: int
    gate_rows: int
    loss: float
    gate_loss: float
    error: float
    sure: bool
    mask: np.ndarray

    @property
    def rise(self) -> float:
        """Give the mean loss less that at the gate."""
        return self.loss - self.gate_loss


class _Cells(NamedTuple):
    """Rows, means and variances of the losses of all pairs of items; singles on the diagonal."""

    rows: np.ndarray
    means: np.ndarray
    errors: np.ndarray


def risen_slices(
    items: Items,
    *,
    codes: np.ndarray,
    losses: Vector,
    gate_codes: np.ndarray,
    gate_losses: Vector,
    least: int,
    stray: float,
) -> tuple[list[FoundSlice], int]:
    """Find the slices whose loss rose most beyond that of all rows, the one that adds most first; and how many were tried.

    `least` rows are needed of the recent ones, `stray` widens the variance.
    """
    now, then = _cells(items, codes, losses=losses), _cells(items, gate_codes, losses=gate_losses)
    enough = (now.rows >= least) & (then.rows >= FEWEST_GATE) & (now.rows < len(losses))
    tried = int(np.triu(enough).sum())
    if not tried:
        return [], 0
    from scipy.special import ndtri

    limit = float(-ndtri(LEVEL / tried))
    whole = float(losses.mean() - gate_losses.mean())
    errors = np.sqrt(stray * (now.errors + then.errors))
    beyond = now.means - then.means - whole
    gain = np.where(enough & (beyond > BAND * errors), now.rows * (beyond - errors), 0.0)
    found: list[FoundSlice] = []
    for one, other in _best(gain, beyond=beyond, errors=errors):
        mask = _mask(codes, items, pair=(one, other))
        if any(_overlap(mask, each.mask) > OVERLAP for each in found):
            continue
        found.append(
            FoundSlice(
                items=(one,) if one == other else (one, other),
                rows=int(now.rows[one, other]),
                gate_rows=int(then.rows[one, other]),
                loss=float(now.means[one, other]),
                gate_loss=float(then.means[one, other]),
                error=float(errors[one, other]),
                sure=bool(beyond[one, other] > limit * errors[one, other]),
                mask=mask,
            )
        )
        if len(found) == MOST_SHOWN:
            break
    return found, tried


def stray_of(losses: Vector, days: np.ndarray) -> float:
    """Give by how much the days' mean losses stray beyond what their rows explain: a factor of variance, at least 1."""
    names, place, rows = np.unique(days, return_inverse=True, return_counts=True)
    if names.size < 2:
        return 1.0
    means = np.bincount(place, weights=losses) / rows
    within = float(np.square(losses - means[place]).sum()) / max(1, len(losses) - names.size)
    if within <= 0:
        return 1.0
    between = float((rows * np.square(means - losses.mean())).sum()) / (names.size - 1)
    return max(1.0, between / within)


def _cells(items: Items, codes: np.ndarray, *, losses: Vector) -> _Cells:
    count, (rows, columns) = len(items.names), codes.shape
    hot = np.zeros((rows, count), dtype=np.float32)
    at = np.repeat(np.arange(rows), columns)
    flat = codes.ravel()
    hot[at[flat >= 0], flat[flat >= 0]] = 1
    moved = (losses - losses.mean()).astype(np.float32)  # so that squares lose no digits
    n = (hot.T @ hot).astype(np.float64)
    total = (hot.T @ (hot * moved[:, None])).astype(np.float64)
    squares = (hot.T @ (hot * np.square(moved)[:, None])).astype(np.float64)
    some = np.maximum(n, 1)
    means = total / some
    variance = np.maximum(squares / some - np.square(means), 0) * some / np.maximum(n - 1, 1)
    return _Cells(n, means + float(losses.mean()), variance / some)


def _best(gain: np.ndarray, *, beyond: np.ndarray, errors: np.ndarray) -> Iterator[tuple[int, int]]:
    """Give pairs (a single item twice) by what they add; a pair only where it rose more than each of its items alone."""
    rows, columns = np.nonzero(np.triu(gain > 0))
    order = np.argsort(-gain[rows, columns], kind="stable")
    for one, other in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        alone = max(beyond[one, one], beyond[other, other])
        if one == other or beyond[one, other] > alone + errors[one, other]:
            yield one, other


def _mask(codes: np.ndarray, items: Items, *, pair: tuple[int, int]) -> np.ndarray:
    mask = np.ones(len(codes), dtype=bool)
    for item in pair:
        mask &= codes[:, items.columns[item]] == item
    return mask


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Give the share of the smaller of two sets of rows that lies in the other."""
    return float((one & other).sum()) / max(1, min(int(one.sum()), int(other.sum())))

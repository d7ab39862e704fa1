"""E-detectors: alarms with a declared mean run length, from nothing but the counts of each window.

Each column is watched through a few *streams* of values in [0, 1]: a number's reference rank u and its spread
2 |u - 1/2|, the share of each frequent category, the share of missing values. The null says that a stream's mean, given
the past, lies within a margin of its mean in the reference: a declared or learnt tolerance, plus the reference's own
error (Bernstein's bound, not Dvoretzky-Kiefer-Wolfowitz: only means are bet on, and the mean of a rank or of a rare
category is known better than a whole distribution). Against it we bet on both sides with a fixed mixture of bets
(Waudby-Smith & Ramdas, JRSS-B 2024): a row multiplies the capital by 1 + bet (value - null mean). Windows are summed as
Shiryaev and Roberts do, M <- (M + 1) e, so that E[time to a false alarm] >= the limit at which M alarms (Shin, Ramdas &
Rinaldo, 2023). A mean of e-detectors is one: over bets, sides and streams for a column, over columns for the alarm.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from kedge.data.tables.distances import ranks
from kedge.domain.monitoring import ColumnProfile
from kedge.monitoring.profile import cells

BETS = (0.02, 0.07, 0.2, 0.45, 0.85)
"""The mixture: shares of the greatest bet that cannot ruin."""
WATCHED_CATEGORIES = 20
REFERENCE_DOUBT = 0.05
"""Probability that the reference's error is greater than the margin grants."""
GREATEST_LOG = 690.0
SIDES = 2


class Streams(msgspec.Struct, frozen=True, eq=False):
    """What is watched of one column: `scores` and `counted` are float64 (streams, cells), scores in [0, 1]; a cell that
    is not counted (0) has no say in that stream."""

    names: tuple[str, ...]
    scores: np.ndarray
    counted: np.ndarray

    def means(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give each stream's mean and number of values for cell counts of shape (..., cells); no values: mean NaN."""
        rows = counts @ self.counted.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return (counts @ (self.scores * self.counted).T) / rows, rows


def streams_of(reference: ColumnProfile) -> Streams:
    """Choose what to watch of a column, from its reference profile."""
    counts = cells(reference)
    width = counts.size
    missing = np.zeros(width)
    missing[-1] = 1.0
    if reference.labels:
        names, values = _category_scores(reference)
    else:
        names, values = _rank_scores(counts[:-1])
    scores = np.vstack([np.pad(values, ((0, 0), (0, 1))), missing])
    counted = np.vstack([np.tile(1.0 - missing, (len(names), 1)), np.ones(width)])
    return Streams((*names, "missing"), scores, counted)


def _rank_scores(counts: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    u = ranks(counts / max(counts.sum(), 1.0))
    return ("rank", "spread"), np.vstack([u, 2 * np.abs(u - 0.5)])


def _category_scores(reference: ColumnProfile) -> tuple[tuple[str, ...], np.ndarray]:
    """One stream for each of the most frequent categories, and one for all others together."""
    width = len(reference.labels) + 1
    order = sorted(range(len(reference.labels)), key=lambda index: (-reference.counts[index], index))
    watched = order[:WATCHED_CATEGORIES]
    others = np.ones(width)
    others[watched] = 0.0
    return (*(reference.labels[index] for index in watched), "other categories"), np.vstack([np.eye(width)[watched], others])


class Watch(msgspec.Struct, frozen=True, eq=False):
    """Compiled bets of several columns. `gains` is float64 (streams, sides x bets, cells): the log of what one row in a
    cell multiplies the capital by; `column` maps a stream to its column, `weight` is the stream's share in it."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    gains: np.ndarray
    column: np.ndarray
    weight: np.ndarray

    def start(self) -> np.ndarray:
        """Give the state before the first window: log M, float64 (streams, sides x bets)."""
        return np.full(self.gains.shape[:2], -np.inf)


def compile_watch(references: Sequence[ColumnProfile], tolerances: Mapping[str, Sequence[float]]) -> Watch:
    """Prepare the bets for some columns. `tolerances` gives each column one tolerance for each of its streams."""
    all_streams = [streams_of(reference) for reference in references]
    width = max((streams.scores.shape[1] for streams in all_streams), default=1)
    gains = [
        _widened(_gains(reference, streams, tolerances=tolerances[reference.name]), width)
        for reference, streams in zip(references, all_streams, strict=True)
    ]
    sizes = [len(streams.names) for streams in all_streams]
    return Watch(
        columns=tuple(reference.name for reference in references),
        names=tuple(name for streams in all_streams for name in streams.names),
        gains=np.concatenate(gains) if gains else np.zeros((0, SIDES * len(BETS), width)),
        column=np.repeat(np.arange(len(sizes)), sizes),
        weight=np.repeat(1.0 / np.asarray(sizes, dtype=np.float64), sizes),
    )


def _widened(gains: np.ndarray, width: int) -> np.ndarray:
    return np.pad(gains, ((0, 0), (0, 0), (0, width - gains.shape[2])))


def _gains(reference: ColumnProfile, streams: Streams, *, tolerances: Sequence[float]) -> np.ndarray:
    """Give log(1 + bet (value - null mean)) for each stream, side and bet in each cell; 0 where a side has no null."""
    means, _ = streams.means(cells(reference))
    margin = np.nan_to_num(np.asarray(tolerances) + doubt(streams, cells(reference)), nan=1.0, posinf=1.0)
    above, below = np.nan_to_num(means, nan=1.0) + margin, np.nan_to_num(means, nan=0.0) - margin
    up = _side(streams.scores, above)
    down = _side(1.0 - streams.scores, 1.0 - below)
    return np.asarray(np.concatenate([up, down], axis=1) * streams.counted[:, None, :])


def doubt(streams: Streams, counts: np.ndarray) -> np.ndarray:
    """Bound how far a stream's mean in the reference lies from the truth, with probability 0.95 (Bernstein): float64."""
    means, rows = streams.means(counts)
    squares = Streams(streams.names, streams.scores**2, streams.counted).means(counts)[0]
    unlikely = math.log(2 / REFERENCE_DOUBT)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(2 * np.maximum(squares - means**2, 0.0) * unlikely / rows) + unlikely / (3 * rows))


def _side(scores: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Bet that a mean lies above its null: log gains, (streams, bets, cells). A null of 1 or more cannot be beaten."""
    possible = null < 1.0
    bets = np.asarray(BETS)[None, :, None] / np.where(possible, null, 1.0)[:, None, None]
    gains = np.log1p(bets * (scores[:, None, :] - np.where(possible, null, 0.0)[:, None, None]))
    return np.asarray(np.where(possible[:, None, None], gains, 0.0))


def step(watch: Watch, state: np.ndarray, *, counts: Sequence[np.ndarray]) -> np.ndarray:
    """Take one window into the state. `counts` holds each column's cells. An empty window changes nothing."""
    if not any(column.sum() for column in counts):
        return state
    table = np.zeros((len(watch.columns), watch.gains.shape[2]))
    for row, column in zip(table, counts, strict=True):
        row[: column.size] = column
    earned = np.einsum("sbc,sc->sb", watch.gains, table[watch.column])
    return np.asarray(np.minimum(np.logaddexp(state, 0.0) + earned, GREATEST_LOG))


def evidence(watch: Watch, state: np.ndarray) -> np.ndarray:
    """Give each column's e-detector: the mean over its streams, sides and bets. Float64 (columns,)."""
    streams = np.exp(state).mean(axis=1) * watch.weight
    return np.bincount(watch.column, weights=streams, minlength=len(watch.columns))


def leading_streams(watch: Watch, state: np.ndarray) -> list[str]:
    """Name the stream that speaks loudest in each column."""
    totals = state.max(axis=1, initial=-np.inf)
    return [
        watch.names[int(inside[np.argmax(totals[inside])])]
        for inside in (np.flatnonzero(watch.column == column) for column in range(len(watch.columns)))
    ]


def together(evidences: np.ndarray) -> float:
    """Give the e-detector of all columns together, their mean: it alarms at the declared run length."""
    return float(evidences.mean()) if evidences.size else 0.0


def limits(evidences: np.ndarray, run_length: float) -> tuple[np.ndarray, np.ndarray]:
    """List the columns that moved (e-d-BH: Dandapanthula & Ramdas, 2025): the greatest k whose k-th evidence reaches
    columns x run length / k. Gives each column's limit at its rank (float64) and whether it is listed (bool).

    Where any column is listed, the mean over all has reached the run length too.
    """
    order = np.argsort(-evidences, kind="stable")
    by_rank = evidences.size * run_length / np.arange(1, evidences.size + 1)
    reached = np.flatnonzero(evidences[order] >= by_rank)
    listed = np.zeros(evidences.size, dtype=bool)
    if reached.size:
        listed[order[: reached[-1] + 1]] = True
    limit = np.empty(evidences.size)
    limit[order] = by_rank
    return limit, listed

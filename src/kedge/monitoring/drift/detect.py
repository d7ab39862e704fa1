"""E-detectors: alarms with a declared mean run length, from nothing but the counts of each window.

Each column is watched through a few *streams* of values in [0, 1]: a number's reference rank u and its spread
2 |u - 1/2|, the share of each frequent category, the share of missing values. The null says that a stream's mean, given
the past, lies within a margin of its mean in the reference: a declared or learnt tolerance, plus the reference's own
error (`doubt`). Against it we bet on both sides with a fixed mixture of bets (Waudby-Smith & Ramdas, JRSS-B 2024): a row
multiplies the capital by 1 + bet (value - null mean), whose mean is at most 1 under the null. Windows are summed as
Shiryaev and Roberts do, M <- (M + 1) e, so that E[time to a false alarm] >= the limit at which M alarms (Shin, Ramdas &
Rinaldo, 2023), for windows of any size. A mean of e-detectors is one: over bets, sides and streams for a column, over
columns, and with the joint bets (`joint.py`), for the alarm.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import msgspec
import numpy as np

from kedge.data.tables.distances import ranks
from kedge.domain.monitoring import ColumnProfile
from kedge.monitoring.drift.profile import cells

BETS = (0.02, 0.07, 0.2, 0.45, 0.85)
"""The mixture: shares of the greatest bet that cannot ruin."""
WATCHED_CATEGORIES = 20
REFERENCE_DOUBT = 0.05
"""Probability that the error of any stream of the reference is greater than its margin grants."""
GREATEST_LOG = 690.0
SIDES = 2
MISSING_WEIGHT = 1 / 6
RANK_WEIGHTS = (3.0, 2.0)
"""What the missing share, the rank and the spread weigh in a column's mean: chosen before anything is seen."""


class Streams(msgspec.Struct, frozen=True, eq=False):
    """What is watched of one column: `scores` and `counted` are float64 (streams, cells), scores in [0, 1]; a cell that
    is not counted (0) has no say in that stream. `weights` sum to 1."""

    names: tuple[str, ...]
    scores: np.ndarray
    counted: np.ndarray
    weights: np.ndarray

    def means(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give each stream's mean and number of values for cell counts of shape (..., cells); no values: mean NaN."""
        return self._mean(self.scores, counts)

    def variances(self, counts: np.ndarray) -> np.ndarray:
        """Give the variance of one value of each stream for cell counts of shape (..., cells); no values: NaN."""
        return np.asarray(np.maximum(self._mean(self.scores**2, counts)[0] - self.means(counts)[0] ** 2, 0.0))

    def _mean(self, scores: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = counts @ self.counted.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return (counts @ (scores * self.counted).T) / rows, rows


def streams_of(reference: ColumnProfile) -> Streams:
    """Choose what to watch of a column, from its reference profile."""
    counts = cells(reference)
    width = counts.size
    missing = np.zeros(width)
    missing[-1] = 1.0
    if reference.labels:
        names, values = _category_scores(reference)
        weights = np.ones(len(names))
    else:
        names, values = _rank_scores(counts[:-1])
        weights = np.array(RANK_WEIGHTS)
    return Streams(
        (*names, "missing"),
        np.vstack([np.pad(values, ((0, 0), (0, 1))), missing]),
        np.vstack([np.tile(1.0 - missing, (len(names), 1)), np.ones(width)]),
        np.append(weights / weights.sum() * (1 - MISSING_WEIGHT), MISSING_WEIGHT),
    )


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


def doubt(streams: Streams, counts: np.ndarray, *, of: int) -> np.ndarray:
    """Bound how far each stream's mean in the reference lies from the truth, float64 (streams,): all `of` streams that are
    watched at once, with probability 0.95.

    The normal quantile of the mean's own error, and what its skew adds for shares near 0 or 1; never less than what is
    exact for a share that was not seen at all, ln(1 / p) / n. NaN or infinite where the reference has no value.
    """
    unlikely = REFERENCE_DOUBT / (SIDES * max(of, 1))
    quantile, log = NormalDist().inv_cdf(1 - unlikely), math.log(1 / unlikely)
    rows = streams.means(counts)[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = quantile * np.sqrt(streams.variances(counts) / rows) + 2 * log / (3 * rows)
        return np.asarray(np.maximum(error, log / rows))


class Watch(msgspec.Struct, frozen=True, eq=False):
    """Compiled bets of several columns. `excess` is float64 (streams, sides, cells): by how much a row in a cell lies
    beyond the null, 0 where a side has none. `gains` is float64 (streams, sides x bets, cells): the log of what one row
    multiplies the capital by. `column` maps a stream to its column, `weight` is its share in it, `variance` that of one
    of its values, `margin` how far its mean may lie from the reference's."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    excess: np.ndarray
    gains: np.ndarray
    column: np.ndarray
    weight: np.ndarray
    variance: np.ndarray
    margin: np.ndarray

    @property
    def width(self) -> int:
        """Give the number of cells of the widest column."""
        return int(self.excess.shape[2])


class Capital(msgspec.Struct, frozen=True, eq=False):
    """The e-detectors after a window, float64 (streams, sides x bets): `log` is log M, `since` the time (seconds since
    1970) from which M earned, each start weighed by what it earned."""

    log: np.ndarray
    since: np.ndarray


def start(watch: Watch) -> Capital:
    """Give the state before the first window."""
    return Capital(np.full(watch.gains.shape[:2], -np.inf), np.zeros(watch.gains.shape[:2]))


def compile_watch(references: Sequence[ColumnProfile], tolerances: Mapping[str, Sequence[float]]) -> Watch:
    """Prepare the bets for some columns. `tolerances` gives each column one tolerance for each of its streams."""
    all_streams = [streams_of(reference) for reference in references]
    width = max((streams.scores.shape[1] for streams in all_streams), default=1)
    sizes = [len(streams.names) for streams in all_streams]
    excess, gains = np.zeros((sum(sizes), SIDES, width)), np.zeros((sum(sizes), SIDES, len(BETS), width))
    margins, variances = np.zeros(sum(sizes)), np.zeros(sum(sizes))
    place = 0
    for reference, streams in zip(references, all_streams, strict=True):
        here, counts = slice(place, place + len(streams.names)), cells(reference)
        margins[here] = np.asarray(tolerances[reference.name]) + doubt(streams, counts, of=sum(sizes))
        variances[here] = streams.variances(counts)
        excess[here, :, : counts.size], gains[here, :, :, : counts.size] = _bets(streams, counts, margin=margins[here])
        place = here.stop
    return Watch(
        columns=tuple(reference.name for reference in references),
        names=tuple(name for streams in all_streams for name in streams.names),
        excess=excess,
        gains=gains.reshape(sum(sizes), SIDES * len(BETS), width),
        column=np.repeat(np.arange(len(sizes)), sizes),
        weight=np.concatenate([np.zeros(0), *(streams.weights for streams in all_streams)]),
        variance=np.nan_to_num(variances),
        margin=np.nan_to_num(margins, nan=1.0, posinf=1.0),
    )


def _bets(streams: Streams, counts: np.ndarray, *, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the excess (streams, sides, cells) over both nulls, and the log gain of each bet on it. A null mean of 1 or
    more cannot be beaten: there is no bet on that side."""
    means, wide = streams.means(counts)[0], np.nan_to_num(margin, nan=1.0, posinf=1.0)
    nulls = np.stack([np.nan_to_num(means, nan=1.0) + wide, 1.0 - np.nan_to_num(means, nan=0.0) + wide], axis=1)
    scores = np.stack([streams.scores, 1.0 - streams.scores], axis=1)
    possible = (nulls < 1.0)[:, :, None]
    excess = np.where(possible, scores - nulls[:, :, None], 0.0) * streams.counted[:, None, :]
    bets = np.asarray(BETS)[None, None, :] / np.where(possible, nulls[:, :, None], 1.0)
    return excess, np.log1p(bets[..., None] * excess[:, :, None, :])


def step(watch: Watch, capital: Capital, *, counts: np.ndarray, at: float) -> Capital:
    """Take one window, which began at `at` (seconds since 1970), into the state. `counts` is float64 (columns, cells). An
    empty window changes nothing."""
    if not counts.any():
        return capital
    earned = np.matmul(watch.gains, counts[watch.column][:, :, None])[:, :, 0]
    return grown(capital, earned, at=at)


def grown(capital: Capital, earned: np.ndarray, *, at: float) -> Capital:
    """Let capital grow by what a window earned (logs): M <- (M + 1) e. Of M + 1 the 1 starts here, and now."""
    log = np.logaddexp(capital.log, 0.0)
    share = np.exp(-log)
    since = capital.since + (at - capital.since) * share
    return Capital(np.minimum(log + earned, GREATEST_LOG), since)


def evidence(watch: Watch, capital: Capital) -> np.ndarray:
    """Give each column's e-detector: the mean over its streams, sides and bets. Float64 (columns,)."""
    streams = np.exp(capital.log).mean(axis=1) * watch.weight
    return np.bincount(watch.column, weights=streams, minlength=len(watch.columns))


def leading(watch: Watch, capital: Capital) -> list[tuple[str, float]]:
    """Give for each column the stream that speaks loudest, and since when (seconds since 1970)."""
    if not watch.columns:
        return []
    bet, loud = capital.log.argmax(axis=1), capital.log.max(axis=1)
    order = np.lexsort((-np.arange(loud.size), loud, watch.column))  # in each column the loudest last; of equals the first
    last = np.append(np.flatnonzero(np.diff(watch.column)), loud.size - 1)
    return [(watch.names[stream], float(capital.since[stream, bet[stream]])) for stream in order[last].tolist()]


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

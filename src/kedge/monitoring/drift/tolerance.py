"""The tolerance learnt from the reference itself: how far its own blocks of time lie from its overall mean.

A weekly or daily rhythm moves every block, and is no alarm. A block's deviation holds sampling noise too; that part is
known (variance / rows, and a standard deviation of it on top) and taken out, so that a steady reference with small blocks
gets a small tolerance and not a wide one. What is left of the greatest deviation is widened by 1 + 2 / sqrt(blocks) + 12 /
blocks: few blocks have not shown the worst. Ten blocks grant 2.8 times what they showed, ninety 1.3 times.
"""

import numpy as np

from kedge.monitoring.drift.detect import Streams

LEAST = 0.01
GREATEST = 0.5
UNKNOWN = 0.05
"""Where fewer than four blocks have rows, nothing can be learnt."""
FEWEST_BLOCKS = 4
FEWEST_ROWS = 10


def learn(streams: Streams, *blockings: np.ndarray) -> tuple[float, ...]:
    """Give a tolerance for each stream of a column. Each blocking is float64 (blocks, cells): one for days, one for
    weeks; the greatest over them counts. Blocks with fewer than ten values in a stream are left out."""
    learnt = np.array([_learn(streams, counts) for counts in blockings])
    known = ~np.isnan(learnt).all(axis=0)
    widest = np.nanmax(np.where(np.isnan(learnt), -np.inf, learnt), axis=0)
    return tuple(float(value) for value in np.clip(np.where(known, widest, UNKNOWN), LEAST, GREATEST))


def blocks_known(streams: Streams, *blockings: np.ndarray) -> int:
    """Count the blocks that a tolerance of the column can be learnt from, in the blocking that has most of them."""
    return max(
        (int((streams.means(counts)[1] >= FEWEST_ROWS).sum(axis=0).max(initial=0)) for counts in blockings), default=0
    )


def _learn(streams: Streams, counts: np.ndarray) -> np.ndarray:
    """Learn from one blocking: float64 (streams,), NaN where there are too few blocks."""
    total = counts.sum(axis=0)
    overall, _ = streams.means(total)
    seen, rows = streams.means(counts)
    usable = rows >= FEWEST_ROWS
    blocks = usable.sum(axis=0)
    noise = np.where(usable, streams.variances(total) / np.maximum(rows, 1.0), 0.0)
    deviation = np.where(usable, seen - overall, 0.0)
    free = np.maximum(blocks - 1, 1)
    chance = noise.sum(axis=0) / free * (1 + np.sqrt(2 / free))
    between = np.maximum((deviation**2).sum(axis=0) / free - chance, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = np.nan_to_num(np.sqrt(between / (between + noise)))
        widened = np.abs(deviation * kept).max(axis=0, initial=0.0) * (1 + 2 / np.sqrt(blocks) + 12 / blocks)
    return np.where(blocks >= FEWEST_BLOCKS, widened, np.nan)

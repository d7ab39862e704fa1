"""Joint bets: the columns' small moves added up row by row, in the directions that the windows before have shown.

A row earns y = sum over streams of weight x (value - null mean), on the side that moved. The weights are 0 or more and
are set before the window, so under the null the mean of y, given the past, is at most 0, however the columns depend on
each other; and 1 + bet y is never below 0 for a bet up to -1 / (least y). So this is an e-detector like the others
(`detect.py`), and three columns that each move by a tenth of a standard deviation are heard in half the time.

A weight is what a stream lay beyond its null so far, by its variance: the best bet for columns that do not depend on each
other. What lies back is forgotten at two rates; six e-detectors (rates x bets) are averaged.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from kedge.monitoring.drift.detect import Capital, Watch, grown

MEMORY_ROWS = np.array([1500.0, 8000.0])
"""After how many rows a third is left of what was seen."""
BETS = np.array([0.15, 0.4, 1.0])
CAUTION = 0.9
"""The greatest share of the capital that a row may cost."""
WEIGHT = 0.3
"""The share of the joint bets in the alarm of all columns; the mean over the columns has the rest."""


class JointMemory(msgspec.Struct, frozen=True, eq=False):
    """What the windows so far showed: the sum of what lay beyond the null, float64 (rates, streams, sides), over how many
    rows (rates,); and the capital of each rate and bet."""

    excess: np.ndarray
    rows: np.ndarray
    capital: Capital


class JointBets(msgspec.Struct, frozen=True, eq=False):
    """The bets for a window: `worth` is what a row in a cell earns for each rate and column, float64 (rates, columns,
    cells), `bets` the bets (rates, bets). 0 where nothing has been seen."""

    worth: np.ndarray
    bets: np.ndarray


def start(watch: Watch) -> JointMemory:
    """Give the state before the first window."""
    shape = (MEMORY_ROWS.size, *watch.excess.shape[:2])
    nothing = Capital(np.full((MEMORY_ROWS.size, BETS.size), -np.inf), np.zeros((MEMORY_ROWS.size, BETS.size)))
    return JointMemory(np.zeros(shape), np.zeros(MEMORY_ROWS.size), nothing)


def plan(watch: Watch, memory: JointMemory) -> JointBets:
    """Set the bets for the next window, from what the windows before it showed."""
    beyond = np.maximum(memory.excess, 0.0) / np.maximum(memory.rows, 1.0)[:, None, None]
    weights = beyond / np.minimum(watch.variance + watch.margin, 0.25)[None, :, None]
    worth = np.zeros((MEMORY_ROWS.size, len(watch.columns), watch.width))
    for rate, weight in zip(worth, weights, strict=True):
        np.add.at(rate, watch.column, (weight[:, :, None] * watch.excess).sum(axis=1))
    least = -worth.min(axis=2, initial=0.0).sum(axis=1)
    return JointBets(worth, np.minimum(BETS[None, :], CAUTION / np.maximum(least, 1e-12)[:, None]))


def earn(planned: JointBets, placed: np.ndarray, *, hidden: Sequence[int] = ()) -> np.ndarray:
    """Give what rows earn by these bets, as logs: float64 (rates, bets). `placed` is each row's cell in each column, int
    (columns, rows), those of `hidden` columns unknown; parts of a window add up."""
    earned = np.zeros(planned.bets.shape)
    shown = [column for column in range(placed.shape[0]) if column not in hidden]
    for rate, (worth, bets) in enumerate(zip(planned.worth, planned.bets, strict=True)):
        betting = [column for column in shown if worth[column].any()]
        if betting:
            rows = sum((worth[column][placed[column]] for column in betting), np.zeros(placed.shape[1]))
            earned[rate] = np.log1p(bets[:, None] * rows).sum(axis=1)
    return earned


def step(watch: Watch, memory: JointMemory, *, counts: np.ndarray, earned: np.ndarray, at: float) -> JointMemory:
    """Take a window into the state: its cell counts, float64 (columns, cells), and what its rows earned. An empty window
    changes nothing."""
    if not counts.any():
        return memory
    rows = float(counts.sum(axis=1).max())
    kept = np.exp(-rows / MEMORY_ROWS)
    seen = np.matmul(watch.excess, counts[watch.column][:, :, None])[:, :, 0]
    return JointMemory(
        memory.excess * kept[:, None, None] + seen, memory.rows * kept + rows, grown(memory.capital, earned, at=at)
    )


def evidence(memory: JointMemory) -> float:
    """Give the e-detector of the joint bets: their mean."""
    return float(np.exp(memory.capital.log).mean())


def since(memory: JointMemory) -> float:
    """Say since when the loudest of them earned (seconds since 1970)."""
    return float(memory.capital.since.flat[int(memory.capital.log.argmax())])

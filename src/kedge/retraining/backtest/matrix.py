"""The loss matrix: what the model of each step would have lost on every later block of time. All policies walk it.

    model m      trained on what was known when step m began; model 0 is the first
    answered     losses by when the rows were answered: what a policy pays
    told         losses by when the rows' truth became known: what a policy can have seen
A block is a day, or a step where steps are shorter. Entries of blocks before a model's first step are 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Steps = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Blocks:
    """Summed losses of each model, (models, blocks); the rows of each block and its step, (blocks,), ascending."""

    losses: Vector
    rows: Vector
    step: Steps
    steps: int

    @cached_property
    def by_step(self) -> Vector:
        """Sum the losses by step: (models, steps)."""
        made = np.zeros((len(self.losses), self.steps))
        np.add.at(made.T, self.step, self.losses.T)
        return made

    @cached_property
    def rows_by_step(self) -> Vector:
        """Count the rows by step: (steps,)."""
        return np.asarray(np.bincount(self.step, weights=self.rows, minlength=self.steps), dtype=np.float64)

    @cached_property
    def borders(self) -> Steps:
        """Tell where each step's blocks begin: (steps + 1,)."""
        return np.searchsorted(self.step, np.arange(self.steps + 1)).astype(np.int64)

    def means(self, model: int, *, first: int, last: int) -> Vector:
        """Give a model's mean loss in each block with rows of steps `first` up to, and not, `last`."""
        part = slice(self.borders[max(first, 0)], self.borders[max(last, 0)])
        rows = self.rows[part]
        return np.asarray(self.losses[model, part][rows > 0] / rows[rows > 0])


@dataclass(frozen=True, eq=False)
class GroupLosses:
    """The losses of one group of rows, by when they were answered: (models, steps), and its rows (steps,)."""

    losses: Vector
    rows: Vector


@dataclass(frozen=True, eq=False)
class LossMatrix:
    """The losses of one model per step. `alarms` is the step in which drift first alarms against each model (NEVER: not);
    `groups` are named "COLUMN=VALUE"; `first` are the days' mean losses that the first model was accepted with."""

    answered: Blocks
    told: Blocks
    alarms: Steps | None = None
    groups: Mapping[str, GroupLosses] = field(default_factory=dict)
    first: Vector = field(default_factory=lambda: np.empty(0))

    @property
    def steps(self) -> int:
        """Count the steps, and so the models."""
        return self.answered.steps

    @property
    def level(self) -> float:
        """Give the mean loss that the first model makes in a step: what never retraining costs a step."""
        return float(self.answered.by_step[0].mean())


def square(losses: Vector, rows: Sequence[float] | Vector) -> LossMatrix:
    """Make a matrix of one block a step, told as soon as answered: losses (steps, steps), rows (steps,)."""
    steps = len(losses)
    blocks = Blocks(np.asarray(losses, float), np.asarray(rows, float), np.arange(steps), steps)
    return LossMatrix(blocks, blocks)

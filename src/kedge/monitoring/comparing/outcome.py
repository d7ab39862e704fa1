"""What a test gives, how one is called, and where it says "moved" unless told otherwise.

A distance has a value and no p-value: `moved` at a value of its threshold or more. A test has both: `moved` at a p-value
below its level.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Tested(NamedTuple):
    """The value of a distance or of a test's statistic, and the p-value of a test."""

    value: float
    p: float | None = None


class NamedTest(NamedTuple):
    """A test of the field: how it is computed, and where it says "moved" unless told otherwise. `by_p`: by its p-value."""

    run: Callable[[np.ndarray, np.ndarray], Tested]
    threshold: float
    by_p: bool


LEVEL = 0.05
MUCH = 0.1

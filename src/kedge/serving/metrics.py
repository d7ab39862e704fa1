"""The data plane's own counters.

An observation is one bisection and two additions (0.2 us), so the hot path counts everything; `exposition.py` pays for
the formatting when it is asked. Label sets are bounded: one model, its versions, the status codes, the stages.
"""

from bisect import bisect_left
from collections import Counter

BOUNDS = (*(round(base * 10.0**power, 10) for power in range(-5, 1) for base in (1.0, 2.5, 5.0)), 10.0)
STAGES = ("parse", "features", "predict", "log", "encode", "total")


class Histogram:
    """Seconds in log-spaced buckets from 10 us to 10 s: a count for each bound, and one beyond the last."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """What one data plane counted since it started."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.rows: Counter[int] = Counter()
        self.stages = {stage: Histogram() for stage in STAGES}
        self.challenger_errors = 0
        self.repeated = 0
        self.load_failures = 0

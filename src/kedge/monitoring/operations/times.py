"""Histograms of seconds with bins evenly spaced in the logarithm: what was counted apart adds up, and so do quantiles.

A quantile is the middle of its bin: off by 5 % at most. 24 bins a factor of ten, from a microsecond to a quarter hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kedge.domain.operations import StageTimes
from kedge.monitoring.truth.join_labels import Answered

A_DECADE = 24
LEAST = 1e-6
BINS = 9 * A_DECADE
TOTAL = "total"
SIDE = "challenger"
"""A part of `predict`, not a stage of its own."""


def bins_of_seconds(seconds: np.ndarray) -> np.ndarray:
    """Count seconds by bin: int64 (BINS,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.floor(A_DECADE * np.log10(np.maximum(seconds, LEAST) / LEAST))
    return np.bincount(np.clip(np.nan_to_num(places), 0, BINS - 1).astype(np.int64), minlength=BINS)


def quantile_of(counts: np.ndarray, share: float) -> float:
    """Give the seconds within which a share of what was counted lies; 0 of nothing."""
    total = counts.sum()
    if not total:
        return 0.0
    place = int(np.searchsorted(np.cumsum(counts), share * total - 1e-9))
    return float(LEAST * 10 ** ((min(place, BINS - 1) + 0.5) / A_DECADE))


def added(times: Iterable[StageTimes]) -> np.ndarray:
    """Add the histograms of several windows, versions or stages."""
    counts = np.zeros(BINS, np.int64)
    for one in times:
        for place, count in one.counts:
            counts[place] += count
    return counts


def total_seconds(answered: Answered) -> float:
    """Sum the stages of a request."""
    return sum(value for stage, value in answered.seconds.items() if stage != SIDE)


def times_of(answers: Sequence[Answered]) -> tuple[StageTimes, ...]:
    """Count each stage by version; a request that two versions answered is its first row's."""
    found: dict[tuple[int, str], list[float]] = {}
    for one in answers:
        if one.versions and one.seconds:
            version = one.versions[0]
            for stage, value in one.seconds.items():
                if stage != SIDE:
                    found.setdefault((version, stage), []).append(value)
            found.setdefault((version, TOTAL), []).append(total_seconds(one))
    made = []
    for (version, stage), values in sorted(found.items()):
        counts = bins_of_seconds(np.array(values))
        made.append(
            StageTimes(
                version=version,
                stage=stage,
                requests=len(values),
                mean=float(np.mean(values)),
                p50=quantile_of(counts, 0.5),
                p95=quantile_of(counts, 0.95),
                p99=quantile_of(counts, 0.99),
                counts=tuple((int(place), int(counts[place])) for place in np.flatnonzero(counts)),
            )
        )
    return tuple(made)

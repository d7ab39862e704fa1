"""The rule of chunks, as NannyML has it: a column moved where a chunk of it lies further from the reference than the mean
of the reference's own chunks and three of their deviations.

Distances are Jensen-Shannon's (base 2): of numbers in the bins of the reference that Doane's rule gives, with one more
cell for what lies outside; of categories in the reference's, with one more for the unseen.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from kedge.data.tables.distances import DRIFT_TESTS
from kedge.monitoring.comparing.columns import as_labels, as_numbers

CHUNKS = 10
_DEVIATIONS = 3.0


class ByChunks(NamedTuple):
    """The greatest distance of a current chunk, and the limit that the reference's chunks set."""

    value: float
    limit: float


def by_chunks(reference: pl.Series, current: pl.Series, *, ordered: bool, chunk_rows: int | None) -> ByChunks:
    """Measure a column chunk by chunk: chunks of so many rows, or ten of each side."""
    places = _of_numbers(reference, current) if ordered else _of_labels(reference, current)
    width = int(max(side.max(initial=0) for side in places)) + 1
    whole = np.bincount(places[0][places[0] >= 0], minlength=width)
    own, new = (_distances(whole, side, chunk_rows=chunk_rows) for side in places)
    limit = float(np.nanmean(own) + _DEVIATIONS * np.nanstd(own)) if not np.isnan(own).all() else float("inf")
    return ByChunks(float(np.nanmax(new)) if not np.isnan(new).all() else 0.0, limit)


def _distances(whole: np.ndarray, places: np.ndarray, *, chunk_rows: int | None) -> np.ndarray:
    """Give each chunk's distance from the whole reference: float64 (chunks,), NaN for one without values."""
    size = chunk_rows or max(-(-places.size // CHUNKS), 1)
    p = whole / whole.sum()
    found = []
    for first in range(0, places.size, size):
        some = places[first : first + size]
        counts = np.bincount(some[some >= 0], minlength=whole.size)
        total = counts.sum()
        q = counts / total if total else p
        found.append(float(DRIFT_TESTS["jensen_shannon"](p[None, :], q[None, :])[0]) if total else np.nan)
    return np.array(found)


def _of_numbers(reference: pl.Series, current: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Give each row the number of its bin; outside all bins the last; -1 where it has no value."""
    sides = [as_numbers(side).fill_null(np.nan).to_numpy() for side in (reference, current)]
    there = sides[0][np.isfinite(sides[0])]
    edges = _doane(there)
    found = []
    for side in sides:
        missing, outside = np.isnan(side), (side < edges[0]) | (side > edges[-1])
        within = np.where(missing | outside, edges[0], side)
        width = (edges[-1] - edges[0]) / (edges.size - 1) or 1.0
        place = np.clip(np.nan_to_num((within - edges[0]) / width), 0, edges.size - 2).astype(np.int64)
        place -= within < edges[place]  # the border itself decides, not the division
        place += (within >= edges[place + 1]) & (place < edges.size - 2)
        place[outside] = edges.size - 1
        place[missing] = -1
        found.append(place)
    return found[0], found[1]


def _doane(values: np.ndarray) -> np.ndarray:
    """Give the borders of Doane's rule; of values too near to one another for their size, one bin for all."""
    try:
        return np.histogram_bin_edges(values, bins="doane")
    except ValueError:
        return np.array([values.min(), np.nextafter(values.max(), np.inf)])


def _of_labels(reference: pl.Series, current: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    texts = [side if side.null_count() == len(side) else _texts(side) for side in (reference, current)]
    known = texts[0].drop_nulls().unique(maintain_order=True)
    kind = pl.Enum(known)
    found = []
    for side in texts:
        place = side.cast(kind, strict=False).to_physical().cast(pl.Int64).fill_null(len(known))
        found.append(np.where(side.is_null().to_numpy(), -1, place.to_numpy()))
    return found[0], found[1]


def _texts(side: pl.Series) -> pl.Series:
    if side.dtype == pl.String:
        return side
    if side.null_count() == 0:
        return as_labels(side).cast(pl.String)
    return side.cast(pl.String, strict=False)

"""The shape of a feature, then and now: the reference's quantile bins laid out in equal widths, as a histogram reads.

Mass between two borders is spread evenly over that span; what lies beyond the outermost, over twice the span beside it.
"""

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from kedge.domain.monitoring import ColumnProfile, Profile
from kedge.web import words

_BINS = 20
_LABELS = 12


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of rows in the same bins, of the reference and of the newest window, and the names of the two ends."""

    reference: tuple[float, ...]
    now: tuple[float, ...]
    low: str
    high: str


def shape_of(column: str, reference: Profile | None, *, now: Profile | None) -> Shape | None:
    """Compare one column's shapes; None where either is missing or their bins differ."""
    before, after = _find(column, reference), _find(column, now)
    if before is None or after is None or before.edges != after.edges or before.labels != after.labels:
        return None
    if not sum(before.counts) + before.others or not sum(after.counts) + after.others:
        return None
    return _labelled(before, after) if before.labels else _numeric(before, after)


def _find(column: str, profile: Profile | None) -> ColumnProfile | None:
    return None if profile is None else next((one for one in profile.columns if one.name == column), None)


def _shares(values: Sequence[float]) -> tuple[float, ...]:
    total = sum(values)
    return tuple(value / total for value in values)


def _labelled(before: ColumnProfile, after: ColumnProfile) -> Shape:
    order = sorted(range(len(before.labels)), key=lambda index: -before.counts[index])
    shown, rest = order[:_LABELS], order[_LABELS:]

    def counts(one: ColumnProfile) -> list[float]:
        return [*(one.counts[index] for index in shown), one.others + sum(one.counts[index] for index in rest)]

    return Shape(reference=_shares(counts(before)), now=_shares(counts(after)), low=before.labels[shown[0]], high="others")


def _numeric(before: ColumnProfile, after: ColumnProfile) -> Shape:
    edges = before.edges
    if len(edges) < 2 or edges[-1] <= edges[0]:
        ends = words.number(edges[0]) if edges else words.NONE
        return Shape(reference=_shares(before.counts), now=_shares(after.counts), low=ends, high=ends)
    borders = _closed(edges)
    return Shape(
        reference=_shares(_spread(borders, before.counts)),
        now=_shares(_spread(borders, after.counts)),
        low=words.number(edges[0]),
        high=words.number(edges[-1]),
    )


def _closed(edges: Sequence[float]) -> tuple[float, ...]:
    """Close the two open ends: each reaches twice as far as the span beside it."""
    room = (edges[-1] - edges[0]) / _BINS
    below, above = (2 * max(span, room) for span in (edges[1] - edges[0], edges[-1] - edges[-2]))
    return (edges[0] - below, *edges, edges[-1] + above)


def _spread(borders: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Lay counts between `borders` out in equal widths."""
    low, width = borders[0], (borders[-1] - borders[0]) / _BINS
    bins = [0.0] * _BINS
    for count, (start, end) in zip(counts, pairwise(borders), strict=True):
        left, right = (start - low) / width, (end - low) / width
        first, last = min(int(left), _BINS - 1), min(int(right), _BINS - 1)
        if first == last:
            bins[first] += count
            continue
        for place in range(first, last + 1):
            overlap = min(right, place + 1) - max(left, place)
            bins[place] += count * max(0.0, overlap) / (right - left)
    return bins

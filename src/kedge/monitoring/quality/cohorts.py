"""Cohorts: answers by the time they hold for, with the truths that have arrived so far. Late labels find their day.

The state keeps one tally for each of the last 60 blocks of time (a day, or the window where that is no whole number of
days) and one head for each slice in it: some kilobytes a block, whatever the traffic.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from kedge.domain.durations import EPOCH
from kedge.domain.evaluation import Task
from kedge.monitoring.quality.concept import BiasDays
from kedge.monitoring.quality.tally import Ruler, Sums, head_of, width_of
from kedge.monitoring.served import ServedRows
from kedge.monitoring.truth.days import DAY

KEPT = 60
RECENT = timedelta(days=28)
MOST_SLICES = 100


class QualityDay(msgspec.Struct, array_like=True):
    """One block of time: when it began, the rows answered, their truths' tally and the slices' heads (packed), and what
    was estimated of so many of its rows before any truth; `checked` once the estimates were held against it. `held_out` is
    the tally of the rows that were served at random."""

    start: datetime
    answered: int = 0
    sums: bytes = b""
    slices: bytes = b""
    estimates: dict[str, float] = {}
    estimated: int = 0
    checked: bool = False
    held_out: bytes = b""


class QualityState(msgspec.Struct):
    """What quality keeps from window to window: the blocks in order of time, the names of the slices in the order of their
    heads, what numbers are measured from, how far the newest estimates were off, the bet on the bias, and the number of
    the window in which each column moved last."""

    days: list[QualityDay] = []
    slices: list[str] = []
    beyond: int = 0
    ruler: Ruler = msgspec.field(default_factory=Ruler)
    offs: dict[str, list[float]] = {}
    bias: BiasDays = msgspec.field(default_factory=BiasDays)
    moved: dict[str, int] = {}

    def crown(self) -> None:
        """Start the bets again: there is a new champion."""
        self.bias, self.moved = BiasDays(), {}


def unit_of(window: timedelta) -> timedelta:
    """Give the length of a block: a day, or the window where that is no whole number of days and longer than one."""
    return window if window > DAY and window % DAY else DAY


def starts_of(served: ServedRows, unit: timedelta) -> tuple[list[datetime], np.ndarray]:
    """Give the blocks that requests were answered in, in order of time, and the place of each request's among them."""
    numbers, places = np.unique(np.floor_divide(served.seconds, unit.total_seconds()).astype(np.int64), return_inverse=True)
    return [EPOCH + number * unit for number in numbers.tolist()], places


def count_answered(state: QualityState, served: ServedRows, *, unit: timedelta) -> None:
    """Add the rows answered in a window to their blocks."""
    starts, places = starts_of(served, unit)
    rows = np.bincount(places, weights=served.sizes, minlength=len(starts))
    for start, count in zip(starts, rows.tolist(), strict=True):
        if count:
            block_at(state, start).answered += int(count)


def block_at(state: QualityState, start: datetime) -> QualityDay:
    """Give the block that begins at a time, made where there is none."""
    for day in reversed(state.days):
        if day.start == start:
            return day
        if day.start < start:
            break
    made = QualityDay(start)
    state.days.append(made)
    state.days.sort(key=lambda day: day.start)
    return made


def add_tallies(state: QualityState, starts: Sequence[datetime], *, sums: Sums) -> None:
    """Add tallies to their blocks."""
    for start, added in zip(starts, sums, strict=True):
        day = block_at(state, start)
        day.sums = packed(unpacked(day.sums, (added.size,)) + added)


def add_slices(state: QualityState, starts: Sequence[datetime], *, heads: Sums, names: Sequence[str]) -> None:
    """Add slices' heads, float64 (blocks, slices, head), to their blocks. New slices take the next places, up to 100."""
    places = {name: place for place, name in enumerate(state.slices)}
    for name in names:
        if name in places:
            continue
        if len(state.slices) >= MOST_SLICES:
            state.beyond += 1
            continue
        places[name] = len(state.slices)
        state.slices.append(name)
    kept = [index for index, name in enumerate(names) if name in places]
    where = [places[names[index]] for index in kept]
    for start, added in zip(starts, heads, strict=True):
        day = block_at(state, start)
        whole = unpacked_rows(day.slices, count=len(state.slices), width=added.shape[1])
        whole[where] += added[kept]
        day.slices = packed(whole)


def add_held_out(state: QualityState, starts: Sequence[datetime], *, sums: Sums) -> None:
    """Add tallies of rows that were served at random to the first blocks, to those that have any."""
    for start, added in zip(starts, sums, strict=False):
        if added[0]:
            day = block_at(state, start)
            day.held_out = packed(unpacked(day.held_out, (added.size,)) + added)


def held_out_of(days: Sequence[QualityDay], task: Task) -> Sums:
    """Stack the tallies of the hold-out of those blocks that have any: float64 (blocks, width)."""
    width = width_of(task)
    found = [unpacked(day.held_out, (width,)) for day in days if day.held_out]
    return np.stack(found) if found else np.zeros((0, width))


def recent_days(state: QualityState, end: datetime) -> list[QualityDay]:
    """List the blocks of the last 28 days before a time."""
    return [day for day in state.days if end - RECENT <= day.start < end]


def tallies_of(days: Sequence[QualityDay], task: Task) -> Sums:
    """Stack the tallies of blocks: float64 (blocks, width)."""
    width = width_of(task)
    return np.stack([unpacked(day.sums, (width,)) for day in days]) if days else np.zeros((0, width))


def heads_of(days: Sequence[QualityDay], state: QualityState, *, task: Task) -> Sums:
    """Stack the slices' heads of blocks: float64 (blocks, slices, head)."""
    count, width = len(state.slices), len(head_of(task))
    rows = [unpacked_rows(day.slices, count=count, width=width) for day in days]
    return np.stack(rows) if rows else np.zeros((0, count, width))


def age_out(state: QualityState, end: datetime, *, unit: timedelta) -> None:
    """Forget the blocks before the last 60."""
    state.days = [day for day in state.days if day.start >= end - KEPT * unit]


def packed(numbers: Sums) -> bytes:
    """Write float64 numbers, most of them 0 or small counts, in few bytes."""
    return zlib.compress(np.ascontiguousarray(numbers, dtype="<f8").tobytes(), 1)


def unpacked(data: bytes, shape: tuple[int, ...]) -> Sums:
    """Read float64 numbers; zeros where there are none, or not as many (an older release counted otherwise)."""
    numbers = np.frombuffer(zlib.decompress(data), dtype="<f8") if data else np.zeros(0)
    return numbers.reshape(shape).copy() if numbers.size == np.prod(shape) else np.zeros(shape)


def unpacked_rows(data: bytes, *, count: int, width: int) -> Sums:
    """Read rows of numbers, at most `count` of them; further rows are zeros."""
    numbers = np.frombuffer(zlib.decompress(data), dtype="<f8") if data else np.zeros(0)
    whole = np.zeros((count, width))
    if numbers.size % width == 0 and numbers.size <= whole.size:
        whole[: numbers.size // width] = numbers.reshape(-1, width)
    return whole

"""What a version calls normal: the profile of its training rows, how far they moved by themselves, the loss accepted.

Taken from the newest rows of the training frame: those of the last 13 steps, but at least 10,000 where there are so
many; evenly thinned to at most 50,000. So a long history costs nothing and a day, a week and a quarter stay in view.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import polars as pl

from kedge.data.tables.binning import places_in
from kedge.data.tables.distances import number_borders
from kedge.domain.data import KNOWN_AT
from kedge.domain.monitoring import ANSWERS, ColumnProfile, Profile, Tolerance, columns_named, tolerance_of
from kedge.monitoring.drift.detect import streams_of
from kedge.monitoring.drift.profile import most_common
from kedge.monitoring.drift.tolerance import blocks_known, learn
from kedge.monitoring.quality.risk import Accepted

if TYPE_CHECKING:
    from kedge.features.frame import TrainingFrame

LATEST_STEPS = 13
LEAST_ROWS = 10_000
MOST_ROWS = 50_000


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What a version calls normal. `tolerances` has one number for each watched stream of a column; `answers` profiles
    the version's own answers (None: unknown), `accepted` is the loss at the gate (None: unknown). `blocks` counts the
    blocks of time that a column's tolerance was learnt from, 0 where it was declared; `strangers` are the names in the
    declared tolerances that are no columns."""

    version: int
    profile: Profile
    tolerances: dict[str, tuple[float, ...]]
    answers: ColumnProfile | None = None
    accepted: Accepted | None = None
    blocks: dict[str, int] = {}
    strangers: tuple[str, ...] = ()


class Learnt(NamedTuple):
    """Reference columns: their profiles, the tolerance of each stream of each, and from how many blocks (0: declared)."""

    profiles: tuple[ColumnProfile, ...]
    tolerances: dict[str, tuple[float, ...]]
    blocks: dict[str, int]


def take(
    frame: TrainingFrame,
    *,
    version: int,
    columns: Sequence[str],
    window: timedelta,
    tolerance: Tolerance,
    answers: np.ndarray | None,
    accepted: Accepted | None,
) -> Reference:
    """Take a reference from a training frame. `answers` are those of a model that has not seen the newest step's rows,
    for just these rows, float64 (n,); blocks of time are windows and steps."""
    rows = reference_rows(frame)
    blockings = [block_numbers(rows[frame.time], length) for length in dict.fromkeys((window, frame.step))]
    by_window = [block_numbers(frame.newest().rows[frame.time], window)] if answers is not None else []
    return _taken(
        rows,
        version=version,
        columns=columns,
        tolerance=tolerance,
        blockings=blockings,
        answers=answers,
        answered_in=by_window,
        accepted=accepted,
    )


def take_given(
    rows: pl.DataFrame,
    *,
    version: int,
    columns: Sequence[str],
    time: str,
    window: timedelta,
    tolerance: Tolerance,
    answers: np.ndarray | None,
    accepted: Accepted | None,
) -> Reference:
    """Take a reference from rows that somebody gives, with the answers to them, float64 (n,), None where they are unknown.
    Without a `time` column ("") nothing is known of their rhythm."""
    blocks = block_numbers(rows[time], window) if time else np.zeros(len(rows), dtype=np.int64)
    return _taken(
        rows,
        version=version,
        columns=columns,
        tolerance=tolerance,
        blockings=[blocks],
        answers=answers,
        answered_in=[blocks],
        accepted=accepted,
    )


def _taken(
    rows: pl.DataFrame,
    *,
    version: int,
    columns: Sequence[str],
    tolerance: Tolerance,
    blockings: Sequence[np.ndarray],
    answers: np.ndarray | None,
    answered_in: Sequence[np.ndarray],
    accepted: Accepted | None,
) -> Reference:
    have = [name for name in columns if name in rows.columns]
    learnt = take_columns(rows, have, blockings=blockings, tolerance=tolerance)
    of_answers = Learnt((), {}, {})
    if answers is not None:
        answered = pl.DataFrame({ANSWERS: answers})
        of_answers = take_columns(answered, [ANSWERS], blockings=answered_in, tolerance=tolerance)
    return Reference(
        version=version,
        profile=Profile(columns=learnt.profiles, rows=len(rows)),
        tolerances=learnt.tolerances | of_answers.tolerances,
        answers=of_answers.profiles[0] if of_answers.profiles else None,
        accepted=accepted,
        blocks=learnt.blocks | of_answers.blocks,
        strangers=tuple(sorted(set(columns_named(tolerance)) - {*have, ANSWERS})),
    )


def reference_rows(frame: TrainingFrame) -> pl.DataFrame:
    """Choose the rows of a training frame that a reference is taken from."""
    recent = int((frame.rows[KNOWN_AT] > frame.upto - LATEST_STEPS * frame.step).sum())
    rows = frame.rows.tail(max(recent, LEAST_ROWS))
    return rows.gather_every(-(-len(rows) // MOST_ROWS)) if len(rows) > MOST_ROWS else rows


def block_numbers(times: pl.Series, length: timedelta) -> np.ndarray:
    """Number the blocks of time that rows fall in, from 0: int64 (n,)."""
    cut = times.dt.epoch("us").to_numpy() // (length // timedelta(microseconds=1))
    return np.asarray(np.unique(cut, return_inverse=True)[1], dtype=np.int64)


def take_columns(
    rows: pl.DataFrame, columns: Sequence[str], *, blockings: Sequence[np.ndarray], tolerance: Tolerance
) -> Learnt:
    """Profile reference columns and learn (or take as declared) the tolerance of each stream of each."""
    profiles, tolerances, known = [], {}, {}
    for name in columns:
        profile, cell = count_column(rows[name])
        streams = streams_of(profile)
        declared = tolerance_of(tolerance, name)
        if isinstance(declared, str):
            tables = [_by_block(cell, blocks, width=streams.scores.shape[1]) for blocks in blockings]
            tolerances[name], known[name] = learn(streams, *tables), blocks_known(streams, *tables)
        else:
            tolerances[name], known[name] = (float(declared),) * len(streams.names), 0
        profiles.append(profile)
    return Learnt(tuple(profiles), tolerances, known)


def count_column(values: pl.Series) -> tuple[ColumnProfile, np.ndarray]:
    """Profile a reference column: choose its bins, count, and give the cell of each row (the missing in the last)."""
    if values.dtype in (pl.String, pl.Categorical, pl.Enum):
        return _count_strings(values.cast(pl.String))
    numbers = values.cast(pl.Float64, strict=False).to_numpy()
    edges = number_borders(numbers)
    missing = np.isnan(numbers)
    cell = np.where(missing, len(edges) + 1, places_in(numbers, edges))
    counts = np.bincount(cell, minlength=len(edges) + 2)
    profile = ColumnProfile(
        name=values.name, counts=tuple(counts[:-1].tolist()), missing=int(counts[-1]), rows=len(values), edges=edges
    )
    return profile, cell


def _count_strings(values: pl.Series) -> tuple[ColumnProfile, np.ndarray]:
    found = values.drop_nulls().value_counts(name="rows")
    labels = most_common(dict(zip(found[values.name].to_list(), found["rows"].to_list(), strict=True)))
    others, missing = len(labels), len(labels) + 1
    place = values.cast(pl.Enum(labels), strict=False).to_physical().cast(pl.Int64)
    cell = np.where(values.is_null().to_numpy(), missing, place.fill_null(others).to_numpy())
    if not labels:  # no value at all: a column of unknown type, counted as a number's
        return ColumnProfile(name=values.name, counts=(0,), missing=len(values), rows=len(values)), cell
    counts = np.bincount(cell, minlength=len(labels) + 2)
    profile = ColumnProfile(
        name=values.name,
        counts=tuple(counts[:others].tolist()),
        missing=int(counts[missing]),
        rows=len(values),
        labels=labels,
        others=int(counts[others]),
    )
    return profile, cell


def _by_block(cell: np.ndarray, blocks: np.ndarray, *, width: int) -> np.ndarray:
    """Count cells in each block: float64 (blocks, cells)."""
    count = int(blocks.max(initial=-1)) + 1
    table = np.bincount(blocks * width + cell, minlength=count * width)
    return np.asarray(table.reshape(count, width), dtype=np.float64)


def day_numbers(times: pl.Series) -> np.ndarray:
    """Number the days (UTC) of times since 1970: int64 (n,)."""
    return np.asarray(times.dt.epoch("d").to_numpy(), dtype=np.int64)

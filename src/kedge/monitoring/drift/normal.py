"""What a reference calls normal, said to people; and what it cannot know."""

from collections.abc import Iterator

import numpy as np

from kedge.domain.monitoring import ColumnProfile
from kedge.domain.normal import CalledNormal, NormalColumn, NormalStream
from kedge.monitoring.drift.detect import compile_watch, streams_of
from kedge.monitoring.drift.profile import cells
from kedge.monitoring.drift.reference import Reference
from kedge.monitoring.drift.tolerance import FEWEST_BLOCKS, UNKNOWN

COARSE = 0.1
"""A reference is called coarse where ranks that move by less than this cannot be told from chance."""


def normal_of(reference: Reference) -> CalledNormal:
    """Say what a reference calls normal."""
    answers = [reference.answers] if reference.answers is not None else []
    columns = [*_columns(reference, reference.profile.columns), *_columns(reference, answers)]
    return CalledNormal(
        version=reference.version,
        rows=reference.profile.rows,
        columns=tuple(columns),
        notes=(*unseen(reference), *_unlearnt(columns)),
    )


def unseen(reference: Reference) -> tuple[str, ...]:
    """Name what a reference cannot tell: moves that so few rows hide, and columns of whose tolerance there is none."""
    notes = [
        f"monitoring.tolerance names {name!r}, and version {reference.version} has no such column"
        for name in reference.strangers
    ]
    errors = [
        stream.error
        for column in _columns(reference, reference.profile.columns)
        for stream in column.streams
        if stream.name == "rank" and column.values
    ]
    if errors and max(errors) >= COARSE:
        notes.append(
            f"the reference has {reference.profile.rows} rows: a mean rank that moves by less than {max(errors):.2g} "
            "cannot be told from chance"
        )
    return tuple(notes)


def _unlearnt(columns: list[NormalColumn]) -> list[str]:
    """Say of how many columns the reference is too short to show a rhythm."""
    short = [column.name for column in columns if column.blocks is not None and 0 < column.blocks < FEWEST_BLOCKS]
    if not short:
        return []
    return [
        f"fewer than {FEWEST_BLOCKS} windows or steps of the reference have values of {', '.join(short)}: their rhythm is "
        f"unknown, and {UNKNOWN:g} is granted for it"
    ]


def _columns(reference: Reference, profiles: tuple[ColumnProfile, ...] | list[ColumnProfile]) -> Iterator[NormalColumn]:
    watch = compile_watch(profiles, reference.tolerances)
    for index, profile in enumerate(profiles):
        means = streams_of(profile).means(cells(profile))[0]
        inside = np.flatnonzero(watch.column == index)
        yield NormalColumn(
            name=profile.name,
            values=profile.rows - profile.missing,
            missing=profile.missing,
            blocks=reference.blocks.get(profile.name),
            streams=tuple(
                NormalStream(
                    watch.names[stream],
                    None if np.isnan(mean) else float(mean),
                    tolerance,
                    float(watch.margin[stream]) - tolerance,
                )
                for stream, mean, tolerance in zip(inside, means, reference.tolerances[profile.name], strict=True)
            ),
        )

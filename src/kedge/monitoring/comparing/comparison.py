"""Two frames compared: each column that both have, what only one has, and all columns together where asked."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace
from scipy.special import ndtri

from kedge.domain.comparing import (
    BREAKING,
    ComparedColumn,
    ComparedKind,
    DriftMeasure,
    FrameComparison,
    Oddity,
    OddNote,
    SideFigures,
)
from kedge.domain.counts import count
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing.columns import kind_of, plain_kind
from kedge.monitoring.comparing.columnwise import ColumnPair, Draft, DraftMeasure, of_labels, of_numbers, of_one, of_times
from kedge.monitoring.comparing.rules import CHANCE, Wishes, holm, require_known
from kedge.monitoring.comparing.texts import of_texts
from kedge.monitoring.comparing.together import together
from kedge.monitoring.comparing.vectors import Embed, of_vectors

_FEW_ROWS = 200
_POWER = 0.8
_HALF = 0.5


class ComparedSide(NamedTuple):
    """One side: its name, the rows that are measured, how many there are in all, and the columns that only number them."""

    name: str
    rows: pl.DataFrame
    total: int
    personal: frozenset[str] = frozenset()
    numbering: tuple[str, ...] = ()


def compare_sides(
    reference: ComparedSide,
    current: ComparedSide,
    *,
    wishes: Wishes,
    joint: Sequence[str] = (),
    embed: Mapping[str, Embed] | None = None,
    chunk_rows: int | None = None,
) -> FrameComparison:
    """Compare two frames. Raises RequestInvalid for a side without rows, no common column, or a test that cannot be."""
    for side, word in ((reference, "the reference"), (current, "what is compared with it")):
        if not len(side.rows):
            raise RequestInvalid(f"{side.name}, {word}, has no rows: nothing can be compared")
    common = [name for name in reference.rows.columns if name in current.rows.columns]
    if not common:
        names = [", ".join(side.rows.columns[:8]) or "none" for side in (reference, current)]
        raise RequestInvalid(f"no column is in both: {reference.name} has {names[0]}; {current.name} has {names[1]}")
    _known(wishes, embed or {}, common=common)
    require_known(wishes, [*common, *(name for side in (reference, current) for name in side.rows.columns)])
    secret = reference.personal | current.personal
    drafts = [
        _draft(
            ColumnPair(reference.rows[name], current.rows[name], name in secret),
            wishes,
            embed=(embed or {}).get(name),
            chunk_rows=chunk_rows,
        )
        for name in common
    ]
    kinds = [(draft.name, draft.kind) for draft in drafts if all(odd.oddity is not Oddity.IDENTIFIER for odd in draft.odd)]
    drafts += _single(reference, current)
    judged = _judged(drafts, wishes, secret=secret)
    ranked = sorted(judged, key=lambda column: (not column.moved, -column.far, column.name))
    joined = tuple(together(reference.rows, current.rows, test=test, kinds=kinds) for test in joint)
    return FrameComparison(
        reference=reference.name,
        current=current.name,
        rows_reference=reference.total,
        rows_current=current.total,
        measured_reference=len(reference.rows),
        measured_current=len(current.rows),
        rules=wishes.rules,
        columns=tuple(ranked),
        moved=_frame_moved(ranked, wishes) or any(one.moved for one in joined),
        notes=_notes(reference, current, columns=len(common)),
        together=joined,
    )


def _known(wishes: Wishes, embed: Mapping[str, object], *, common: Sequence[str]) -> None:
    for name in (*wishes.tests, *embed):
        if name not in common:
            raise RequestInvalid(f"column {name!r} is not in both frames; they share: {', '.join(common[:20])}")


def _draft(pair: ColumnPair, wishes: Wishes, *, embed: Embed | None, chunk_rows: int | None) -> Draft:
    with np.errstate(all="ignore"):  # values near the ends of what floats hold: what comes of them is bounded below
        return _drafted(pair, wishes, embed=embed, chunk_rows=chunk_rows)


def _drafted(pair: ColumnPair, wishes: Wishes, *, embed: Embed | None, chunk_rows: int | None) -> Draft:
    kind, retyped = kind_of(pair.reference, pair.current)
    if embed is not None:
        return of_vectors(pair, wishes, embed=embed)
    compare: dict[ComparedKind, Callable[[], Draft]] = {
        ComparedKind.NUMBER: lambda: of_numbers(pair, wishes, chunk_rows=chunk_rows),
        ComparedKind.TIME: lambda: of_times(pair, wishes),
        ComparedKind.TEXT: lambda: of_texts(pair, wishes),
        ComparedKind.VECTOR: lambda: of_vectors(pair, wishes),
    }
    found = compare.get(kind, lambda: of_labels(pair, wishes, kind=kind, chunk_rows=chunk_rows))()
    if not retyped:
        return found
    was, now = (plain_kind(side.dtype) or ComparedKind.CATEGORY for side in (pair.reference, pair.current))
    words = {ComparedKind.CATEGORY: "text"}
    says = f"the type changed: {words.get(was, was.value)}, now {words.get(now, now.value)}"
    return found._replace(odd=(OddNote(Oddity.RETYPED, says), *found.odd))


def _single(reference: ComparedSide, current: ComparedSide) -> list[Draft]:
    """Tell of the columns that only one side has."""
    found = []
    for side, other, appeared in ((reference, current, False), (current, reference, True)):
        for name in side.rows.columns:
            if name not in other.rows.columns:
                kind = plain_kind(side.rows.schema[name]) or ComparedKind.CATEGORY
                found.append(of_one(name, side.rows[name], kind=kind, appeared=appeared))
    return found


def _judged(drafts: Sequence[Draft], wishes: Wishes, *, secret: frozenset[str]) -> list[ComparedColumn]:
    """Say of each column whether it moved: under Kedge's rules with p-values corrected for how many there are."""
    own = wishes.rules == "kedge"
    flat = [found for draft in drafts for found in draft.found]
    guards = [_guard(found) for found in flat]
    corrected = iter(holm(guards) if own else guards)
    judged = []
    for draft in drafts:
        measures = [_measured(found, next(corrected), own=own) for found in draft.found]
        broken = own and any(note.oddity in BREAKING for note in draft.odd)
        moved = broken or any(measure.moved for measure in measures)
        judged.append(_column(draft, tuple(measures), moved=moved, secret=draft.name in secret))
    return judged


def _guard(found: DraftMeasure) -> float | None:
    if found.chosen.threshold is None:
        return None
    return found.outcome.p if found.chosen.test.by_p else found.guard


def _measured(found: DraftMeasure, p: float | None, *, own: bool) -> DriftMeasure:
    chosen, outcome = found.chosen, found.outcome
    moved = chosen.exceeds(_bounded(outcome.value), p)
    if own and moved and not chosen.test.by_p and p is not None:
        moved = bool(p < CHANCE)
    return DriftMeasure(
        test=chosen.name, of=found.of, value=_bounded(outcome.value), p=outcome.p, threshold=chosen.threshold, moved=moved
    )


def _bounded(value: float) -> float:
    """Give the greatest float for what is beyond all: JSON knows no infinity."""
    return value if math.isfinite(value) else sys.float_info.max


def _column(draft: Draft, measures: tuple[DriftMeasure, ...], *, moved: bool, secret: bool) -> ComparedColumn:
    picture = draft.picture
    bare = draft if not secret else draft._replace(reference=_bare(draft.reference), current=_bare(draft.current))
    return ComparedColumn(
        name=draft.name,
        kind=draft.kind,
        reference=bare.reference,
        current=bare.current,
        far=draft.far,
        chance=draft.chance,
        moved=moved,
        measures=measures,
        odd=draft.odd,
        borders=() if secret else picture.borders,
        labels=() if secret else picture.labels,
        reference_shares=() if secret else picture.reference,
        current_shares=() if secret else picture.current,
        personal=secret,
    )


def _bare(figures: SideFigures | None) -> SideFigures | None:
    """Leave out the figures that are values."""
    return figures and replace(figures, mean=None, deviation=None, least=None, median=None, greatest=None)


def _frame_moved(columns: Sequence[ComparedColumn], wishes: Wishes) -> bool:
    moved = sum(column.moved for column in columns)
    if wishes.rules != "evidently":
        return moved > 0
    tested = sum(bool(column.measures) for column in columns)
    return bool(tested and moved / tested >= _HALF)


def _notes(reference: ComparedSide, current: ComparedSide, *, columns: int) -> tuple[str, ...]:
    """Say what the numbers cannot tell."""
    found = [
        f"{side.name}: measured on {len(side.rows):,} of {count(side.total, 'row')}, evenly spread"
        for side in (reference, current)
        if side.total > len(side.rows)
    ]
    found += [
        f"{side.name}: {f'column {name!r}' if name else 'the column without a name'} only numbers the rows (an index that "
        "was written with them), and is left out"
        for side in (reference, current)
        for name in side.numbering
    ]
    n, m = len(reference.rows), len(current.rows)
    if min(n, m) < _FEW_ROWS:
        side = reference if n <= m else current
        least = float((ndtri(_POWER) - ndtri(CHANCE / max(columns, 1) / 2)) * np.sqrt(1 / n + 1 / m))
        rare = 100 * (1 - 0.05 ** (1 / min(n, m)))
        found.append(
            f"{side.name} has {count(len(side.rows), 'row')}: a mean that moved by less than {least:.2g} standard "
            f"deviations cannot be told from chance, and a category of less than {rare:.2g} % of the rows may well be "
            "absent from it"
        )
    return tuple(found)

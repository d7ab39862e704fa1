"""One column of both frames: its figures, its picture, what its tests found, what is odd about it.

Whether it moved is said when all columns are known: p-values are corrected for how many there are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from kedge.domain.comparing import ComparedKind, Oddity, OddNote, SideFigures
from kedge.domain.counts import count
from kedge.monitoring.comparing import cells as counted
from kedge.monitoring.comparing.chunks import by_chunks
from kedge.monitoring.comparing.columns import (
    LabelSides,
    NumberSide,
    clock_part,
    is_identifier,
    is_running_number,
    label_sides,
    number_side,
)
from kedge.monitoring.comparing.number_tests import NUMBER_TESTS
from kedge.monitoring.comparing.outcome import NamedTest, Tested
from kedge.monitoring.comparing.rules import MISSING, Chosen, Wishes, choose, threshold_of

_SHOWN_UNSEEN = 5
_DAY = 86_400.0
_LEAST_SPAN = {"hour": 2 * _DAY, "weekday": 14 * _DAY}


class DraftMeasure(NamedTuple):
    """What one test found, before the correction; `guard` is the p-value that a distance has to pass, None for none."""

    of: str
    chosen: Chosen
    outcome: Tested
    guard: float | None


class Draft(NamedTuple):
    """A column as far as it can be told alone."""

    name: str
    kind: ComparedKind
    reference: SideFigures | None
    current: SideFigures | None
    far: float = 0.0
    chance: float | None = None
    found: tuple[DraftMeasure, ...] = ()
    odd: tuple[OddNote, ...] = ()
    picture: counted.Picture = counted.Picture((), (), (), ())


class ColumnPair(NamedTuple):
    """A column of both frames. `secret`: its values are not to be shown."""

    reference: pl.Series
    current: pl.Series
    secret: bool

    @property
    def name(self) -> str:
        """Name the column."""
        return self.reference.name


def of_numbers(pair: ColumnPair, wishes: Wishes, *, chunk_rows: int | None) -> Draft:
    """Compare numbers."""
    reference, current = number_side(pair.reference), number_side(pair.current)
    cells = counted.profile_of_numbers(reference, current)
    running = is_running_number(reference) and is_running_number(current) and pair.name not in wishes.tests
    chance = counted.chance_in_order(cells.present())
    found: tuple[DraftMeasure, ...] = ()
    if reference.values.size and current.values.size and not running:
        found = _number_tests(pair, wishes, reference=reference, current=current, chance=chance, chunk_rows=chunk_rows)
    odd = [*_odd_numbers(reference, current)]
    if running:
        odd.append(OddNote(Oddity.IDENTIFIER, "a running number: where it stands tells nothing, so it is not tested"))
    return Draft(
        pair.name,
        ComparedKind.NUMBER,
        _number_figures(reference),
        _number_figures(current),
        0.0 if running else counted.far(cells),
        chance,
        (*found, *_missing(cells, wishes)),
        tuple(odd),
        counted.bars_of_numbers(reference, current),
    )


def _number_tests(
    pair: ColumnPair, wishes: Wishes, *, reference: NumberSide, current: NumberSide, chance: float, chunk_rows: int | None
) -> tuple[DraftMeasure, ...]:
    distinct = _distinct(reference, current) if wishes.rules == "evidently" else None
    chosen = choose(wishes, pair.name, kind=ComparedKind.NUMBER, rows=reference.values.size, distinct=distinct)
    found = []
    for each in chosen:
        if _by_chunks(wishes, each):
            found.append(_chunked(pair, each, ordered=True, chunk_rows=chunk_rows))
            continue
        if each.name in NUMBER_TESTS:
            outcome = each.test.run(reference.values, current.values)
        else:
            outcome = each.test.run(*_cells(reference, current, wishes=wishes, distinct=distinct))
        found.append(DraftMeasure("values", each, outcome, chance))
    return tuple(found)


def _distinct(reference: NumberSide, current: NumberSide) -> int | None:
    few = [counted.few(side.values, 5) for side in (reference, current)]
    if few[0] is None or few[1] is None:
        return None
    return int(np.union1d(few[0], few[1]).size)


def _cells(reference: NumberSide, current: NumberSide, *, wishes: Wishes, distinct: int | None) -> counted.CellCounts:
    if distinct is not None:
        return counted.by_value(reference.values, current.values)
    if wishes.bins == "sturges":
        return counted.sturges(reference, current)
    if isinstance(wishes.bins, int):
        return counted.equal_width(reference, current, bins=wishes.bins)
    return _inhabited(counted.profile_of_numbers(reference, current).present())


def _inhabited(cells: counted.CellCounts) -> counted.CellCounts:
    there = (cells.reference > 0) | (cells.current > 0)
    return counted.CellCounts(cells.reference[there], cells.current[there])


def _by_chunks(wishes: Wishes, chosen: Chosen) -> bool:
    return wishes.rules == "nannyml" and chosen.name == "jensen_shannon"


def _chunked(pair: ColumnPair, chosen: Chosen, *, ordered: bool, chunk_rows: int | None) -> DraftMeasure:
    found = by_chunks(pair.reference, pair.current, ordered=ordered, chunk_rows=chunk_rows)
    return DraftMeasure("chunks", chosen._replace(threshold=found.limit, beyond=True), Tested(found.value), None)


def of_labels(pair: ColumnPair, wishes: Wishes, *, kind: ComparedKind, chunk_rows: int | None) -> Draft:
    """Compare categories or booleans."""
    sides = label_sides(pair.reference, pair.current)
    cells = counted.profile_of_labels(sides)
    names = is_identifier(sides) and pair.name not in wishes.tests
    chance = counted.chance(cells.present())
    found: tuple[DraftMeasure, ...] = ()
    if sides.reference.sum() and sides.current.sum() and not names:
        whole = counted.CellCounts(sides.reference, sides.current)
        distinct = len(sides.labels)
        tested = _inhabited(cells.present()) if wishes.bins == "profile" and distinct > counted.CATEGORIES else whole
        for each in choose(wishes, pair.name, kind=kind, rows=int(sides.reference.sum()), distinct=distinct):
            if _by_chunks(wishes, each):
                found += (_chunked(pair, each, ordered=False, chunk_rows=chunk_rows),)
            else:
                run = each.test.run(*(_in_order(sides) if each.name == "z" else tested))
                found += (DraftMeasure("values", each, run, chance),)
    opaque = any(side.dtype.is_nested() or side.dtype == pl.Binary for side in (pair.reference, pair.current))
    odd = [*_odd_labels(sides, secret=pair.secret or opaque, names=names)]
    return Draft(
        pair.name,
        kind,
        _label_figures(sides, 0),
        _label_figures(sides, 1),
        0.0 if names else counted.far(cells),
        chance,
        (*found, *_missing(cells, wishes)),
        tuple(odd),
        counted.Picture((), (), (), ()) if names or opaque else counted.bars_of_labels(sides),
    )


def _in_order(sides: LabelSides) -> counted.CellCounts:
    order = np.argsort(sides.labels.to_numpy())
    return counted.CellCounts(sides.reference[order], sides.current[order])


def of_times(pair: ColumnPair, wishes: Wishes) -> Draft:
    """Compare times: hours and weekdays are tested where both sides span enough; how far time went on is only shown."""
    reference, current = number_side(pair.reference), number_side(pair.current)
    cells = counted.profile_of_numbers(reference, current)
    found: tuple[DraftMeasure, ...] = ()
    if reference.values.size and current.values.size:
        for each in choose(wishes, pair.name, kind=ComparedKind.TIME, rows=reference.values.size, distinct=None):
            asked = pair.name in wishes.tests
            shown = each if asked else each._replace(threshold=None)
            if each.name in NUMBER_TESTS:
                outcome = each.test.run(reference.values, current.values)
            else:
                outcome = each.test.run(*_cells(reference, current, wishes=wishes, distinct=None))
            found += (DraftMeasure("values", shown, outcome, None),)
        found += _clock(pair, wishes, spans=[_span(reference), _span(current)])
    return Draft(
        pair.name,
        ComparedKind.TIME,
        _number_figures(reference),
        _number_figures(current),
        max((each.outcome.value for each in found if each.of in _LEAST_SPAN), default=0.0),
        None,
        (*found, *_missing(cells, wishes)),
        tuple(_odd_numbers(reference, current)),
        counted.bars_of_numbers(reference, current),
    )


def _span(side: NumberSide) -> float:
    return float(side.values[-1] - side.values[0])


def _clock(pair: ColumnPair, wishes: Wishes, *, spans: Sequence[float]) -> tuple[DraftMeasure, ...]:
    """Test the hour and the weekday of times, each where both sides span enough of them."""
    found: tuple[DraftMeasure, ...] = ()
    plain = wishes._replace(tests={}, test=(), rules="kedge")
    for part, least in _LEAST_SPAN.items():
        if min(spans) < least or (part == "hour" and pl.Date in (pair.reference.dtype, pair.current.dtype)):
            continue
        sides = label_sides(clock_part(pair.reference, part), clock_part(pair.current, part))
        whole = counted.CellCounts(sides.reference, sides.current)
        if part == "hour" and len(sides.labels) < 2:
            continue
        (chosen,) = choose(plain, pair.name, kind=ComparedKind.CATEGORY, rows=1, distinct=None)
        found += (DraftMeasure(part, chosen, chosen.test.run(*whole), counted.chance(whole)),)
    return found


def of_one(name: str, column: pl.Series, *, kind: ComparedKind, appeared: bool) -> Draft:
    """Tell of a column that only one frame has."""
    figures = SideFigures(rows=len(column), missing=column.null_count())
    says = "the column appeared: the reference has none of this name" if appeared else "the column vanished"
    odd = (OddNote(Oddity.APPEARED if appeared else Oddity.VANISHED, says),)
    return Draft(name, kind, None if appeared else figures, figures if appeared else None, 1.0, None, (), odd)


def _missing(cells: counted.CellCounts, wishes: Wishes) -> tuple[DraftMeasure, ...]:
    """Compare the shares of missing values, where there are any."""
    n, m = cells.reference.sum(), cells.current.sum()
    was, now = cells.reference[-1], cells.current[-1]
    if not (was or now) or not n or not m:
        return ()
    return (missing_share(wishes, was=int(was), now=int(now), rows=(int(n), int(m))),)


def measured(
    of: str, name: str, *, wishes: Wishes, pair: ColumnPair, outcome: Tested, guard: float | None, usual: float
) -> DraftMeasure:
    """Give what a measure of its own found, which is no test that can be chosen; `usual` is its threshold."""
    test = NamedTest(lambda one, other: outcome, usual, False)
    return DraftMeasure(of, Chosen(name, test, threshold_of(wishes, pair.name, name=name, test=test)), outcome, guard)


def missing_share(wishes: Wishes, *, was: int, now: int, rows: tuple[int, int]) -> DraftMeasure:
    """Compare two shares of missing values: their difference, and the z test of it."""
    pooled = (was + now) / sum(rows)
    spread = float(np.sqrt(pooled * (1 - pooled) * (1 / rows[0] + 1 / rows[1])))
    difference = now / rows[1] - was / rows[0]
    p = float(2 * stats.norm.sf(abs(difference) / spread)) if spread else 1.0
    threshold = MISSING if wishes.rules == "kedge" else None
    test = NamedTest(lambda one, other: Tested(0.0), MISSING, False)
    return DraftMeasure("missing", Chosen("share", test, threshold), Tested(abs(difference), p), p)


def _number_figures(side: NumberSide) -> SideFigures:
    values = side.values
    if not values.size:
        return SideFigures(rows=side.rows, missing=side.missing, infinite=side.infinite)
    return SideFigures(
        rows=side.rows,
        missing=side.missing,
        infinite=side.infinite,
        mean=_finite(values.mean()),
        deviation=_finite(values.std()),
        least=float(values[0]),
        median=float(values[(values.size - 1) // 2]),
        greatest=float(values[-1]),
    )


def _finite(value: float) -> float | None:
    """Give a number, None where it is beyond what floats hold."""
    return float(value) if np.isfinite(value) else None


def _label_figures(sides: LabelSides, place: int) -> SideFigures:
    counts = (sides.reference, sides.current)[place]
    return SideFigures(rows=sides.rows[place], missing=sides.missing[place], distinct=int((counts > 0).sum()))


def _odd_numbers(reference: NumberSide, current: NumberSide) -> Sequence[OddNote]:
    found = [*odd_missing(reference.rows - reference.missing, current.rows - current.missing, rows=current.rows)]
    if says := _infinite(reference, current):
        found.append(OddNote(Oddity.INFINITE, says))
    if _is_constant(current) and not _is_constant(reference) and reference.values.size:
        found.append(OddNote(Oddity.CONSTANT, "all values are the same now, and were not"))
    return found


def _infinite(reference: NumberSide, current: NumberSide) -> str:
    """Say what is odd about infinite values: that there are some now, or that a reference of nothing else cannot measure."""
    if current.infinite and not reference.infinite:
        return f"infinite now, and never before: {count(current.infinite, 'value')}"
    only = reference.infinite and not reference.values.size
    signs = [(side.low > 0, side.high > 0) for side in (reference, current)]
    if only and (current.values.size or (current.infinite and signs[0] != signs[1])):
        now = f"{count(current.values.size, 'value')} finite now" if current.values.size else "and now of another sign"
        return (
            f"all {count(reference.infinite, 'value')} of the reference were infinite, {now}: give a reference with numbers"
        )
    return ""


def _is_constant(side: NumberSide) -> bool:
    return side.values.size > 1 and bool(side.values[0] == side.values[-1])


def odd_missing(was: int, now: int, *, rows: int) -> Sequence[OddNote]:
    """Tell where a side has no value at all; `was` and `now` are the rows with one."""
    if was and not now and rows:
        return [OddNote(Oddity.ALL_MISSING, f"all {count(rows, 'value')} are missing")]
    if now and not was:
        return [OddNote(Oddity.APPEARED, f"{count(now, 'value')} where the reference has none")]
    return []


def _odd_labels(sides: LabelSides, *, secret: bool, names: bool) -> Sequence[OddNote]:
    was, now = int(sides.reference.sum()), int(sides.current.sum())
    found = [*odd_missing(was, now, rows=sides.rows[1])]
    kinds = [int((side > 0).sum()) for side in (sides.reference, sides.current)]
    if names:
        found.append(
            OddNote(
                Oddity.IDENTIFIER,
                f"an identifier, not tested: hardly a value comes twice ({kinds[0]:,} of {was:,})",
            )
        )
        return found
    if kinds[1] == 1 and kinds[0] > 1 and now > 1:
        found.append(OddNote(Oddity.CONSTANT, "all values are the same now, and were not"))
    new = np.flatnonzero((sides.reference == 0) & (sides.current > 0))
    if new.size and was:
        rows = int(sides.current[new].sum())
        shown = [repr(str(sides.labels[int(place)])[:40]) for place in new[:_SHOWN_UNSEEN]]
        listed = "" if secret else f": {', '.join(shown)}{' ...' if new.size > _SHOWN_UNSEEN else ''}"
        share = 100 * rows / max(sides.rows[1], 1)
        says = f"{count(new.size, 'value')} that the reference has not, in {count(rows, 'row')} ({share:.3g} %){listed}"
        found.append(OddNote(Oddity.UNSEEN, says))
    return found

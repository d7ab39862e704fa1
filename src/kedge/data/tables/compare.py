"""What differs between two versions of a table: columns, rows, distributions.

Work is bounded by what differs: a part that both versions hold is not read for its rows, and columns are compared some at
a time. With a key rows are joined by it, and values compared as they are. Without one, rows are told apart by a 64-bit
hash of all they hold. Distributions are measured on at most 250,000 rows of each side, evenly spread.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from kedge.data.source import column_type, spare
from kedge.data.tables.moved import moved
from kedge.data.tables.parts import Parts, conformed, held, with_rows
from kedge.domain.data import DatasetVersion, Part
from kedge.domain.data_diff import (
    ChangedCell,
    ColumnChange,
    ExampleRow,
    MovedColumn,
    SchemaChange,
    TableDiff,
    side_of,
)
from kedge.errors import RequestInvalid

_EXAMPLES, _LONGEST = 5, 80
_SAMPLED = 250_000
_AT_ONCE = 16_000_000  # values: columns are read together as long as they are not more


class Piece(NamedTuple):
    """Rows of one side that the other may not have: how many, and how to read columns of them."""

    rows: int
    read: Callable[[Sequence[str]], pl.DataFrame]


class TableSide(NamedTuple):
    """One version: its columns, what of it may differ, and how to read columns of all its rows."""

    schema: pl.Schema
    pieces: list[Piece]
    all: list[Piece]

    def column(self, names: Sequence[str]) -> pl.DataFrame:
        """Read columns of the rows that may differ."""
        wanted = {name: self.schema[name] for name in names}
        frames = [conformed(piece.read(names), wanted) for piece in self.pieces]
        return pl.concat([pl.DataFrame(schema=wanted), *frames])

    def sample(self, names: Sequence[str]) -> pl.DataFrame:
        """Read columns of evenly spread rows, of a bounded number."""
        total, wanted = sum(piece.rows for piece in self.all), {name: self.schema[name] for name in names}
        step, first, frames = max(-(-total // _SAMPLED), 1), 0, [pl.DataFrame(schema=wanted)]
        for piece in self.all:
            frames.append(conformed(piece.read(names), wanted).gather_every(step, -first % step))
            first += piece.rows
        return pl.concat(frames)


def sides(
    parts: Parts, *, before: DatasetVersion, after: DatasetVersion, schemas: tuple[pl.Schema, pl.Schema]
) -> tuple[TableSide, TableSide, int]:
    """Set parts aside that both versions hold; give both sides, and how many rows were set aside."""
    shared = Counter(map(_name, before.parts)) & Counter(map(_name, after.parts))
    left, rest = _take(before.parts, shared.copy())
    right, _ = _take(after.parts, shared)
    same = sum(map(held, rest))
    files: dict[str, list[Part]] = {}
    for part in right:
        files.setdefault(part.digest, []).append(part)
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    for part in left:
        if not files.get(part.digest):
            pieces[0].append(_whole(parts, part))
            continue
        other = files[part.digest].pop()
        out = [parts.left_out(one) for one in (part, other)]
        gone = [np.zeros(part.rows, dtype=bool) if bits is None else bits for bits in out]
        same += int((~gone[0] & ~gone[1]).sum())
        pieces[0].append(_some(parts, part, wanted=~gone[0] & gone[1]))
        pieces[1].append(_some(parts, part, wanted=~gone[1] & gone[0]))
    pieces[1].extend(_whole(parts, part) for several in files.values() for part in several)
    wholes = [[_whole(parts, part) for part in version.parts] for version in (before, after)]
    return TableSide(schemas[0], pieces[0], wholes[0]), TableSide(schemas[1], pieces[1], wholes[1]), same


def compare(
    before: DatasetVersion,
    after: DatasetVersion,
    *,
    left: TableSide,
    right: TableSide,
    same: int,
    key: Sequence[str],
) -> TableDiff:
    """Compare two sides; `same` rows are known to be equal. Raises RequestInvalid for a key that is none."""
    common = [name for name in right.schema if name in left.schema]
    values = [name for name in common if name not in key]
    for version, side in ((before, left), (after, right)):
        if lacking := [name for name in key if name not in side.schema]:
            raise RequestInvalid(f"v{version.number} of table {version.dataset!r} has no column {lacking[0]!r} for the key")
    found = _by_key(left, right, key=key, values=values) if key else _by_hash(left, right, common=common)
    columns, sampled = _moved(left, right, common=common)
    return TableDiff(
        before=side_of(before),
        after=side_of(after),
        key=tuple(key),
        schema=tuple(_schema_changes(left.schema, right.schema)),
        added=len(found.added),
        removed=len(found.removed),
        changed=found.changed,
        unchanged=same + found.unchanged,
        changed_cells={name: count for name, count in found.cells.items() if count},
        columns=columns,
        examples_added=_rows(right, found.added[:_EXAMPLES], key=key, after=True),
        examples_removed=_rows(left, found.removed[:_EXAMPLES], key=key, after=False),
        examples_changed=_changes(left, right, pairs=found.first, key=key, values=values),
        sampled=sampled,
    )


class _Found(NamedTuple):
    added: np.ndarray
    removed: np.ndarray
    changed: int
    unchanged: int
    cells: dict[str, int]
    first: list[tuple[int, int]]


def _by_key(left: TableSide, right: TableSide, *, key: Sequence[str], values: Sequence[str]) -> _Found:
    keys = [side.column(key) for side in (left, right)]
    for frame in keys:
        if frame.is_duplicated().any():
            raise RequestInvalid(f"the key ({', '.join(key)}) does not tell rows apart; compare by another one")
    here, there = spare("left__", key), spare("right__", key)
    places = [
        _together(frame, right.schema).with_row_index(name).sort(key)
        for frame, name in zip(keys, (here, there), strict=True)
    ]
    joined = places[0].join(places[1], on=list(key), how="full", nulls_equal=True, coalesce=True).sort(key)
    pairs = joined.filter(pl.col(here).is_not_null() & pl.col(there).is_not_null())
    at = pairs[here], pairs[there]
    differs, cells = np.zeros(len(pairs), dtype=bool), {}
    for names in _groups(values, max(len(keys[0]), len(keys[1]))) if len(pairs) else ():
        frames = left.column(names), right.column(names)
        for name in names:
            other = _differ(frames[0][name].gather(at[0]), frames[1][name].gather(at[1]))
            cells[name] = int(other.sum())
            differs |= other
    first = [(int(at[0][int(i)]), int(at[1][int(i)])) for i in np.flatnonzero(differs)[:_EXAMPLES]]
    return _Found(
        added=joined.filter(pl.col(here).is_null())[there].to_numpy(),
        removed=joined.filter(pl.col(there).is_null())[here].to_numpy(),
        changed=int(differs.sum()),
        unchanged=len(pairs) - int(differs.sum()),
        cells=cells,
        first=first,
    )


def _by_hash(left: TableSide, right: TableSide, *, common: Sequence[str]) -> _Found:
    """Compare rows as a bag: each row of one side takes one equal row of the other away."""
    hashes = []
    for side in (left, right):
        some = [
            _together(conformed(piece.read(common), {n: side.schema[n] for n in common}), right.schema)
            for piece in side.pieces
        ]
        hashed = [frame.hash_rows(seed=0) for frame in some if frame.width]
        row = pl.concat([pl.Series(dtype=pl.UInt64), *hashed]).alias("row")
        hashes.append(row.to_frame().with_columns(turn=pl.int_range(pl.len()).over("row")).with_row_index("place"))
    only = [
        one.join(other, on=["row", "turn"], how="anti", maintain_order="left")["place"].to_numpy()
        for one, other in (hashes, reversed(hashes))
    ]
    return _Found(added=only[1], removed=only[0], changed=0, unchanged=len(hashes[0]) - len(only[0]), cells={}, first=[])


def _moved(left: TableSide, right: TableSide, *, common: Sequence[str]) -> tuple[tuple[MovedColumn, ...], int]:
    rows = [sum(piece.rows for piece in side.all) for side in (left, right)]
    found: list[MovedColumn] = []
    for names in _groups(common, min(max(rows), _SAMPLED)):
        frames = left.sample(names), right.sample(names)
        found += [moved(frames[0][name], frames[1][name]) for name in names]
    sampled = max((max(column.rows_before, column.rows_after) for column in found), default=0)
    found.sort(key=lambda column: (not column.moved, -column.distances.get("psi", 0.0), column.name))
    return tuple(found), sampled if sampled < max(rows) else 0


def _groups(names: Sequence[str], rows: int) -> Iterator[list[str]]:
    many = max(_AT_ONCE // max(rows, 1), 1)
    for first in range(0, len(names), many):
        yield list(names[first : first + many])


def _differ(one: pl.Series, other: pl.Series) -> np.ndarray:
    """Say of each pair of values whether they differ; missing equals missing."""
    one = _alike(one, other.dtype)
    if one.dtype != other.dtype:
        return np.ones(len(one), dtype=bool)
    return one.ne_missing(other).to_numpy()


def _together(rows: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return rows.select(_alike(rows[name], schema[name]) for name in rows.columns)


def _alike(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Give values the type that they have on the other side, where that can be."""
    if values.dtype == dtype:
        return values
    try:
        cast = values.cast(dtype, strict=False)
    except pl.exceptions.PolarsError:
        return values
    return cast if cast.null_count() == values.null_count() else values


def _schema_changes(before: pl.Schema, after: pl.Schema) -> Iterator[SchemaChange]:
    for name, dtype in before.items():
        if name not in after:
            yield SchemaChange(column=name, change=ColumnChange.REMOVED, before=column_type(dtype))
        elif after[name] != dtype:
            types = column_type(dtype), column_type(after[name])
            yield SchemaChange(column=name, change=ColumnChange.RETYPED, before=types[0], after=types[1])
    for name, dtype in after.items():
        if name not in before:
            yield SchemaChange(column=name, change=ColumnChange.ADDED, after=column_type(dtype))


def _rows(side: TableSide, places: np.ndarray, *, key: Sequence[str], after: bool) -> tuple[ExampleRow, ...]:
    found = []
    for row in _picked(side, places.tolist()).iter_rows(named=True):
        cells = [(name, _text(value)) for name, value in row.items() if name not in key]
        found.append(
            ExampleRow(
                key=tuple(_text(row[name]) or "" for name in key),
                cells=tuple(
                    ChangedCell(column=name, after=text) if after else ChangedCell(column=name, before=text)
                    for name, text in cells
                ),
            )
        )
    return tuple(found)


def _changes(
    left: TableSide, right: TableSide, *, pairs: list[tuple[int, int]], key: Sequence[str], values: Sequence[str]
) -> tuple[ExampleRow, ...]:
    was, now = (_picked(side, [pair[i] for pair in pairs]) for i, side in enumerate((left, right)))
    differs = {name: _differ(was[name], now[name]) for name in values}
    found = []
    for place in range(len(pairs)):
        cells = [
            ChangedCell(column=name, before=_text(was[name][place]), after=_text(now[name][place]))
            for name in values
            if differs[name][place]
        ]
        found.append(ExampleRow(key=tuple(_text(now[name][place]) or "" for name in key), cells=tuple(cells)))
    return tuple(found)


def _picked(side: TableSide, places: Sequence[int]) -> pl.DataFrame:
    """Read the rows at these places among those that may differ, in the order given; each piece is read once."""
    first, frames, order = 0, [pl.DataFrame(schema=side.schema)], []
    for piece in side.pieces:
        wanted = [place for place in places if first <= place < first + piece.rows]
        if wanted:
            frames.append(conformed(piece.read([*side.schema])[[place - first for place in wanted]], side.schema))
            order += wanted
        first += piece.rows
    return pl.concat(frames)[[order.index(place) for place in places]]


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _name(part: Part) -> tuple[str, str | None]:
    return part.digest, part.deleted


def _take(parts: Sequence[Part], shared: Counter[tuple[str, str | None]]) -> tuple[list[Part], list[Part]]:
    """Part those that the other side has from those that it has not."""
    own, both = [], []
    for part in parts:
        if shared[_name(part)] > 0:
            shared[_name(part)] -= 1
            both.append(part)
        else:
            own.append(part)
    return own, both


def _whole(parts: Parts, part: Part) -> Piece:
    return Piece(held(part), lambda names: with_rows(parts.read(part, names), held(part)))


def _some(parts: Parts, part: Part, *, wanted: np.ndarray) -> Piece:
    count, chosen = int(wanted.sum()), pl.Series(wanted)
    return Piece(count, lambda names: with_rows(parts.whole(part.digest, names).filter(chosen), count))

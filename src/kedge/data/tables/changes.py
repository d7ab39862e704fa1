"""What a commit changes: the parts that stay, the rows that leave them, the rows that are new. Pure, but for reading.

With a key, a table is a set of rows: those that changed or are gone leave their parts, and their new values become one
new part. Without one, the order of rows counts: the parts that the new table begins with stay, the rest is written.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from kedge.data.source import spare
from kedge.data.tables.parts import Parts, held, stacked
from kedge.domain.data import Part
from kedge.errors import DataInvalid, SourceFailed

MOST_ROWS = 1 << 20
"""The most rows of a part that a commit writes; of a wide table they are fewer."""
_MOST_BYTES = 256 << 20
_FEWEST = 4096
_WIDE = 32  # bytes that a text, a list and the like may take
_FAN = 16
_SMALLEST = 4096


class TableChange(NamedTuple):
    """Parts that stay (with what they are now without), how many rows left them, and the rows to be written."""

    parts: tuple[Part, ...]
    gone: int
    new: pl.DataFrame


def changed(parts: Parts, before: Sequence[Part], *, rows: pl.DataFrame, key: Sequence[str]) -> TableChange:
    """Say how the rows of the parts before become these rows. Types must be the same on both sides."""
    return _changed_by_key(parts, before, rows=rows, key=key) if key else _changed_by_place(parts, before, rows=rows)


def left(parts: Parts, before: Sequence[Part], *, gone: np.ndarray) -> tuple[Part, ...]:
    """Leave rows out: `gone` says it of each row that the parts hold, end to end."""
    kept, first = [], 0
    for part in before:
        rows = held(part)
        one = parts.without(part, gone[first : first + rows])
        first += rows
        if one is not None:
            kept.append(one)
    return tuple(kept)


def settled(parts: Parts, now: Sequence[Part]) -> tuple[Part, ...]:
    """Write parts anew where that pays: one that is mostly left out, and many small ones in a row.

    A row is written again only when as many rows of its part are gone, or when its part joins fifteen others of its
    size: about once for each power of sixteen of the table.
    """
    kept = [_rewritten(parts, [part]) if 2 * part.gone > part.rows else part for part in now]
    while (several := _mergeable(kept, most=most_rows(parts.schema(kept[-1])) if kept else MOST_ROWS)) > 1:
        kept[-several:] = [_rewritten(parts, kept[-several:])]
    return tuple(kept)


def compacted(parts: Parts, now: Sequence[Part]) -> tuple[Part, ...]:
    """Write parts anew wherever rows are left out or neighbours are small, so that reading costs least."""
    kept: list[Part] = []
    group: list[Part] = []
    for part in now:
        if group and sum(map(held, group)) + held(part) > most_rows(parts.schema(part)):
            kept.append(_joined(parts, group))
            group = []
        group.append(part)
    return (*kept, _joined(parts, group)) if group else ()


def written(parts: Parts, rows: pl.DataFrame) -> tuple[Part, ...]:
    """Write rows as parts of a bounded size; no rows, no part."""
    most = most_rows(rows.schema)
    return tuple(parts.put(rows.slice(first, most)) for first in range(0, len(rows), most))


def most_rows(schema: Mapping[str, pl.DataType]) -> int:
    """Say how many rows one part may have: by the types alone, so that an edit moves no border between parts."""
    width = sum(_width(dtype) for dtype in schema.values())
    return max(min(MOST_ROWS, _MOST_BYTES // max(width, 1)), min(_FEWEST, MOST_ROWS))


def _width(dtype: pl.DataType) -> int:
    if dtype.is_numeric() and not dtype.is_decimal():
        return next((size for size in (1, 2, 4) if str(8 * size) in str(dtype)), 8)
    return 1 if dtype == pl.Boolean else 8 if dtype.is_temporal() else _WIDE


def written_lazily(parts: Parts, rows: pl.LazyFrame, *, table: str) -> tuple[Part, ...]:
    """Write a lazy frame as parts, some rows in memory at a time; without rows, one empty part. Raises SourceFailed."""
    try:
        empty = rows.collect_schema().to_frame()
        batches = rows.collect_batches(chunk_size=most_rows(empty.schema), maintain_order=True)
        made = [parts.put(storable(batch, table=table)) for batch in batches if len(batch)]
    except (pl.exceptions.PolarsError, OSError) as error:
        said = str(error).strip().partition("\n")[0]
        raise SourceFailed(f"table {table!r} cannot be read: {type(error).__name__}: {said}") from error
    return tuple(made) or (parts.put(storable(empty, table=table)),)


def storable(rows: pl.DataFrame, *, table: str) -> pl.DataFrame:
    """Give rows as Parquet can hold them. Raises SourceFailed for what it cannot."""
    if not rows.width:
        raise SourceFailed(f"table {table!r}: what was given has no columns")
    for column, dtype in rows.schema.items():
        if dtype in (pl.Object, pl.Unknown, pl.Int128):
            raise SourceFailed(f"column {column!r} of table {table!r} is {dtype}, which cannot be stored; convert it first")
    return rows.with_columns(pl.col(pl.Categorical).cast(pl.String))


def require_key(rows: pl.DataFrame, key: Sequence[str], *, table: str, hidden: bool) -> None:
    """Check that a key tells rows apart. `hidden` keeps its values out of the error. Raises DataInvalid, SourceFailed."""
    for name in key:
        if name not in rows.columns:
            raise SourceFailed(f"table {table!r} has no column {name!r} for its key; it has: {', '.join(rows.columns)}")
        if missing := rows[name].null_count():
            raise DataInvalid(
                f"{missing} rows of table {table!r} have no {name!r}, which is in its key; nothing was committed"
            )
    if key:
        twice = rows.select(key).is_duplicated()
        if twice.any():
            first = rows.select(key).filter(twice).row(0)
            shown = "" if hidden else f", such as {', '.join(map(repr, first))}"
            raise DataInvalid(
                f"{int(twice.sum())} rows of table {table!r} share their key ({', '.join(key)}) with another{shown}; "
                "nothing was committed: make the keys unique, or commit without a key"
            )


def _changed_by_key(parts: Parts, before: Sequence[Part], *, rows: pl.DataFrame, key: Sequence[str]) -> TableChange:
    row = spare("row__", key)
    places = rows.select(key).with_row_index(row)
    values = [name for name in rows.columns if name not in key]
    stays, kept, gone = np.zeros(len(rows), dtype=bool), [], 0
    for part in before:
        old = parts.read(part, rows.columns)
        found = old.select(key).join(places, on=key, how="left", maintain_order="left")[row]
        same = found.is_not_null()
        if same.any():
            at = found.fill_null(0)
            for name in values:
                same &= ~old[name].ne_missing(rows[name].gather(at))
        stays[found.filter(same).to_numpy()] = True
        gone += len(old) - int(same.sum())
        one = parts.without(part, ~same.to_numpy())
        if one is not None:
            kept.append(one)
    return TableChange(tuple(kept), gone, rows.filter(pl.Series(~stays)))


def _changed_by_place(parts: Parts, before: Sequence[Part], *, rows: pl.DataFrame) -> TableChange:
    kept, first = 0, 0
    for part in before:
        if first + held(part) > len(rows) or not _equal(parts.read(part), rows.slice(first, held(part))):
            break
        kept += 1
        first += held(part)
    return TableChange(tuple(before[:kept]), sum(map(held, before[kept:])), rows.slice(first))


def _equal(old: pl.DataFrame, new: pl.DataFrame) -> bool:
    return old.columns == new.columns and not any(old[name].ne_missing(new[name]).any() for name in old.columns)


def _mergeable(parts: Sequence[Part], *, most: int) -> int:
    """Count the newest parts to join: sixteen or more of one size, or smaller ones among them."""
    if not parts:
        return 0
    level, several, rows = _level(parts[-1]), 0, 0
    for part in reversed(parts):
        if _level(part) > level or rows + held(part) > most:
            break
        several, rows = several + 1, rows + held(part)
    return several if several >= _FAN else 0


def _level(part: Part) -> int:
    level, size = 0, max(held(part), 1) // _SMALLEST
    while size >= 1:
        level, size = level + 1, size // _FAN
    return level


def _joined(parts: Parts, group: list[Part]) -> Part:
    return group[0] if len(group) == 1 and not group[0].gone else _rewritten(parts, group)


def _rewritten(parts: Parts, several: Sequence[Part]) -> Part:
    return parts.put(stacked([parts.read(part) for part in several]))

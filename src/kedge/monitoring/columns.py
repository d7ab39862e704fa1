"""Columns of logged requests, each record read once: what all that is measured of a window is computed from.

    numbers   an array of their kind: a buffer of the log as it stands, or a list of one kind of number
    text      `Coded`: the values that there are, and the place of each row's among them
    others    an array of objects: numbers with nulls among them, kinds that are mixed, lists
Requests of one layout (the same columns, held alike) are read together; no object outlives its request that need not, so
that many small requests give the garbage collector nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, Protocol

import msgspec
import numpy as np

from kedge.domain.buffers import Block, HeldBlock, UnreadBlock, is_buffer_of
from kedge.domain.buffers import columns_of as listed
from kedge.domain.monitoring import Value

TEXT = {str, NoneType}
KINDS = {frozenset({float}): np.float64, frozenset({int}): np.int64, frozenset({bool}): np.bool_}


class Coded(msgspec.Struct, frozen=True, eq=False):
    """A column of text: its values, each once in order of first sight, and the place of each row's among them (int64)."""

    values: list[Value]
    codes: np.ndarray

    def __len__(self) -> int:
        return int(self.codes.size)

    def take(self, places: np.ndarray) -> Coded:
        """Take the rows at some places."""
        return Coded(self.values, self.codes[places])

    def tolist(self) -> list[Value]:
        """Give the value of each row."""
        return [self.values[code] for code in self.codes.tolist()]


Column = np.ndarray | Coded
Plain = Sequence[Value] | np.ndarray
"""A column as models and expressions are given it: numbers as their array, all else as a list."""


def column_of(values: Sequence[Value]) -> Column:
    """Make a column of one value for each row."""
    kinds = frozenset(map(type, values))
    if kinds <= TEXT:
        return coded(values)
    if kinds in KINDS:
        try:
            return np.array(values, dtype=KINDS[kinds])
        except OverflowError:  # an integer of more than 64 bits
            return objects(values)
    return objects(values)


def coded(values: Sequence[Value]) -> Coded:
    """Number values by their first sight."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return Coded(list(places), np.fromiter(map(places.__getitem__, values), np.int64, count=len(values)))


def objects(values: Sequence[Value]) -> np.ndarray:
    """Make an array of values as they are."""
    return np.fromiter(values, dtype=object, count=len(values))


def nothing(rows: int) -> Column:
    """Make a column of nulls."""
    return Coded([None], np.zeros(rows, dtype=np.int64))


def plain(column: Column) -> Plain:
    """Give a column as models and expressions are given it."""
    return column if isinstance(column, np.ndarray) and column.dtype != object else column.tolist()


def sighted(column: Column) -> tuple[list[Value], np.ndarray]:
    """Give the values that a column holds, each once in order of first sight, and the place of each row's (int64). Equal
    values are one, whatever their kind."""
    if not isinstance(column, Coded):
        if column.dtype == object:
            found = coded(column.tolist())
            return found.values, found.codes
        distinct, first, codes = np.unique(column, return_index=True, return_inverse=True)
        values: list[Value] = distinct.tolist()
    else:
        used, first, codes = np.unique(column.codes, return_index=True, return_inverse=True)
        values = [column.values[code] for code in used.tolist()]
    order = np.argsort(first)
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    return [values[place] for place in order.tolist()], rank[codes]


class ReadColumns(msgspec.Struct, frozen=True, eq=False):
    """Columns of requests by name, and the rows (bool) of the requests that lacked one, of those that some lacked."""

    columns: dict[str, Column]
    lacking: dict[str, np.ndarray]


_Held = tuple[msgspec.Raw, str, msgspec.Raw, bytes | list[Any]]
_NO_BLOCK: Any = ((), "", (), b"")
_names, _shape = msgspec.msgpack.Decoder(list[str]), msgspec.msgpack.Decoder(list[int])
_list, _map = msgspec.msgpack.Decoder(list[Any]), msgspec.msgpack.Decoder(dict[str, list[Any]])


def read_blocks(
    requests: Iterable[Sequence[HeldBlock]] | Iterable[Sequence[UnreadBlock]],
    sizes: Sequence[int],
    *,
    names: Collection[str] | None = None,
) -> ReadColumns:
    """Read the blocks of requests with so many rows each, as columns: held ones all, unread ones where they are named.
    Raises msgspec.DecodeError where bytes are no blocks."""
    runs: dict[Any, _Run] = {}
    run, before, before_rows = _Run([]), _NO_BLOCK, -1
    for request, (blocks, rows) in enumerate(zip(requests, sizes, strict=True)):
        held, tag, shape, data = blocks[0] if len(blocks) == 1 else _NO_BLOCK
        if (
            rows == before_rows
            and held == before[0] != ()
            and tag == before[1]
            and shape == before[2]
            and len(data) == len(before[3])
            and type(data) is type(before[3])
        ):  # most often: one block, held as that of the request before
            run.requests.append(request)
            run.adds[0](data, rows)
            continue
        layout: Any = tuple([_layout(block, rows) for block in blocks])
        known = runs.get(layout)
        if known is None:
            built = [(_names.decode(name), tag, _shape.decode(shape), data) for name, tag, shape, data in blocks]
            known = runs[layout] = _Run([_gathering(block, rows, only=names) for block in built])
        run, before, before_rows = known, _NO_BLOCK, rows
        if len(blocks) == 1:
            before = blocks[0]
        run.requests.append(request)
        for add, block in zip(run.adds, blocks, strict=True):
            add(block[3], rows)
    return _together(list(runs.values()), sizes)


def read_maps(raws: Sequence[msgspec.Raw], sizes: Sequence[int], *, names: Collection[str]) -> ReadColumns:
    """Read the maps of lists of requests with so many rows each, as columns: those named."""
    runs: dict[Any, _Run] = {}
    for request, (raw, rows) in enumerate(zip(raws, sizes, strict=True)):
        read = _map.decode(raw)
        have = tuple([name for name in names if name in read])
        run = runs.get(have)
        if run is None:
            run = runs[have] = _Run([_Lists(dict(enumerate(have)))])
        run.requests.append(request)
        run.adds[0]([read[name] for name in have], rows)
    return _together(list(runs.values()), sizes)


def _layout(block: _Held, rows: int) -> tuple[Any, ...]:
    """Tell how a block is held: blocks of one layout are gathered alike."""
    names, tag, shape, data = block
    if type(data) is bytes:
        return (bytes(names), tag, bytes(shape), len(data) / rows if rows else 0)
    return (bytes(names), rows == 1)


def _gathering(block: Block, rows: int, *, only: Collection[str] | None) -> _Gathering:
    """Choose how blocks like one are gathered; of its columns those that are wanted."""
    names, tag, shape, data = block
    wanted = {place: name for place, name in enumerate(names) if only is None or name in only}
    if isinstance(data, bytes):
        if not shape and is_buffer_of(tag, data) and len(data) == rows * len(names) * np.dtype(tag).itemsize:
            return _Buffers(wanted, tag=tag, width=len(names))
        return _Lists(wanted, read=lambda held: list(listed([(names, tag, shape, held)]).values()))
    if only is not None:
        return _Lists(wanted, read=lambda raws: [_list.decode(raw) if at in wanted else () for at, raw in enumerate(raws)])
    return _Singles(wanted, width=len(names)) if rows == 1 else _Lists(wanted)


class _Gathering(Protocol):
    """What is gathered of one block of many requests."""

    def add(self, data: Any, rows: int) -> None:
        """Add a request's block."""

    def columns(self, rows: int) -> dict[str, Column]:
        """Give the columns of all that was added, of so many rows."""


class _Buffers:
    """Buffers of numbers, row by row."""

    def __init__(self, wanted: Mapping[int, str], *, tag: str, width: int) -> None:
        self._wanted, self._tag, self._width = wanted, tag, width
        self._data: list[bytes] = []

    def add(self, data: bytes, rows: int) -> None:
        self._data.append(data)

    def columns(self, rows: int) -> dict[str, Column]:
        numbers = np.frombuffer(b"".join(self._data), dtype=self._tag).reshape(rows, self._width).T
        if len(self._wanted) == self._width:
            numbers = np.ascontiguousarray(numbers)
        return {name: np.ascontiguousarray(numbers[place]) for place, name in self._wanted.items()}


class _Singles:
    """Lists of one value each: requests of one row."""

    def __init__(self, wanted: Mapping[int, str], *, width: int) -> None:
        self._wanted, self._width = wanted, width
        self._values: list[Value] = []

    def add(self, data: Sequence[Sequence[Value]], rows: int) -> None:
        try:
            self._values += [value for (value,) in data]
        except ValueError:  # a column without a value, or with more than one
            self._values += [column[0] if column else None for column in data]
        if len(data) < self._width:
            self._values += [None] * (self._width - len(data))
        elif len(data) > self._width:
            del self._values[self._width - len(data) :]

    def columns(self, rows: int) -> dict[str, Column]:
        return {name: column_of(self._values[place :: self._width]) for place, name in self._wanted.items()}


class _Lists:
    """Lists of values; those of which a request has too few are null. `read` makes them of what a block holds."""

    def __init__(self, wanted: Mapping[int, str], *, read: Callable[[Any], Any] | None = None) -> None:
        self._wanted, self._read = wanted, read
        self._values: dict[int, list[Value]] = {place: [] for place in wanted}

    def add(self, data: Any, rows: int) -> None:
        read = data if self._read is None else self._read(data)
        for place, values in self._values.items():
            found = read[place] if place < len(read) else ()
            values.extend(found if len(found) == rows else [*found, *[None] * rows][:rows])

    def columns(self, rows: int) -> dict[str, Column]:
        return {name: column_of(self._values[place]) for place, name in self._wanted.items()}


class _Run:
    """Requests of one layout: their numbers, and what takes each of their blocks."""

    def __init__(self, blocks: Sequence[_Gathering]) -> None:
        self.requests: list[int] = []
        self.adds = [block.add for block in blocks]
        self._blocks = blocks

    def columns(self, rows: int) -> dict[str, Column]:
        """Give the columns of the requests, of so many rows, in the order in which they were added."""
        return {name: column for block in self._blocks for name, column in block.columns(rows).items()}


def _together(runs: Sequence[_Run], sizes: Sequence[int]) -> ReadColumns:
    """Put the rows of all runs where they belong; where a run lacks a column, its rows are null."""
    counts = [sum(sizes[request] for request in run.requests) for run in runs]
    runs, counts = [run for run, rows in zip(runs, counts, strict=True) if rows], [rows for rows in counts if rows]
    if len(runs) <= 1:
        return ReadColumns(runs[0].columns(counts[0]) if runs else {}, {})
    run_of = np.zeros(len(sizes), dtype=np.int64)
    for number, run in enumerate(runs):
        run_of[run.requests] = number
    of_row = np.repeat(run_of, sizes)
    found = [(run.columns(counts[number]), np.flatnonzero(of_row == number)) for number, run in enumerate(runs)]
    table = ReadColumns({}, {})
    for name in dict.fromkeys(name for columns, _ in found for name in columns):
        table.columns[name] = scattered([(columns.get(name), places) for columns, places in found], rows=of_row.size)
        if any(name not in columns for columns, _ in found):
            table.lacking[name] = np.isin(of_row, [at for at, (columns, _) in enumerate(found) if name not in columns])
    return table


def scattered(pieces: Sequence[tuple[Column | None, np.ndarray]], *, rows: int) -> Column:
    """Put pieces of a column at their places: as numbers where all are of one kind, as text where all are text. Rows of no
    piece, or of one that is None, are null."""
    arrays = [(column, places) for column, places in pieces if isinstance(column, np.ndarray)]
    kinds = {column.dtype.kind for column, _ in arrays}
    if len(kinds) == 1 and kinds <= {"f", "i", "b"} and sum(places.size for _, places in arrays) == rows:
        numbers = np.empty(rows, dtype=np.result_type(*(column.dtype for column, _ in arrays)))
        for numeric, places in arrays:
            numbers[places] = numeric
        return numbers
    values = np.full(rows, None, dtype=object)
    for column, places in pieces:
        if column is not None:
            values[places] = objects(column.tolist())
    return values if arrays else coded(values.tolist())


def strung(pieces: Sequence[tuple[Column | None, int]]) -> Column:
    """String pieces of a column together, each with its number of rows; those of a piece that is None are null."""
    if len(pieces) == 1 and pieces[0][0] is not None:
        return pieces[0][0]
    borders = np.cumsum([0, *(rows for _, rows in pieces)])
    placed = [(column, np.arange(*borders[at : at + 2])) for at, (column, _) in enumerate(pieces)]
    return scattered(placed, rows=int(borders[-1]))

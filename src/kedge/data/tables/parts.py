"""Parts of a table in the blob store: frames as Parquet, and beside each a bitmap of the rows that a version left out.

    part (Parquet, never changed)   row 0   row 1   row 2   row 3 ...
    bitmap of version 7               0       1       0       0   ...    version 7 is without row 1

A bitmap is one bit a row, compressed: `KDB1`, the number of rows (8 bytes, little-endian), zlib.
"""

import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from msgspec.structs import replace

from kedge.domain.data import Part
from kedge.domain.ids import Digest
from kedge.errors import StoreBroken
from kedge.ports import BlobStore, Tables

_MAGIC = b"KDB1"
_HEAD = len(_MAGIC) + 8
_SCHEMAS = 4096
_SWELLS = 4  # about how many bytes a byte of Parquet takes in memory


class Parts:
    """Writes and reads parts. Those that were read last stay decoded, up to a bound. `put` keeps the bytes of new ones."""

    def __init__(
        self, *, blobs: BlobStore, tables: Tables, put: Callable[[bytes], Digest] | None = None, cached_bytes: int = 0
    ) -> None:
        self._blobs, self._tables, self._cached_bytes = blobs, tables, cached_bytes
        self._put = put or blobs.put
        self._frames: OrderedDict[Digest, pl.DataFrame] = OrderedDict()
        self._schemas: OrderedDict[Digest, pl.Schema] = OrderedDict()

    def put(self, rows: pl.DataFrame) -> Part:
        """Keep rows as a part of their own."""
        data = self._tables.encode(rows)
        return Part(digest=self._put(data), rows=len(rows), bytes=len(data))

    def keep(self, digest: Digest, rows: pl.DataFrame) -> pl.DataFrame:
        """Hold a part's rows in memory, as far as the bound goes; one part always fits."""
        self._frames[digest] = rows
        while len(self._frames) > 1 and sum(frame.estimated_size() for frame in self._frames.values()) > self._cached_bytes:
            self._frames.popitem(last=False)
        return rows

    def whole(self, digest: Digest, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read all rows of a part, those left out too; of the columns named, those that it has."""
        if digest in self._frames:
            self._frames.move_to_end(digest)
            rows = self._frames[digest]
            return rows if columns is None else rows.select(name for name in columns if name in rows.columns)
        data = self._blobs.get(digest)
        if columns is not None and (not self._cached_bytes or _SWELLS * len(data) > self._cached_bytes):
            there = self._schema_of(digest, data)
            return self._tables.decode(data, [name for name in columns if name in there])
        rows = self._tables.decode(data)
        if self._cached_bytes:
            self.keep(digest, rows)
        return rows if columns is None else rows.select(name for name in columns if name in rows.columns)

    def read(self, part: Part, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read the rows of a part that its version still holds, in order."""
        rows, left_out = self.whole(part.digest, columns), self.left_out(part)
        return rows if left_out is None or not rows.width else rows.filter(pl.Series(~left_out))

    def schema(self, part: Part) -> pl.Schema:
        """Tell a part's columns and their types."""
        if part.digest not in self._schemas:
            return self._schema_of(part.digest, self._blobs.get(part.digest))
        return self._schemas[part.digest]

    def left_out(self, part: Part) -> np.ndarray | None:
        """Say of each row of a part's file whether its version is without it; None where it has all of them."""
        if part.deleted is None:
            return None
        bits = _unpacked(self._blobs.get(part.deleted), part.deleted)
        if len(bits) != part.rows or int(bits.sum()) != part.gone:
            raise StoreBroken(f"blob {part.deleted} is the bitmap of another part; restore the store from a backup")
        return bits

    def without(self, part: Part, gone: np.ndarray) -> Part | None:
        """Leave out some of the rows that a version holds: `gone` says it of each of those. None where no row is left."""
        if not gone.any():
            return part
        if gone.all():
            return None
        before = self.left_out(part)
        bits = np.zeros(part.rows, dtype=bool) if before is None else before.copy()
        bits[np.flatnonzero(~bits)[gone]] = True
        return self.marked(part, bits)

    def marked(self, part: Part, bits: np.ndarray) -> Part:
        """Name a part with just these rows of its file left out."""
        gone = int(bits.sum())
        deleted = self._put(_packed(bits)) if gone else None
        return replace(part, deleted=deleted, gone=gone)

    def _schema_of(self, digest: Digest, data: bytes) -> pl.Schema:
        if digest not in self._schemas:
            self._schemas[digest] = self._tables.schema(data)
            while len(self._schemas) > _SCHEMAS:
                self._schemas.popitem(last=False)
        return self._schemas[digest]


def stacked(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put parts on one another; a column that older parts lack is null in their rows."""
    alike = all(part.schema == parts[0].schema for part in parts)
    return pl.concat(parts, how="vertical" if alike else "diagonal_relaxed")


def conformed(rows: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Give a part's rows the columns and types of the whole table; a column that it lacks is null."""
    if [*rows.schema.items()] == [*schema.items()]:
        return rows
    there = rows.schema
    columns = [
        pl.col(name).cast(dtype) if name in there else pl.repeat(None, len(rows), dtype=dtype).alias(name)
        for name, dtype in schema.items()
    ]
    return rows.select(columns)


def with_rows(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """Keep the number of rows where a part has none of the columns asked for: one without a name stands for them."""
    return rows if rows.width else pl.DataFrame({"": pl.repeat(None, count, eager=True)})


def held(part: Part) -> int:
    """Count the rows of a part that its version holds."""
    return part.rows - part.gone


def _packed(bits: np.ndarray) -> bytes:
    return _MAGIC + len(bits).to_bytes(8, "little") + zlib.compress(np.packbits(bits).tobytes(), 9)


def _unpacked(data: bytes, digest: Digest) -> np.ndarray:
    try:
        if data[: len(_MAGIC)] != _MAGIC:
            raise ValueError
        rows = int.from_bytes(data[len(_MAGIC) : _HEAD], "little")
        packed = np.frombuffer(zlib.decompress(data[_HEAD:]), dtype=np.uint8)
        return np.unpackbits(packed, count=rows).astype(bool)
    except (ValueError, zlib.error) as error:
        raise StoreBroken(f"blob {digest} is not a bitmap of deleted rows; restore the store from a backup") from error

"""Append-only versions: each commit adds one part with the rows that became known since the version it grows from.

  version 1:  [ part (-, Jan 31] ]
  version 2:  [ part (-, Jan 31] ][ part (Jan 31, Feb 7] ]        the first part is shared, not written again

Content names a version: the same rows committed twice are one version.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from kedge.domain.data import DatasetVersion, Part, Schema
from kedge.domain.ids import DatasetName, Digest, digest_of


def base_of(versions: Sequence[DatasetVersion], now: datetime) -> DatasetVersion | None:
    """Find the newest version that holds nothing from after `now` (a replay may start again in the past)."""
    return max(
        (version for version in versions if version.upto is None or version.upto <= now),
        key=lambda version: (version.rows, version.number),
        default=None,
    )


def known_since(rows: pl.DataFrame, base: DatasetVersion | None, *, order: str, now: datetime) -> pl.DataFrame:
    """Take the rows known by `now` that came after the base, in the order in which they became known."""
    new = pl.col(order) <= now
    if base is not None and base.upto is not None:
        new &= pl.col(order) > base.upto
    return rows.filter(new).sort(order, maintain_order=True)


def missed(rows: pl.DataFrame, base: DatasetVersion, *, order: str) -> bool:
    """Tell whether the source now has more rows from before a version's end than the version: it got some late."""
    return base.upto is not None and rows.select((pl.col(order) <= base.upto).sum()).item() > base.rows


def late_rows(rows: pl.DataFrame, kept: pl.DataFrame, *, base: DatasetVersion, order: str, key: str) -> pl.DataFrame:
    """Take the rows from before a version's end that are not among those it kept.

    Rows are told apart by `key`, or where there is none, by all their values.
    """
    old = rows.filter(pl.col(order) <= base.upto)
    on = [key] if key else [name for name in old.columns if name in kept.columns]
    return old.join(kept.select(on), on=on, how="anti", nulls_equal=True).sort(order, maintain_order=True)


def part_of(rows: pl.DataFrame, base: DatasetVersion | None, *, order: str, digest: Digest, size: int) -> Part:
    """Describe the part that holds new rows. Late rows do not move the version's end back."""
    ends = [rows[order].max(), base.upto if base else None]
    return Part(
        digest=digest,
        rows=len(rows),
        bytes=size,
        after=base.upto if base else None,
        upto=max(end for end in ends if isinstance(end, datetime)),
    )


def grown(
    base: DatasetVersion | None,
    part: Part,
    *,
    dataset: DatasetName,
    number: int,
    schema: Schema,
    order: str,
    now: datetime,
) -> DatasetVersion:
    """Make the version that adds a part. Its digest names the table: dataset, schema and the parts' digests."""
    parts = (*(base.parts if base else ()), part)
    return DatasetVersion(
        dataset=dataset,
        number=number,
        digest=version_digest(dataset, schema, parts=parts),
        schema=schema,
        parts=parts,
        rows=sum(part.rows for part in parts),
        order=order,
        created_at=now,
        parent=base.digest if base else None,
    )


def version_digest(dataset: DatasetName, schema: Schema, *, parts: tuple[Part, ...], key: tuple[str, ...] = ()) -> Digest:
    """Name a version by its content: the parts, and where there are any, its key and the bitmaps of rows left out."""
    if key or any(part.deleted for part in parts):
        return digest_of("dataset-version", dataset, schema, [[part.digest, part.deleted] for part in parts], key)
    return digest_of("dataset-version", dataset, schema, [part.digest for part in parts])

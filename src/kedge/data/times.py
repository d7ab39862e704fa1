"""Times as people's tables hold them, made into one type: `Datetime("us", "UTC")`.

A time without a zone is UTC. Dates are their midnight. Strings are ISO 8601; other notations (01/02/2013) are ambiguous
and refused, and so are numbers, whose unit nobody wrote down.
"""

import polars as pl

from kedge.errors import SourceFailed

UTC = pl.Datetime("us", "UTC")
_ISO = r"^\s*\d{4}-\d{2}-\d{2}"


def as_times(column: pl.Series, where: str) -> pl.Series:
    """Give a column as UTC times. `where` names its table in the error.

    Text that is no time becomes null (and is quarantined later); where none is a time, SourceFailed names the first.
    """
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        zoned = column if dtype.time_zone else column.dt.replace_time_zone("UTC")
        return zoned.dt.convert_time_zone("UTC").cast(UTC)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype == pl.Null:
        return column.cast(UTC)
    if isinstance(dtype, pl.Categorical | pl.Enum) or dtype == pl.String:
        return _parsed(column.cast(pl.String), where)
    raise SourceFailed(
        f"column {column.name!r} of {where} is {dtype}, not a time; "
        "make it a timestamp, or text such as 2013-01-31T10:00:00Z"
    )


def _parsed(column: pl.Series, where: str) -> pl.Series:
    iso = column.to_frame().select(
        pl.when(pl.col(column.name).str.contains(_ISO)).then(pl.col(column.name).str.strip_chars())
    )[column.name]
    if iso.null_count() == len(iso):
        times = iso.cast(UTC)
    else:
        times = iso.str.to_datetime(strict=False, time_unit="us", time_zone="UTC")
    if times.null_count() == len(times) and column.null_count() < len(column):
        raise SourceFailed(
            f"column {column.name!r} of {where} is read as a time, but {column.drop_nulls()[0]!r} is none; "
            "write times as 2013-01-31T10:00:00Z"
        )
    return times

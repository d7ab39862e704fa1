from datetime import UTC, date, datetime

import polars as pl
import pytest

from kedge.data.times import as_times
from kedge.errors import SourceFailed

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [
        ["2013-01-01T12:00:00Z"],
        ["2013-01-01 12:00"],
        ["2013-01-01T13:00:00+01:00"],
        [" 2013-01-01T12:00:00 "],
        [datetime(2013, 1, 1, 12)],
        [NOON],
    ],
)
def test_a_time_may_be_written_in_several_ways(values):
    assert as_times(pl.Series("at", values), "a table").to_list() == [NOON]


def test_dates_are_midnight_and_other_units_and_zones_become_one():
    assert as_times(pl.Series("at", [date(2013, 1, 1)]), "a table").to_list() == [datetime(2013, 1, 1, tzinfo=UTC)]
    nanoseconds = pl.Series("at", [NOON]).dt.cast_time_unit("ns").dt.convert_time_zone("America/New_York")
    assert as_times(nanoseconds, "a table").to_list() == [NOON]
    assert as_times(pl.Series("at", [None]), "a table").to_list() == [None]
    assert as_times(pl.Series("at", ["2013-01-01"], dtype=pl.Categorical), "t").to_list() == [
        datetime(2013, 1, 1, tzinfo=UTC)
    ]


def test_text_that_is_no_time_becomes_null_unless_all_is():
    assert as_times(pl.Series("at", ["2013-01-01", "soon"]), "a table").null_count() == 1
    with pytest.raises(SourceFailed, match="column 'at' of a table is read as a time, but 'soon' is none"):
        as_times(pl.Series("at", ["soon", None]), "a table")
    with pytest.raises(SourceFailed, match="'02/01/2013'"):
        as_times(pl.Series("at", ["02/01/2013"]), "a table")


def test_numbers_are_no_times():
    with pytest.raises(SourceFailed, match="column 'at' of a table is Int64, not a time"):
        as_times(pl.Series("at", [1]), "a table")

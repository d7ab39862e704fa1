from datetime import UTC, date, datetime, time
from decimal import Decimal

import polars as pl
import pytest

from kedge.data.source import declared, schema_of
from kedge.domain.data import ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.project import DataRules
from kedge.errors import SourceFailed

RULES = DataRules(source="rows.csv", key="id", time="at", label="late", label_delay="1d")


def table(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"id": ["b", "a"], "at": ["2013-01-02", "2013-01-01"], "late": [1, 0]} | columns)


def rules(**changes: object) -> DataRules:
    given = {"source": "rows.csv", "key": "id", "time": "at", "label": "late"} | changes
    return DataRules(**given)


def test_rows_come_in_order_of_time_with_the_time_their_label_is_known():
    rows, classes = declared(table(), RULES)
    assert rows["id"].to_list() == ["a", "b"]
    assert rows["known_at__"].to_list() == [datetime(2013, 1, 2, tzinfo=UTC), datetime(2013, 1, 3, tzinfo=UTC)]
    assert classes == ("0", "1")


def test_a_label_is_known_at_its_own_column_or_at_once():
    rows, _ = declared(table(told=["2013-02-01", None]), rules(label_time="told"))
    assert rows["known_at__"].to_list() == [None, datetime(2013, 2, 1, tzinfo=UTC)]
    rows, _ = declared(table(), rules())
    assert rows["known_at__"].to_list() == rows["at"].to_list()


def test_a_row_without_a_time_reaches_validation():
    rows, _ = declared(table(at=["2013-01-02", "never"]), RULES)
    assert rows["at"].to_list() == [datetime(2013, 1, 2, tzinfo=UTC), None]
    assert rows["known_at__"].to_list() == [datetime(2013, 1, 3, tzinfo=UTC)] * 2


@pytest.mark.parametrize(
    ("values", "codes", "classes"),
    [
        ([True, False, None], [1, 0, None], ("0", "1")),
        ([1, 1, 1], [1, 1, 1], ("0", "1")),
        ([0.0, 1.0, float("nan")], [0, 1, None], ("0", "1")),
        (["yes", "no", "yes"], [1, 0, 1], ("no", "yes")),
        ([2, 1, 2], [1, 0, 1], ("1", "2")),
        ([-1, 1, -1], [0, 1, 0], ("-1", "1")),
        (["no", "yes", "perhaps"], [0, 1, 2], ("no", "yes", "perhaps")),
        ([0, 1, 7], [0, 1, 2], ("0", "1", "7")),
        ([0.0, 1.0, 0.5], [0, 1, 2], ("0", "1", "0.5")),
        (pl.Series([None] * 3, dtype=pl.String), [None] * 3, ("0", "1")),
    ],
)
def test_two_values_become_0_and_1_and_a_third_can_be_told(values, codes, classes):
    source = pl.DataFrame({"id": [1, 2, 3], "at": ["2013-01-01"] * 3, "late": values})
    rows, found = declared(source, RULES)
    assert rows["late"].dtype == pl.Int8
    assert rows["late"].to_list() == codes
    assert found == classes


def test_what_comes_later_cannot_change_the_classes():
    source = pl.DataFrame({"id": [1, 2, 3], "at": ["2013-01-03", "2013-01-02", "2013-01-01"], "late": ["a", "no", "yes"]})
    assert declared(source, RULES)[1] == ("no", "yes", "a")


def test_many_labels_share_the_last_code():
    count = 200
    source = pl.DataFrame({"id": range(count), "at": ["2013-01-01"] * count, "late": [f"v{n:03}" for n in range(count)]})
    rows, _ = declared(source, RULES)
    assert rows["late"].max() == 127
    assert rows["late"].null_count() == 0


def test_a_number_is_regressed_as_it_is():
    rows, classes = declared(table(late=[3, 4]), rules(task=Task.REGRESSION))
    assert rows["late"].to_list() == [4.0, 3.0]
    assert classes == ()


def test_each_column_has_one_of_five_types():
    rows, _ = declared(
        table(
            a=pl.Series([1, 2], dtype=pl.UInt8),
            b=pl.Series([1.5, float("nan")], dtype=pl.Float32),
            c=pl.Series(["x", "y"], dtype=pl.Categorical),
            d=[date(2013, 1, 1), None],
            e=[Decimal("1.5"), Decimal("2.5")],
            f=[None, None],
            g=[True, False],
        ),
        RULES,
    )
    types = {column.name: column.type for column in schema_of(rows).columns}
    wanted = [ColumnType.INTEGER, ColumnType.FLOAT, ColumnType.STRING, ColumnType.TIME, ColumnType.FLOAT, ColumnType.FLOAT]
    assert [types[name] for name in "abcdef"] == wanted
    assert types["g"] is ColumnType.BOOLEAN
    assert rows["b"].to_list() == [None, 1.5]


@pytest.mark.parametrize(
    ("source", "given", "message"),
    [
        (table().drop("late"), RULES, r"source 'rows.csv' has no column 'late'\. It has: id, at"),
        (table().rename({"late": "lates"}), RULES, r"no column 'late'; did you mean 'lates'\?"),
        (table(), rules(label_time="told"), r"no column 'told'"),
        (table().clear(), RULES, r"source 'rows.csv' has no rows"),
        (table(deep=[[1], [2]]), RULES, r"column 'deep' of source 'rows.csv' is List\(Int64\); Kedge keeps numbers"),
        (table(clock=[time(1), time(2)]), RULES, r"column 'clock'"),
        (table(), rules(ignore=("late",)), r"column 'late' of source 'rows.csv' is needed"),
        (table(known_at__=[1, 2]), RULES, r"'known_at__'.*rename it"),
        (table(late=["x", "y"]), rules(task=Task.REGRESSION), r"regression needs numbers"),
        (table(late=[date(2013, 1, 1)] * 2), RULES, r"label 'late' .* is a time"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_with_its_name(source, given, message):
    with pytest.raises(SourceFailed, match=message):
        declared(source, given)


def test_ignored_columns_are_left_out_and_may_be_anything():
    rows, _ = declared(table(deep=[[1], [2]]), rules(ignore=("deep", "gone")))
    assert "deep" not in rows.columns


def test_a_number_of_many_values_is_told_its_task():
    many = pl.DataFrame({"id": range(50), "at": [date(2013, 1, 1)] * 50, "late": range(50)})
    with pytest.raises(SourceFailed, match=r"'late'.* has 50 values.*set data\.task = \"regression\""):
        declared(many, RULES)


def test_a_few_labels_of_neither_class_reach_validation():
    few = pl.DataFrame({"id": range(50), "at": [date(2013, 1, 1)] * 50, "late": [0, 1] * 24 + [7, None]})
    assert declared(few, RULES)[0]["late"].to_list() == [0, 1] * 24 + [2, None]

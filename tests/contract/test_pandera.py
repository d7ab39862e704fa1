"""A schema of Pandera finds through Kedge what it finds by itself: the same columns, the same number of rows."""

from datetime import UTC, datetime

import polars as pl
import pytest

from kedge.adapters.pandera.schema import PanderaSchemas
from kedge.data.expect import Held
from kedge.data.quality.validation import Judged, Table, judge
from kedge.domain.data import Expectation, Rule, Severity
from kedge.domain.ids import DatasetName, digest_of
from kedge.errors import ConfigError

pa = pytest.importorskip("pandera.polars", reason="the extra `pandera` is not installed")
import pandera.pandas as pap  # noqa: E402
from pandera.errors import SchemaErrors  # noqa: E402

ROWS = pl.DataFrame(
    {
        "id": [1, 2, 2, 4],
        "code": ["a", "b", "z", None],
        "x": [0.5, -1.0, 3.0, 2.0],
        "word": ["ab", "abc", "b", "xx"],
        "number": ["1", "2", "three", "4"],
    }
)


def ask(schema: object, rows: pl.DataFrame = ROWS) -> Judged:
    read = PanderaSchemas().read(schema, rows.columns)
    assert read is not None
    rules = [each if flags is None else Held(each, rows=flags) for each, flags in read]
    now = datetime(2013, 1, 1, tzinfo=UTC)
    return judge(Table(frame=rows.lazy(), dataset=DatasetName("d"), version=digest_of("d"), now=now), rules)


def broken(schema: object) -> dict[str, int]:
    """How many rows break each of the schema's checks, as Pandera itself counts them."""
    with pytest.raises(SchemaErrors) as caught:
        schema.validate(ROWS, lazy=True)
    cases = caught.value.failure_cases
    return {f"{row['column']} {row['check'].split('(')[0]}": row["len"] for row in
            cases.group_by("column", "check").len().iter_rows(named=True)}  # fmt: skip


class Model(pa.DataFrameModel):
    id: int = pa.Field(unique=True)
    code: str = pa.Field(isin=["a", "b"], nullable=False)
    x: float = pa.Field(ge=0, lt=3)
    word: str = pa.Field(str_matches="ab", str_length={"max_value": 2})
    number: str

    class Config:
        strict = True

    @pa.check("x")
    def halves(cls, data):
        return data.lazyframe.select(pl.col(data.key) * 2 == (pl.col(data.key) * 2).round())

    @pa.check("x", raise_warning=True)
    def small_mean(cls, data):
        return data.lazyframe.select(pl.col(data.key).mean() > 100)

    @pa.dataframe_check
    def below_id(cls, data):
        return data.lazyframe.select(pl.col("x") < pl.col("id") - 1)


def test_a_model_counts_as_pandera_does():
    report = ask(Model).report
    found = {(breach.expectation.rule, breach.expectation.column): breach.rows for breach in report.breaches}
    said = {breach.expectation.says: breach.rows for breach in report.breaches if breach.expectation.rule is Rule.HOLDS}
    own = broken(Model.to_schema())
    assert found[Rule.ONE_OF, "code"] == own["code isin"] == 1
    assert found[Rule.NOT_NULL, "code"] == own["code not_nullable"] == 1
    assert found[Rule.UNIQUE, "id"] == 1
    assert found[Rule.BETWEEN, "x"] == own["x greater_than_or_equal_to"] == 1
    assert said["x: less_than(3)"] == own["x less_than"] == 1
    assert said["word: str_matches('ab')"] == own["word str_matches"] == 2
    assert said["x: small_mean"] == 4
    assert [breach.expectation.severity for breach in report.breaches if breach.expectation.says == "x: small_mean"] == [
        Severity.WARN
    ]
    assert said["below_id"] == 2
    assert not [words for words in said if "halves" in words]
    assert Expectation(rule=Rule.COLUMNS, columns=("id", "code", "x", "word", "number")) in report.held


def test_rows_that_a_schema_refuses_are_named():
    judged = ask(pa.DataFrameSchema({"word": pa.Column(str, pa.Check.str_startswith("a"))}))
    assert judged.report.breaches[0].examples == ("row 2: 'b'", "row 3: 'xx'")
    assert judged.failing().collect()["word"].to_list() == ["b", "xx"]


def test_what_is_coerced_must_be_readable_and_is_checked_as_read():
    schema = pa.DataFrameSchema({"number": pa.Column(int, pa.Check.ge(2), coerce=True)})
    said = {breach.expectation.says: breach.rows for breach in ask(schema).report.breaches}
    assert said == {
        "number can be read as Int64": 1,
        "number: greater_than_or_equal_to(2)": 1,
    }


def test_columns_by_pattern_and_columns_that_may_be_missing():
    schema = pa.DataFrameSchema(
        {"^[iw].*": pa.Column(pl.String, regex=True), "other": pa.Column(str, required=False), "x": pa.Column(int)}
    )
    rules = {breach.expectation.column for breach in ask(schema).report.breaches}
    assert rules == {"id", "x"}
    with pytest.raises(ConfigError, match=r"match 'none.*', and the table has none"):
        ask(pa.DataFrameSchema({"none.*": pa.Column(str, regex=True)}))


def test_a_schema_of_pandas_counts_as_it_does_on_pandas():
    schema = pap.DataFrameSchema(
        {
            "id": pap.Column(int, unique=True),
            "code": pap.Column(str, pap.Check(lambda s: s != "z"), nullable=True),
            "x": pap.Column(float, [pap.Check.in_range(0, 3), pap.Check(lambda s: s.mean() < 0)]),
        },
        checks=pap.Check(lambda frame: frame["x"] < frame["id"]),
    )
    report = ask(schema).report
    found = sorted((breach.expectation.rule.value, breach.expectation.column, breach.rows) for breach in report.breaches)
    assert found == [("between", "x", 1), ("holds", "", 1), ("holds", "code", 1), ("holds", "x", 4), ("unique", "id", 1)]


def test_what_is_no_schema_is_left_to_others():
    assert PanderaSchemas().read([], ["a"]) is None
    assert PanderaSchemas().read(lambda: [], ["a"]) is None
    with pytest.raises(ConfigError, match="no schema of a table"):
        PanderaSchemas().read(pa.Check.ge(2), ["a"])

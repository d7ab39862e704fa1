from datetime import UTC, datetime

import polars as pl
import pytest
from tests.unit.data.memory import spec_of

from kedge.data.quality.validation import built_in, validate
from kedge.data.source import schema_of
from kedge.domain.data import ColumnType, DatasetVersion, Expectation, Rule, Severity, ValidationReport
from kedge.domain.evaluation import Task
from kedge.domain.ids import DatasetName, digest_of
from kedge.errors import SourceFailed


def check(rows: pl.DataFrame, *expectations: Expectation, key: str = "") -> tuple[ValidationReport, list[bool]]:
    version = DatasetVersion(
        dataset=DatasetName("delay"),
        number=1,
        digest=digest_of("delay"),
        schema=schema_of(rows),
        parts=(),
        rows=len(rows),
        order="at",
        created_at=datetime(2013, 1, 1, tzinfo=UTC),
    )
    report, keep = validate(rows, expectations, version=version, key=key, classes={"label": ("no", "yes", "perhaps")})
    return report, keep.to_list()


ROWS = pl.DataFrame(
    {
        "id": ["a", "b", "b", None],
        "n": [1, 5, 9, None],
        "x": [1.0, float("inf"), None, -2.0],
        "s": ["u", "v", "w", None],
        "b": [True, False, None, True],
        "label": pl.Series([0, 1, 2, None], dtype=pl.Int8),
    }
)


@pytest.mark.parametrize(
    ("expectation", "rows", "words"),
    [
        (
            Expectation(rule=Rule.NOT_NULL, column="n"),
            1,
            "column 'n': 1 of 4 rows break 'a value must be there' (row 3: None)",
        ),
        (Expectation(rule=Rule.BETWEEN, column="n", at_least=2), 1, "'at least 2' (row 0: 1)"),
        (
            Expectation(rule=Rule.BETWEEN, column="n", at_least=2, at_most=5),
            2,
            "'at least 2 and at most 5' (row 0: 1; row 2: 9)",
        ),
        (Expectation(rule=Rule.BETWEEN, column="s", at_most=5), 4, "column 's' is String; 'at most 5' is for numbers"),
        (Expectation(rule=Rule.ONE_OF, column="s", values=("u", "v")), 1, "(row 2: 'w')"),
        (Expectation(rule=Rule.ONE_OF, column="n", values=(1, 5.0, "9")), 1, "(row 2: 9)"),
        (Expectation(rule=Rule.ONE_OF, column="b", values=(True,)), 1, "(row 1: False)"),
        (Expectation(rule=Rule.FINITE, column="x"), 1, "(row 1: inf)"),
        (Expectation(rule=Rule.UNIQUE, column="id"), 1, "'each value once' (row 2: 'b')"),
        (Expectation(rule=Rule.TYPE, column="s", type=ColumnType.FLOAT), 4, "column 's' is string; expected float"),
        (Expectation(rule=Rule.ROWS, at_least=5), 4, "the table has 4 rows; expected at least 5"),
        (Expectation(rule=Rule.BETWEEN, column="label", at_most=1), 1, "(row 2: perhaps)"),
    ],
)
def test_a_breach_says_what_was_expected_and_names_rows(expectation, rows, words):
    report, _ = check(ROWS, expectation)
    (breach,) = report.breaches
    assert not report.passed
    assert breach.rows == rows
    assert words in breach.message


@pytest.mark.parametrize(
    "expectation",
    [
        Expectation(rule=Rule.FINITE, column="n"),
        Expectation(rule=Rule.FINITE, column="s"),
        Expectation(rule=Rule.TYPE, column="n", type=ColumnType.FLOAT),
        Expectation(rule=Rule.TYPE, column="x", type=ColumnType.FLOAT),
        Expectation(rule=Rule.ROWS, at_least=4, at_most=4),
        Expectation(rule=Rule.BETWEEN, column="n"),
        Expectation(rule=Rule.NOT_NULL, column="n", share=0.25),
    ],
)
def test_what_holds_is_not_told(expectation):
    report, keep = check(ROWS, expectation)
    assert report.passed
    assert report.breaches == ()
    assert keep == [True] * 4


def test_examples_are_five_and_named_by_the_key():
    rows = pl.DataFrame({"id": [f"r{n}" for n in range(9)], "n": [-1] * 9})
    report, _ = check(rows, Expectation(rule=Rule.BETWEEN, column="n", at_least=0), key="id")
    assert report.breaches[0].examples[0] == "id 'r0': -1"
    assert len(report.breaches[0].examples) == 5
    assert report.breaches[0].message.endswith("id 'r4': -1; ...)")


def test_quarantined_rows_are_set_aside_once_and_only_told():
    aside = Severity.QUARANTINE
    report, keep = check(
        ROWS,
        Expectation(rule=Rule.UNIQUE, column="id", severity=aside),
        Expectation(rule=Rule.NOT_NULL, column="n", severity=aside),
        Expectation(rule=Rule.NOT_NULL, column="s", severity=aside),
        Expectation(rule=Rule.FINITE, column="x", severity=Severity.WARN),
    )
    assert report.passed
    assert report.quarantined == 2
    assert keep == [True, True, False, False]
    assert [breach.rows for breach in report.breaches] == [1, 1, 1, 1]


def test_a_table_of_which_nothing_is_left_does_not_pass():
    report, keep = check(ROWS, Expectation(rule=Rule.TYPE, column="s", type=ColumnType.FLOAT, severity=Severity.QUARANTINE))
    assert not report.passed
    assert report.quarantined == 4
    assert keep == [False] * 4


def test_an_expectation_on_a_column_that_is_not_there_names_the_nearest():
    with pytest.raises(SourceFailed, match=r"expectation 'finite' cannot be checked.*'labels'; did you mean 'label'"):
        check(ROWS, Expectation(rule=Rule.FINITE, column="labels"))


def test_built_in_expectations_are_of_key_time_label_and_numbers():
    rules = [(e.rule, e.column, e.severity) for e in built_in(spec_of(time="n", label="label"), ROWS)]
    aside = Severity.QUARANTINE
    assert rules == [
        (Rule.UNIQUE, "id", aside),
        (Rule.NOT_NULL, "id", aside),
        (Rule.NOT_NULL, "n", aside),
        (Rule.NOT_NULL, "label", aside),
        (Rule.BETWEEN, "label", Severity.ERROR),
        (Rule.FINITE, "x", aside),
    ]
    regression = built_in(spec_of(key="", time="n", label="x", task=Task.REGRESSION), ROWS)
    assert [(e.rule, e.column) for e in regression] == [(Rule.NOT_NULL, "n"), (Rule.NOT_NULL, "x"), (Rule.FINITE, "x")]

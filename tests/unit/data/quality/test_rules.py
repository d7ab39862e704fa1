"""Every rule, on small tables, against what a person would count; the large and the streaming way give the same."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kedge.data.quality.rules
import kedge.data.quality.validation
from kedge.data import expect
from kedge.data.expect import Held
from kedge.data.quality.validation import BREAKS, Judged, Table, judge
from kedge.domain.data import Expectation, Rule, Severity
from kedge.domain.ids import DatasetName, digest_of
from kedge.errors import ConfigError

NOW = datetime(2013, 3, 1, tzinfo=UTC)
DAYS = [datetime(2013, 2, day, tzinfo=UTC) for day in (1, 3, 2, 3)]
ROWS = pl.DataFrame(
    {
        "id": [1, 2, 2, None],
        "code": ["AA", "B", "AAA", None],
        "x": [1.0, float("nan"), 3.0, None],
        "low": [1, 5, 2, None],
        "high": [2, 4, 2, 3],
        "at": DAYS,
        "day": [at.date() for at in DAYS],
        "plane": ["N1", "N2", "N9", None],
    }
)
PLANES = pl.LazyFrame({"tail": ["N1", "N2", "N2", None], "seats": [1, 2, 3, 4]})


def planes(name: str) -> pl.LazyFrame:
    assert name == "planes"
    return PLANES


def ask(rows: pl.DataFrame, *rules: Expectation | Held, **given: object) -> Judged:
    table = Table(
        frame=rows.lazy(),
        dataset=DatasetName("delay"),
        version=digest_of("delay"),
        **{"now": NOW, "other": planes, **given},
    )
    return judge(table, rules)


@pytest.mark.parametrize(
    ("rule", "broken", "words"),
    [
        (expect.length("code", at_least=2, at_most=2), 2, "2 of 4 rows break 'at least 2 and at most 2 characters'"),
        (expect.matches("code", "[A-Z]{2}"), 2, "break 'matches [A-Z]{2}' (row 1: 'B'; row 2: 'AAA')"),
        (expect.relation("low", "<", other="high"), 2, "'low < high' (row 1: low 5, high 4; row 2: low 2, high 2)"),
        (expect.relation("low", "==", other="high"), 2, "'low == high'"),
        (expect.relation("code", "<", other="high"), 4, "column 'code' is string and 'high' is integer; expected code <"),
        (expect.monotonic("at"), 1, "'never falls from row to row' (row 2: 2013-02-02 00:00:00+00:00)"),
        (expect.monotonic("at", strictly=True), 2, "'rises from row to row'"),
        (expect.between("at", at_least=datetime(2013, 2, 2)), 1, "at least 2013-02-02 00:00:00"),
        (expect.between("day", at_most=datetime(2013, 2, 2)), 2, "(row 1: 2013-02-03;"),
        (
            expect.between("code", at_most=datetime(2013, 2, 2)),
            4,
            "column 'code' is String; 'at most 2013-02-02 00:00:00' is",
        ),
        (expect.between("x", at_most=5), 1, "'at most 5' (row 1: nan)"),
        (expect.finite("x"), 1, "'a finite number' (row 1: nan)"),
        (expect.fresh("at", "7d"), 4, "column 'at': expected newest value within 7d"),
        (expect.fresh("code", "7d"), 4, "column 'code' is String; 'newest value within 7d' is for times"),
        (expect.unique("id"), 1, "'each value once' (row 2: 2)"),
        (expect.unique("high", "day"), 0, ""),
        (expect.unique("high", "low"), 0, ""),
        (expect.columns("id", "code"), 4, "the table also has 'x', 'low'"),
        (expect.columns(*ROWS.columns, "more"), 4, "the table lacks 'more'; expected the columns id, code"),
        (expect.reference("plane", dataset="planes", keys=["tail"]), 1, "'one of the tail of planes' (row 2: 'N9')"),
        (
            expect.holds("low < high"),
            2,
            "the table: 2 of 4 rows break 'low < high' (row 1: low 5, high 4; row 2: low 2, high 2)",
        ),
        (expect.holds("low < high", says="low comes first"), 2, "'low comes first'"),
        (expect.holds("AVG(high) > 100"), 4, "'AVG(high) > 100' is false; expected AVG(high) > 100"),
        (expect.holds("low < higher"), 4, "there is no column 'higher'; did you mean 'high'?; expected low < higher"),
        (expect.holds(pl.col("low") < pl.col("high"), says="rises"), 2, "'rises'"),
        (expect.not_null("hihg"), 4, "there is no column 'hihg'; did you mean 'high'?; expected a value must be there"),
        (expect.rows(at_most=3), 4, "the table has 4 rows; expected at most 3"),
    ],
)
@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_rule_counts_and_says(rule, broken, words, engine):
    report = ask(ROWS, rule, engine=engine).report
    assert sum(breach.rows for breach in report.breaches) == broken
    assert words in "".join(breach.message for breach in report.breaches)
    assert report.passed is not bool(broken)
    assert len(report.held) == (not broken)


@pytest.mark.parametrize(
    "rule",
    [
        expect.fresh("at", "30d"),
        expect.fresh("day", "30d"),
        expect.holds("AVG(high) < 100"),
        expect.holds("low IS NULL OR low > 0"),
        expect.columns(*ROWS.columns),
        expect.unique("id", share=0.25),
        expect.matches("code", "[AB]+"),
        expect.type_of("at", "time"),
        expect.length("code", at_most=3),
        expect.length("code"),
        expect.relation("low", "!=", other="id", share=0.5),
        expect.one_of("code", ["AA", "B", "AAA", "AA"]),
    ],
)
def test_what_holds_is_listed_as_held(rule):
    report = ask(ROWS, rule).report
    assert (report.passed, report.breaches, report.held) == (True, (), (rule,))


def test_a_table_without_rows_breaks_what_is_expected_of_it_as_a_whole():
    report = ask(ROWS.clear(), expect.rows(at_least=1), expect.fresh("at", "1d"), expect.not_null("id")).report
    assert not report.passed
    assert [breach.expectation.rule for breach in report.breaches] == [Rule.ROWS, Rule.FRESH]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: expect.matches("code", "["), "pattern '\\[' cannot be read: unclosed character class"),
        (lambda: expect.holds("low <"), "'low <' cannot be read"),
        (lambda: expect.holds("low + 1"), "gives Int64; write what is true or false"),
        (lambda: expect.holds("code > low"), "cannot be asked"),
        (lambda: expect.reference("plane", dataset="planes", keys=["tial"]), "no column 'tial'; did you mean 'tail'"),
    ],
)
def test_a_rule_that_cannot_be_asked_says_why(make, words):
    with pytest.raises(ConfigError, match=words):
        ask(ROWS, make())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: expect.between("x", at_least=3, at_most=1), "at_least 3 is above at_most 1"),
        (lambda: expect.between("x", at_least=3, at_most=NOW), "a number and a time"),
        (lambda: expect.relation("x", "=<", other="y"), "relation is '=<'; write one of <, <="),
        (lambda: expect.not_null("x", share=3), "share is 3; it is a share of rows"),
        (lambda: expect.fresh("x", "soon"), "within: 'soon' is not a duration"),
        (lambda: expect.unique(), "column is missing"),
        (lambda: expect.reference("a", "b", dataset="d", keys=["c"]), "2 columns refer to 1 keys"),
        (lambda: expect.type_of("x", "number"), "'number' is none of float, integer"),
        (lambda: expect.not_null("x", severity="bad"), "'bad' is none of error, quarantine, warn"),
        (lambda: expect.checked(Expectation(rule=Rule.MATCHES, column="x")), "'matches': pattern is missing"),
    ],
)
def test_a_rule_that_lacks_something_is_refused_where_it_is_written(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_failing_rows_are_given_whole_with_what_they_break_and_without_personal_columns():
    judged = ask(
        ROWS,
        expect.not_null("id", severity="quarantine"),
        expect.unique("id", severity="quarantine"),
        expect.length("code", at_most=2, severity="warn"),
        expect.reference("plane", dataset="planes", keys=["tail"]),
        personal=frozenset({"code", "plane"}),
    )
    rows = judged.failing().collect()
    assert rows["row__"].to_list() == [2, 3]
    assert rows[BREAKS].to_list() == ["unique id; length code; reference plane", "not_null id"]
    assert not {"code", "plane"} & set(rows.columns)
    assert judged.keep().to_list() == [True, True, False, False]
    assert judged.report.quarantined == 2
    assert "N9" not in str(judged.report)
    assert "AAA" not in str(judged.report)
    assert [breach.examples for breach in judged.report.breaches] == [
        ("row 3: None",),
        ("row 2: 2",),
        ("row 2",),
        ("row 2",),
    ]


def test_a_personal_key_names_no_row():
    report = ask(ROWS, expect.length("code", at_most=2), key="code", personal=frozenset({"code"})).report
    assert report.breaches[0].examples == ("row 2",)
    assert ask(ROWS, expect.length("code", at_most=2), key="id").report.breaches[0].examples == ("id 2: 'AAA'",)


def test_what_a_function_says_of_each_row_counts_as_a_mask():
    rule = Held(
        Expectation(rule=Rule.HOLDS, says="even", severity=Severity.WARN),
        rows=lambda table: table.select((pl.col("high") % 2 == 0).alias("even")),
    )
    judged = ask(ROWS, rule)
    assert [breach.examples for breach in judged.report.breaches] == [("row 3",)]
    assert judged.failing().collect()["high"].to_list() == [3]


KEYS = st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=12)


@settings(max_examples=60)
@given(one=KEYS, other=KEYS, share=st.sampled_from([0.0, 0.3]), large=st.booleans(), rising=st.booleans())
def test_repeats_are_those_that_a_set_finds(one, other, share, large, rising):
    if rising:
        one = sorted(value for value in one if value is not None)
    size = min(len(one), len(other))
    rows = pl.DataFrame({"a": one[:size], "b": other[:size]}, schema={"a": pl.Int64, "b": pl.Int64})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kedge.data.quality.rules, "KEYS_AT_ONCE", 0 if large else 100)
        patch.setattr(kedge.data.quality.validation, "KEYS_AT_ONCE", 0 if large else 100)
        patch.setattr(kedge.data.quality.validation, "_KEYS_IN_A_PASS", 3)
        judged = ask(rows, expect.unique("a", share=share), expect.unique("a", "b", severity="quarantine"))
    wanted = {}
    for names in (("a",), ("a", "b")):
        keys = [key for key in rows.select(names).iter_rows() if None not in key]
        wanted[names] = len(keys) - len(set(keys))
    found = {breach.expectation.names: breach.rows for breach in judged.report.breaches}
    assert found == {
        names: count for names, count in wanted.items() if count > (share if names == ("a",) else 0) * len(rows)
    }
    assert judged.report.quarantined == wanted["a", "b"]


@settings(max_examples=60)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(-5, 5), st.sampled_from([float("nan"), float("inf")])), max_size=10),
    low=st.one_of(st.none(), st.floats(-4, 0)),
    high=st.one_of(st.none(), st.floats(0, 4)),
)
def test_bounds_count_as_comparing_each_value_does(values, low, high):
    rows = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    report = ask(rows, expect.between("x", at_least=low, at_most=high), expect.finite("x", severity="warn")).report
    found = {breach.expectation.rule: breach.rows for breach in report.breaches}
    there = [value for value in values if value is not None]
    beyond = sum((low is not None and v < low) or (high is not None and (v > high or v != v)) for v in there)
    infinite = sum(abs(v) == float("inf") or v != v for v in there)
    assert (found.get(Rule.BETWEEN, 0), found.get(Rule.FINITE, 0)) == (beyond, infinite)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=10), st.booleans())
def test_times_that_fall_are_those_below_an_earlier_one(offsets, strictly):
    times = [None if offset is None else date(2013, 1, 1) + timedelta(days=offset) for offset in offsets]
    rows = pl.DataFrame({"at": times}, schema={"at": pl.Date})
    late, best = 0, None
    for time in times:
        if time is not None and best is not None and (time < best or (strictly and time == best)):
            late += 1
        best = time if best is None or (time is not None and time > best) else best
    report = ask(rows, expect.monotonic("at", strictly=strictly, severity="warn")).report
    assert sum(breach.rows for breach in report.breaches) == late


def test_what_has_no_order_or_no_common_one_breaks_as_a_whole():
    rows = pl.DataFrame(
        {"long": [timedelta(days=1)], "clock": [NOW.time()], "zone": [NOW], "bare": [NOW.replace(tzinfo=None)]}
    )
    rows = rows.with_columns(pl.struct(a="long").alias("group"))
    for rule in (
        expect.relation("long", "<", other="clock"),
        expect.relation("zone", "<=", other="bare"),
        expect.monotonic("group"),
    ):
        (breach,) = ask(rows, rule).report.breaches
        assert breach.rows == 1
        assert breach.message.startswith(f"column {rule.column!r} is ")
    assert ask(rows, expect.monotonic("long"), expect.monotonic("clock")).report.passed

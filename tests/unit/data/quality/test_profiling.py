"""Profiles against what Polars counts; the sampled way close to the exact one; personal columns without a value."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kedge.data.quality.profiling
from kedge.config import read_expectations
from kedge.data.quality.drafting import draft, written
from kedge.data.quality.profiling import bars, profile
from kedge.data.quality.validation import Table, judge
from kedge.domain.data import ColumnType, Frequency, Rule, TableProfile
from kedge.domain.ids import DatasetName, digest_of

NOW = datetime(2013, 3, 1, tzinfo=UTC)
NAMES = {"dataset": DatasetName("d"), "version": digest_of("d")}


def profiled(rows: pl.DataFrame, personal: frozenset[str] = frozenset()) -> TableProfile:
    return profile(rows.lazy(), **NAMES, personal=personal, now=NOW)


ROWS = pl.DataFrame(
    {
        "n": [1, 2, 2, None],
        "x": [0.5, float("nan"), float("inf"), 2.5],
        "s": ["a", "bbb", "a", None],
        "b": [True, None, False, True],
        "t": [NOW, NOW, NOW, None],
        "list": [[1], [1], [2], None],
        "none": pl.Series([None] * 4, dtype=pl.Float64),
    }
)


def test_a_profile_counts_each_kind_of_column():
    found = {column.name: column for column in profiled(ROWS).columns}
    n, x, s = found["n"], found["x"], found["s"]
    assert (n.type, n.missing, n.distinct, n.least, n.greatest) == (ColumnType.INTEGER, 1, 2, 1, 2)
    assert n.mean == pytest.approx(5 / 3)
    assert [(bar.low, bar.high, bar.rows) for bar in n.bins] == [(1, 2, 1), (2, 2, 2)]
    assert (x.missing, x.least, x.greatest, x.mean, x.quantiles[3]) == (1, 0.5, 2.5, 1.5, 1.5)
    assert (s.top, s.shortest, s.longest) == ((Frequency("a", 2), Frequency("bbb", 1)), 1, 3)
    assert found["b"].top == (Frequency("true", 2), Frequency("false", 1))
    assert found["t"].least == found["t"].greatest == NOW.timestamp()
    assert (found["list"].distinct, found["list"].top) == (2, ())
    assert (found["none"].missing, found["none"].least) == (4, None)


def test_a_personal_column_is_counted_and_not_shown():
    found = {column.name: column for column in profiled(ROWS, frozenset({"s", "n"})).columns}
    for name in ("s", "n"):
        assert found[name].personal
        assert (found[name].missing, found[name].distinct, found[name].top, found[name].bins, found[name].least) == (
            1,
            2,
            (),
            (),
            None,
        )


def test_rows_that_are_equal_in_all_columns_are_counted(monkeypatch):
    rows = pl.DataFrame({"a": [1, 1, 2, 1, None, None], "b": ["x", "x", "x", "y", None, None]})
    assert profiled(rows).duplicates == 2
    monkeypatch.setattr(kedge.data.quality.profiling, "_HASHES", 2)
    assert profiled(rows).duplicates == 2
    assert profiled(rows.clear()).rows == 0


def test_a_sample_is_close_and_its_bars_are_all_rows(monkeypatch):
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"x": rng.normal(size=30_000), "s": [f"v{n % 7}" for n in range(30_000)]})
    exact = profiled(rows)
    monkeypatch.setattr(kedge.data.quality.profiling, "EXACT_ROWS", 1000)
    monkeypatch.setattr(kedge.data.quality.profiling, "EXACT_DISTINCT", 1000)
    monkeypatch.setattr(kedge.data.quality.profiling, "_SAMPLE", 5000)
    near = profiled(rows)
    assert near.columns[0].quantiles == pytest.approx(exact.columns[0].quantiles, abs=0.15)
    assert sum(bar.rows for bar in near.columns[0].bins) == 30_000
    assert near.columns[1].top == exact.columns[1].top
    assert near.columns[0].distinct == pytest.approx(30_000, rel=0.05)


@settings(max_examples=80)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_bars_hold_each_value_once(values):
    values = np.sort(np.array(values))
    found = bars(values, least=float(values[0]), greatest=float(values[-1]), rows=len(values))
    assert sum(bar.rows for bar in found) == len(values)
    assert [bar.high for bar in found[:-1]] == [bar.low for bar in found[1:]]
    for bar in found[:-1]:
        assert bar.rows == int(((values >= bar.low) & (values < bar.high)).sum())


def test_a_draft_holds_and_is_read_back_as_it_was(tmp_path):
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "id": range(1000),
            "mail": [f"p{n}@example.org" for n in range(1000)],
            "code": [["AA", 'B"\\'][n % 2] for n in range(1000)],
            "x": rng.normal(size=1000),
            "seen": pl.Series([None, 1.5, *range(998)]),
            "at": pl.datetime_range(NOW, NOW.replace(year=2014), interval="1h", eager=True).head(1000),
            "secret": [f"x{n}" for n in range(1000)],
        }
    )
    table = Table(frame=rows.lazy(), **NAMES, now=NOW)

    def holds(rules):
        broken = [breach.expectation for breach in judge(table, rules).report.breaches]
        return [rule not in broken for rule in rules]

    rules = draft(profiled(rows, frozenset({"secret"})), holds)
    said = {(rule.rule, rule.column) for rule in rules}
    assert {(Rule.UNIQUE, "id"), (Rule.MATCHES, "mail"), (Rule.ONE_OF, "code"), (Rule.FINITE, "x")} <= said
    assert {(Rule.BETWEEN, "x"), (Rule.NOT_NULL, "seen"), (Rule.MONOTONIC, "at"), (Rule.ROWS, "")} <= said
    assert {rule for rule, column in said if column == "secret"} == {Rule.TYPE, Rule.NOT_NULL, Rule.UNIQUE}
    assert all(holds(rules))
    path = tmp_path / "d.toml"
    path.write_text(written(rules, title="A table."))
    assert read_expectations(path, or_else="") == rules

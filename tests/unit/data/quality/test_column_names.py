"""Columns that are named as Kedge's own are, in passing, harm nothing: a user's table may have any names."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.unit.data.kept import ADA, Kept

import kedge.data.quality.labels
import kedge.data.quality.profiling
import kedge.evaluation.feasibility
from kedge.data import expect
from kedge.data.quality.labels import LabelTable, check_labels
from kedge.data.quality.profiling import profile
from kedge.data.quality.validation import Table, judge, unreadable
from kedge.domain.ids import DatasetName, digest_of
from kedge.evaluation.feasibility import feasibility

OURS = ("row__", "key__", "breaks__", "left__", "right__", "there__0", "held__0", "y__")
NOW = datetime(2013, 3, 1, tzinfo=UTC)
ROWS = pl.DataFrame({name: [10 * n + place for n in range(4)] for place, name in enumerate(OURS)})


def table(frame=ROWS, **more):
    named = {"dataset": DatasetName("t"), "version": digest_of("t"), "now": NOW} | more
    return Table(frame=frame.lazy(), **named)


def test_a_report_names_and_shows_rows():
    judged = judge(
        table(key="key__", other=lambda _: ROWS.lazy().filter(pl.col("row__") > 0)),
        [expect.reference("row__", dataset="t"), expect.between("row__", at_most=20), expect.between("y__", at_most=20)],
    )
    assert [breach.examples for breach in judged.report.breaches] == [
        ("key__ 1: 0",),
        ("key__ 31: 30",),
        ("key__ 21: 27", "key__ 31: 37"),
    ]
    failing = judged.failing().collect()
    assert failing.columns[:2] == ["row___", "breaks___"]
    assert failing.select("row___", "row__", "breaks__").rows() == [(0, 0, 2), (2, 20, 22), (3, 30, 32)]


def test_changes_and_diffs_are_told_by_such_a_key():
    room = Kept().room()
    for key in ("row__", "left__", "right__"):
        name = f"by-{key}"
        room.commit(ROWS, name, key=key, **ADA)
        edited = ROWS.with_columns(pl.when(pl.col(key) > ROWS[key][2]).then(0).otherwise("y__").alias("y__"))
        second = room.commit(edited, name, **ADA)
        assert [part.rows - part.gone for part in second.parts] == [3, 1]
        found = room.diff(room.versions(name)[0], second)
        assert (found.added, found.removed, found.changed) == (0, 0, 1)


def test_samples_are_taken_of_such_tables(monkeypatch):
    for where, name in ((kedge.data.quality.profiling, "EXACT_ROWS"), (kedge.data.quality.profiling, "_SAMPLE")):
        monkeypatch.setattr(where, name, 100)
    monkeypatch.setattr(kedge.data.quality.profiling, "_FEW", 5)
    monkeypatch.setattr(kedge.data.quality.labels, "_SAMPLE", 400)
    monkeypatch.setattr(kedge.evaluation.feasibility, "_MOST_ROWS", 900)
    random = np.random.default_rng(1)
    rows = pl.DataFrame({"row__": random.normal(size=2000), "y__": random.normal(size=2000)}).with_columns(
        label=(pl.col("row__") > 0).cast(pl.Int64), at=pl.Series([NOW + timedelta(hours=n) for n in range(2000)])
    )
    found = profile(rows.lazy(), dataset=DatasetName("t"), version=digest_of("t"), personal=frozenset(), now=NOW)
    assert [column.name for column in found.columns] == rows.columns
    labelled = LabelTable(rows=rows.lazy(), label="label", dataset=DatasetName("t"), version=digest_of("t"), time="at")
    assert check_labels(labelled).features[0].column == "row__"
    assert feasibility(labelled).roc_auc > 0.95


@pytest.mark.parametrize("personal", [True, False])
def test_of_personal_columns_an_error_shows_no_value(personal):
    rows = pl.DataFrame({"id": ["1", "Jo Doe"]})
    with pytest.raises(pl.exceptions.PolarsError) as raised:
        rows.select(pl.col("id").cast(pl.Int64))
    refused = unreadable(table(rows, personal=frozenset({"id"}) if personal else frozenset()), raised.value)
    assert ("Jo Doe" in str(refused)) is not personal
    assert "cannot be read" in str(refused)

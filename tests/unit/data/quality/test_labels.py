"""Label checks on tables that are wrong in one known way, and on one that is not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from kedge.data.quality.labels import LabelTable, check_labels, task_of
from kedge.domain.evaluation import Task
from kedge.domain.ids import DatasetName, digest_of
from kedge.domain.labels import LabelProblem, LabelReport
from kedge.errors import RequestInvalid, SourceFailed

START = datetime(2013, 1, 1, tzinfo=UTC)
COUNT = 2000
RNG = np.random.default_rng(0)
X = RNG.normal(size=COUNT)
GOOD = pl.DataFrame(
    {
        "id": [f"r{n}" for n in range(COUNT)],
        "at": [START + timedelta(hours=n) for n in range(COUNT)],
        "x": X,
        "z": RNG.normal(size=COUNT),
        "place": [("a", "b", "c")[n % 3] for n in range(COUNT)],
        "late": (X + RNG.normal(size=COUNT) > 0.8),
    }
)


def check(rows: pl.DataFrame, **given: object) -> LabelReport:
    asked = {"label": "late", "key": "id", "time": "at", **given}
    return check_labels(LabelTable(rows=rows.lazy(), dataset=DatasetName("d"), version=digest_of("d"), **asked))


def problems(report: LabelReport) -> dict[LabelProblem, int]:
    return {finding.problem: finding.rows for finding in report.findings}


def test_good_labels_have_shares_and_no_findings():
    report = check(GOOD)
    assert (report.passed, report.findings, report.task) == (True, (), Task.CLASSIFICATION)
    assert sum(each.share for each in report.classes) == pytest.approx(1)
    assert report.features[0].column == "x"
    assert report.features[0].roc_auc == pytest.approx(0.84, abs=0.06)
    assert all(told.skill < 0.02 for told in report.features[1:])


@pytest.mark.parametrize(
    ("leak", "kind"),
    [
        (pl.col("late").cast(pl.Float64) * 3 + pl.col("z") / 1e3, "numbers"),
        (pl.when("late").then(pl.lit("refund")).otherwise(pl.lit("none")), "text"),
        (pl.when("late").then(pl.col("z")), "missing values"),
        (pl.when("late").then(pl.col("at")), "times"),
    ],
)
def test_a_column_that_gives_the_label_away_is_named(leak, kind):
    report = check(GOOD.with_columns(leak.alias("leak")))
    assert problems(report) == {LabelProblem.LEAKAGE: 0}
    assert (report.passed, report.features[0].column) == (False, "leak")
    assert "column 'leak' alone tells 9" in report.findings[0].message or "100%" in report.findings[0].message


def test_a_column_that_nearly_gives_the_label_away_is_to_be_looked_at():
    often = (pl.int_range(pl.len()) % 20 > 0).alias("often")
    report = check(GOOD.with_columns(pl.when(often).then("late").otherwise(~pl.col("late")).alias("nearly")))
    assert (problems(report), report.passed) == ({LabelProblem.LEAKAGE: 0}, True)
    assert "column 'nearly' alone tells" in report.findings[0].message


def test_numbers_of_a_key_are_no_leak_however_many_values_they_have():
    report = check(GOOD.with_columns(pl.Series("code", [f"c{n}" for n in range(COUNT)])))
    assert report.passed


def test_contradicting_labels_are_counted_by_key_and_by_features():
    again = GOOD.head(3).with_columns(~pl.col("late"), at=pl.col("at") + timedelta(days=1))
    report = check(pl.concat([GOOD, again]), time="", ignore=frozenset({"at"}))
    assert problems(report) == {LabelProblem.CONFLICTING_KEY: 6, LabelProblem.CONFLICTING_ROWS: 6}
    assert not report.passed
    hidden = check(pl.concat([GOOD, again]), time="", personal=frozenset({"id"}))
    assert "'r" not in hidden.findings[0].message
    same = pl.concat([GOOD, GOOD.head(3)])
    assert problems(check(same, time="")) == {}


def test_rows_and_keys_of_the_test_in_the_training_are_found():
    test = GOOD.tail(100).with_columns(id=pl.col("id") + "x")
    report = check(GOOD, test=test.lazy())
    assert problems(report) == {LabelProblem.REPEATED_IN_TEST: 100}
    report = check(GOOD, test=GOOD.head(50).with_columns(x=pl.col("x") + 1).lazy())
    assert problems(report) == {LabelProblem.KEY_IN_TEST: 50}
    late = GOOD.head(5).with_columns(at=pl.col("at") + timedelta(days=900), id=pl.col("id") + "x")
    report = check(pl.concat([GOOD, late]))
    assert problems(report) == {LabelProblem.REPEATED_IN_TEST: 5}
    assert "the newest fifth (from 20" in report.findings[0].message
    hidden = check(pl.concat([GOOD, late]), personal=frozenset({"at"}))
    assert "the newest fifth are equal" in hidden.findings[0].message
    with pytest.raises(SourceFailed, match="the test has no column"):
        check(GOOD, test=GOOD.drop("x").lazy())


def test_classes_that_are_rare_missing_strange_or_alone():
    text = pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("odd")).otherwise(pl.col("late").cast(pl.String)).alias("late")
    report = check(GOOD.with_columns(text), known=("true", "false"))
    assert problems(report) == {LabelProblem.RARE_CLASS: 5, LabelProblem.UNSEEN_CLASS: 5}
    assert "known are 'true', 'false'" in report.findings[0].message
    hidden = check(GOOD.with_columns(text), known=("true", "false"), personal=frozenset({"late"}))
    assert LabelProblem.UNSEEN_CLASS not in problems(hidden)
    unlabelled = GOOD.with_columns(pl.when(pl.col("z") > 0).then("late"))
    assert LabelProblem.MISSING in problems(check(unlabelled))
    alone = check(GOOD.with_columns(late=True))
    assert problems(alone)[LabelProblem.ONE_CLASS] == COUNT
    assert not alone.passed
    new = check(GOOD.with_columns(pl.lit("no").alias("late")), test=GOOD.tail(9).with_columns(late=pl.lit("yes")).lazy())
    assert "no training row has: 'yes'" in "".join(finding.message for finding in new.findings)


def test_a_number_to_predict_has_no_classes_and_may_leak_too():
    rows = GOOD.with_columns(late=pl.col("x") + pl.col("z"), copy=pl.col("x") + pl.col("z") + 0.001)
    report = check(rows)
    assert (report.task, report.classes) == (Task.REGRESSION, ())
    assert problems(report) == {LabelProblem.LEAKAGE: 0}
    assert task_of(pl.Int64(), 2) is Task.CLASSIFICATION


def test_what_is_no_label_is_refused():
    with pytest.raises(RequestInvalid, match="'at' is a time"):
        check(GOOD, label="at", time="")
    with pytest.raises(SourceFailed, match="did you mean 'late'"):
        check(GOOD, label="lat")


def test_a_personal_label_shows_no_value():
    report = check(GOOD.with_columns(late=pl.col("place")), personal=frozenset({"late"}), ignore=frozenset({"place"}))
    assert [each.name for each in report.classes] == ["class 1", "class 2", "class 3"]

"""Feasibility: signal is feasible, noise is not passed, and time is taken in order."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from kedge.data.quality.labels import LabelTable
from kedge.domain.evaluation import Outcome
from kedge.domain.ids import DatasetName, digest_of
from kedge.domain.labels import Feasibility
from kedge.errors import RequestInvalid
from kedge.evaluation.feasibility import feasibility

START = datetime(2013, 1, 1, tzinfo=UTC)


def rows(signal: float, *, count: int = 2000, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    return pl.DataFrame(
        {
            "at": [START + timedelta(hours=n) for n in range(count)],
            "x": x,
            "s": [("u", "v", None)[n % 3] for n in range(count)],
            "when": [START] * count,
            "y": signal * x + rng.normal(size=count),
        }
    ).with_columns(late=pl.col("y") > 0)


def ask(frame: pl.DataFrame, label: str = "late", **given: object) -> Feasibility:
    drop = frozenset({"y", "late"} - {label})
    table = LabelTable(
        rows=frame.lazy(), label=label, dataset=DatasetName("d"), version=digest_of("d"), **{"ignore": drop, **given}
    )
    return feasibility(table)


@pytest.mark.parametrize("time", ["at", ""])
@pytest.mark.parametrize("label", ["late", "y"])
def test_signal_is_feasible(label, time):
    found = ask(rows(1.0), label, time=time)
    assert found.outcome is Outcome.PASSED
    assert found.loss < found.constant
    assert found.gain > 0.1
    assert [fold.trained_on for fold in found.folds] == [400, 800, 1200, 1600]
    assert "better than the best constant" in found.reason
    assert (found.roc_auc is None) is (label == "y")


def test_noise_is_never_feasible():
    outcomes = [ask(rows(0.0, seed=seed), time="at").outcome for seed in range(8)]
    assert Outcome.PASSED not in outcomes


def test_what_the_past_does_not_say_of_the_future_is_not_feasible():
    """A rule that turns round with every fold: rows put at random would learn it, rows in order of time cannot."""
    frame = rows(3.0).with_row_index("n")
    turned = pl.when((pl.col("n") // 400) % 2 == 0).then(pl.col("late")).otherwise(~pl.col("late"))
    found = ask(frame.with_columns(late=turned).drop("n").sample(fraction=1, shuffle=True, seed=1), time="at")
    assert found.outcome is Outcome.REFUSED


def test_rows_in_order_of_time_are_asked_for_not_in_order_of_the_table():
    frame = rows(1.0)
    assert ask(frame.sample(fraction=1, shuffle=True, seed=0), time="at") == ask(frame, time="at")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ask(rows(1.0, count=50)), "50 labelled rows with 2 different labels say nothing yet"),
        (lambda: ask(rows(1.0).with_columns(late=pl.lit(value=True))), "1 different labels"),
        (
            lambda: ask(rows(1.0).with_columns(late=pl.col("x").round().cast(pl.String))),
            "classes; feasibility is asked of two",
        ),
        (lambda: ask(rows(1.0).select("late", "when")), "no column to learn 'late' from"),
    ],
)
def test_what_cannot_be_said_is_said(make, words):
    with pytest.raises(RequestInvalid, match=words):
        make()


def test_columns_without_a_value_or_with_one_are_left_out():
    frame = rows(1.0).with_columns(none=pl.lit(None, dtype=pl.Float64), one=pl.lit(1), nothing=pl.lit(None, dtype=pl.String))
    assert ask(frame, time="at").outcome is Outcome.PASSED
    alone = ask(frame.select("at", "none", "one", "late"), time="at")
    assert alone.outcome is not Outcome.PASSED

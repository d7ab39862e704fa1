"""The flights example is honest: nothing from after the scheduled departure hour, and no label in what is missing."""

import importlib.util
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from kedge.domain.evaluation import Task
from kedge.features.room import Features
from kedge.pipelines.step import TrainingData

HOURS = [
    datetime(2013, 1, 1, 13, tzinfo=UTC),
    datetime(2013, 2, 8, 21, tzinfo=UTC),  # a snow storm
    datetime(2013, 3, 10, 15, tzinfo=UTC),  # summer time began that night
    datetime(2013, 6, 24, 22, tzinfo=UTC),  # thunderstorms
    datetime(2013, 11, 3, 13, tzinfo=UTC),  # and ended
    datetime(2013, 12, 31, 20, tzinfo=UTC),
]
BY_PLANE = ["plane__built", "plane__seats", "last_flight__late", "last_flight__out", "last_flight__block"]


def test_every_flight_has_one_name_a_time_a_label_and_entity_keys(rows):
    assert len(rows) == 336_776
    assert rows["flight_id"].n_unique() == len(rows)
    assert sum(rows.null_count().row(0)) == 0
    assert rows["late"].mean() == pytest.approx(0.2585, abs=1e-4)


def test_a_label_is_known_a_day_after_the_scheduled_arrival(flights, rows):
    by_name = rows.filter(pl.col("flight_id") == "UA-1545-EWR-2013-01-01T10").row(0, named=True)
    assert by_name["block_minutes"] == 244  # 5:15 in New York to 8:19 in Houston
    assert by_name["known_at"] == datetime(2013, 1, 2, 14, 19, tzinfo=UTC)
    late = flights.data.schedule().select(pl.col("arrived") <= pl.col("arrives") + timedelta(days=1))
    assert late["arrived"].drop_nulls().all()


def test_hours_of_flight_fit_the_distance_across_midnight_and_zones(rows):
    taxi = rows["block_minutes"] - rows["distance"] / 8
    assert taxi.min() > 0
    assert taxi.max() < 160


@pytest.mark.parametrize("hour", HOURS, ids=lambda hour: f"{hour:%b-%d-%H}")
def test_features_from_a_table_cut_off_at_the_hour_are_the_same(flights, rows, joined, hour):
    cut = cut_off(flights.data.schedule(), hour)
    module = flights.features
    sources = {
        "weather": lambda: flights.tables.source(module.weather).filter(pl.col("published_at") <= hour),
        "last_flight": lambda: module.arrived(cut),
        "airport": lambda: module.states(cut, ["origin"]).filter(pl.col("at") <= hour),
        "line": lambda: module.lines(cut).filter(pl.col("at") <= hour),
    }
    views = tuple(
        msgspec.structs.replace(view, source=sources.get(view.name, view.source)) for view in flights.service.views
    )
    service = msgspec.structs.replace(flights.service, views=views)
    room = Features(data=None, online=None, tables=flights.tables, project=None, clock=None)
    asked = flights.data.at_departure(cut).filter(pl.col("departs_at") == hour)
    then = room.joined(service, asked, time="departs_at").select("flight_id", *service.columns())
    now = joined.filter(pl.col("departs_at") == hour).select("flight_id", *service.columns())
    assert len(then) > 10
    assert then.equals(now)


def cut_off(schedule: pl.DataFrame, hour: datetime) -> pl.DataFrame:
    """The schedule up to an hour, with the facts that were there by then: who left, who landed."""
    left, landed = pl.col("departed") <= hour, pl.col("arrived") <= hour
    return schedule.filter(pl.col("departs_at") <= hour).with_columns(
        pl.when(left).then(pl.col("departed", "dep_delay")), pl.when(landed).then(pl.col("arrived", "arr_delay"))
    )


def test_a_flight_without_a_tail_number_cannot_be_told_by_its_plane(flights, joined):
    """Against flights of the same carrier, airport and hour, by the cross-validated AUC on what is known of the plane."""
    missing = flights.data.schedule()["tailnum"].is_null()
    assert missing.sum() == 2512
    auc = auc_of(joined.with_columns(told=missing), BY_PLANE)  # 0.50 when this was written
    assert auc == pytest.approx(0.5, abs=0.02)


def test_a_cancelled_flight_with_a_tail_number_is_treated_alike(flights, joined):
    """Its plane is looked up by the number in the timetable; only what landed before the hour counts, as for any other."""
    schedule = flights.data.schedule()
    cancelled = schedule["departed"].is_null() & schedule["tailnum"].is_not_null()
    assert cancelled.sum() == 8255 - 2512
    assert (joined["plane"] == schedule["tailnum"]).filter(cancelled).all()
    landings = flights.tables.source(flights.features.arrivals)
    assert landings["landed_at"].null_count() == 0


def auc_of(rows: pl.DataFrame, columns: list[str]) -> float:
    """Tell `told` rows from others of their carrier, airport and hour; both sides weigh the same in each such group."""
    group = ["carrier", "origin", "departs_at"]
    rows = rows.filter(pl.col("told").any().over(group) & (~pl.col("told")).any().over(group))
    weight = rows.select(weight=1 / pl.len().over([*group, "told"]))["weight"].to_numpy()
    told = rows["told"].to_numpy()
    days = rows["departs_at"].dt.date().to_physical().to_numpy()
    x = rows.select(pl.col(columns).cast(pl.Float64)).to_numpy()
    model = RandomForestClassifier(n_estimators=30, min_samples_leaf=40, max_samples=0.5, random_state=0)
    scored = cross_val_predict(
        model, x, told, groups=days, cv=GroupKFold(5), method="predict_proba", params={"sample_weight": weight}
    )[:, 1]
    return float(roc_auc_score(told, scored, sample_weight=weight))


def test_the_training_function_gives_the_same_model_twice(flights):
    train = flights.room._project.load("train.py:pipeline")
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 3))
    x[::7, 1] = np.nan
    data = TrainingData(
        x=x,
        y=(x[:, 0] > 0).astype(float),
        weight=np.ones(500),
        columns=("a", "b", "c"),
        categorical=(),
        task=Task.CLASSIFICATION,
        seed=0,
    )
    with threadpool_limits(1):
        assert np.array_equal(train(data).predict_proba(x), train(data).predict_proba(x))


def test_without_the_package_the_error_says_what_to_install(flights, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'kedge\[demo\]'"):
        flights.data.read("planes.csv")

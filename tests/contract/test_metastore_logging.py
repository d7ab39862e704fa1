"""What every store keeps of what clients log: experiments, runs, points, inputs, logged models."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract import metastore as a
from tests.contract.test_metastore_events import broken_at

from kedge.domain.events import EventKind
from kedge.domain.ids import DEFAULT_EXPERIMENT, ExperimentId, LoggedModelId, RunId
from kedge.domain.tracking import (
    DatasetInput,
    Experiment,
    Lifecycle,
    LoggedModelStatus,
    Metric,
    ModelOutput,
    Point,
    RunCount,
    RunKeys,
    RunStatus,
)
from kedge.errors import Conflict, NameTaken, NotFound, ParamChanged, RequestInvalid, WasDeleted
from kedge.ports import Experiments, LoggedModels, Points, Runs
from kedge.storage.sql import SqlStore
from kedge.tracking.logging import Logging


class Clock:
    """A clock that ticks a second each time it is asked."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def logging(store: SqlStore) -> Logging:
    return Logging(meta=store, clock=Clock())


@pytest.fixture
def run(logging: Logging) -> RunId:
    return logging.create_run(DEFAULT_EXPERIMENT, name="first").id


def kinds(store: SqlStore) -> list[EventKind]:
    return [event.kind for _, event in reversed(store.events.list())]


def test_keeps_all_that_the_ports_ask_for(store: SqlStore) -> None:
    checked: tuple[Experiments, Runs, Points, LoggedModels] = (
        store.experiments,
        store.runs,
        store.points,
        store.logged_models,
    )
    assert len(checked) == 4


# experiments


def test_default_is_there_from_the_start(logging: Logging) -> None:
    default = logging.get_experiment(DEFAULT_EXPERIMENT)
    assert (default.name, default.lifecycle, default.tags) == ("Default", Lifecycle.ACTIVE, {})
    assert logging.find_experiment("Default") == default


def test_an_experiment_comes_back_whole(logging: Logging, store: SqlStore) -> None:
    made = logging.create_experiment("flights ü", tags={"team": "a", "empty": ""}, actor="ann")
    assert made.id.isdecimal()
    assert len(made.id) == 18
    assert logging.get_experiment(made.id) == made == logging.find_experiment("flights ü")
    assert logging.ensure_experiment("flights ü") == made
    assert logging.find_experiment("nothing") is None
    with pytest.raises(NotFound, match="12345"):
        logging.get_experiment(ExperimentId("12345"))
    event = store.events.list()[0][1]
    assert (event.kind, event.subject, event.actor) == (EventKind.EXPERIMENT_CREATED, "flights ü", "ann")
    assert store.experiments.read([made.id, ExperimentId("9"), DEFAULT_EXPERIMENT, made.id])[::2] == [made, made]


def test_a_taken_name_is_refused_and_says_whether_its_bearer_is_deleted(logging: Logging, store: SqlStore) -> None:
    first = logging.create_experiment("flights")
    with pytest.raises(NameTaken) as taken:
        logging.create_experiment("flights")
    assert not taken.value.deleted
    logging.delete_experiment(first.id)
    with pytest.raises(NameTaken, match=r"deleted.*restore") as taken:
        logging.create_experiment("flights")
    assert taken.value.deleted
    second = logging.create_experiment("other")
    with pytest.raises(NameTaken):
        logging.rename_experiment(second.id, "flights")
    assert kinds(store).count(EventKind.EXPERIMENT_CREATED) == 2
    assert EventKind.EXPERIMENT_RENAMED not in kinds(store)


def test_a_renamed_experiment_frees_its_name(logging: Logging) -> None:
    first = logging.create_experiment("flights")
    logging.rename_experiment(first.id, "planes")
    renamed = logging.get_experiment(first.id)
    assert renamed.name == "planes"
    assert renamed.updated_at > first.updated_at
    assert logging.create_experiment("flights").id != first.id


def test_tags_of_experiments_are_set_changed_and_dropped(logging: Logging) -> None:
    made = logging.create_experiment("flights", tags={"a": "1"})
    logging.set_experiment_tag(made.id, "a", value="2")
    logging.set_experiment_tag(made.id, "b", value="x" * 20_000)
    assert logging.get_experiment(made.id).tags == {"a": "2", "b": "x" * 20_000}
    logging.delete_experiment_tag(made.id, "b")
    with pytest.raises(NotFound, match="'b'"):
        logging.delete_experiment_tag(made.id, "b")
    assert logging.get_experiment(made.id).tags == {"a": "2"}


def test_a_deleted_experiment_takes_its_runs_and_brings_back_those_that_went_with_it(
    logging: Logging, store: SqlStore
) -> None:
    home = logging.create_experiment("flights").id
    stays, before = (logging.create_run(home).id for _ in range(2))
    logging.delete_run(before)
    logging.delete_experiment(home)
    logging.delete_experiment(home)
    assert logging.get_experiment(home).lifecycle is Lifecycle.DELETED
    assert {logging.get_run(run).run.lifecycle for run in (stays, before)} == {Lifecycle.DELETED}
    for refused in (
        lambda: logging.create_run(home),
        lambda: logging.create_model(home, name="m"),
        lambda: logging.rename_experiment(home, "x"),
        lambda: logging.set_experiment_tag(home, "a", value="1"),
        lambda: logging.log(stays, tags={"a": "1"}),
    ):
        with pytest.raises(WasDeleted):
            refused()
    logging.restore_experiment(home)
    assert logging.get_run(stays).run.lifecycle is Lifecycle.ACTIVE
    assert logging.get_run(stays).run.deleted_at is None
    assert logging.get_run(before).run.lifecycle is Lifecycle.DELETED
    assert kinds(store).count(EventKind.EXPERIMENT_DELETED) == 1
    assert broken_at(store) is None


def test_runs_and_keys_of_experiments_are_counted(logging: Logging, run: RunId) -> None:
    empty = logging.create_experiment("empty").id
    newest = logging.create_run(DEFAULT_EXPERIMENT)
    logging.delete_run(logging.create_run(DEFAULT_EXPERIMENT).id)
    logging.log(
        run, metrics=[Metric(key="b", value=1, at=0), Metric(key="a", value=1, at=0)], params={"p": "1"}, tags={"t": ""}
    )
    assert logging.count_runs([DEFAULT_EXPERIMENT, empty]) == {
        DEFAULT_EXPERIMENT: RunCount(2, newest.started_at, running=2),
        empty: RunCount(0, None),
    }
    assert logging.keys([DEFAULT_EXPERIMENT, empty]) == RunKeys(metrics=("a", "b"), params=("p",), tags=("t",))
    assert logging.keys([empty]) == logging.keys([]) == RunKeys()


# runs


def test_a_run_comes_back_whole(logging: Logging, store: SqlStore) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC)
    made = logging.create_run(
        DEFAULT_EXPERIMENT, name="ü", started_at=at, user="ann", params={"p": "1"}, tags={"a": "b"}, actor="ann"
    )
    assert len(made.id) == 32
    assert logging.get_run(made.id).run == made
    assert (made.status, made.content_key, made.code) == (RunStatus.RUNNING, None, None)
    assert store.runs.list("Default") == []  # the loop's own runs alone
    with pytest.raises(NotFound, match="nothing"):
        logging.get_run(RunId("nothing"))
    with pytest.raises(NotFound, match="experiment"):
        logging.create_run(ExperimentId("77"))


def test_a_run_created_twice_under_one_id_is_one_run(logging: Logging, store: SqlStore) -> None:
    mine = RunId("0" * 32)
    first = logging.create_run(DEFAULT_EXPERIMENT, name="a", run=mine)
    logging.log(mine, params={"p": "1"})
    again = logging.create_run(DEFAULT_EXPERIMENT, name="b", run=mine)
    assert (again.name, again.params, again.started_at) == ("a", {"p": "1"}, first.started_at)
    with pytest.raises(Conflict, match="experiment '0'"):
        logging.create_run(logging.create_experiment("other").id, run=mine)
    assert kinds(store).count(EventKind.RUN_STARTED) == 1


def test_a_run_ends_resumes_and_is_renamed(logging: Logging, run: RunId, store: SqlStore) -> None:
    ended = datetime(2026, 2, 1, tzinfo=UTC)
    logging.log(run, metrics=[Metric(key="loss", value=0.5, at=1)])
    done = logging.update_run(run, status=RunStatus.FINISHED, ended_at=ended)
    assert (done.status, done.ended_at, done.name) == (RunStatus.FINISHED, ended, "first")
    assert store.events.list()[0][1].facts["loss"] == 0.5
    assert logging.update_run(run, status=RunStatus.FINISHED, ended_at=ended) == done
    assert logging.update_run(run) == done
    assert logging.update_run(run, status=RunStatus.RUNNING).status is RunStatus.RUNNING
    assert logging.update_run(run, name="other").name == "other"
    for status in (RunStatus.SCHEDULED, RunStatus.FAILED, RunStatus.KILLED):
        assert logging.update_run(run, status=status).status is status
    assert [kind.value for kind in kinds(store)] == [
        "run_started",
        "run_finished",
        "run_resumed",
        "run_renamed",
        "run_resumed",
        "run_failed",
        "run_killed",
    ]
    with pytest.raises(NotFound):
        logging.update_run(RunId("nothing"), status=RunStatus.FINISHED)


def test_a_deleted_run_takes_no_writes_until_it_is_restored(logging: Logging, run: RunId, store: SqlStore) -> None:
    logging.log(run, tags={"a": "1"})
    logging.delete_run(run)
    logging.delete_run(run)
    assert logging.get_run(run).run.deleted_at is not None
    model = logging.create_model(DEFAULT_EXPERIMENT, name="m").id
    refused = (
        lambda: logging.log(run, metrics=[Metric(key="m", value=1.0, at=0)]),
        lambda: logging.log(run, params={"p": "1"}),
        lambda: logging.delete_tag(run, "a"),
        lambda: logging.update_run(run, status=RunStatus.FINISHED),
        lambda: logging.update_run(run),
        lambda: logging.log_inputs(run, datasets=[DATASET]),
        lambda: logging.log_outputs(run, [ModelOutput(model=model)]),
    )
    for write in refused:
        with pytest.raises(WasDeleted, match=run):
            write()
    logging.restore_run(run)
    for write in refused:
        write()
    assert logging.get_run(run).run.lifecycle is Lifecycle.ACTIVE
    assert kinds(store).count(EventKind.RUN_DELETED) == kinds(store).count(EventKind.RUN_RESTORED) == 1


def test_many_runs_are_read_in_the_order_asked_for(logging: Logging) -> None:
    runs = [logging.create_run(DEFAULT_EXPERIMENT, tags={"n": str(n)}).id for n in range(5)]
    asked = [runs[3], RunId("nothing"), runs[0], runs[3]]
    assert [detail.run.tags["n"] for detail in logging.get_runs(asked)] == ["3", "0", "3"]
    assert logging.get_runs([]) == []


def test_more_runs_are_read_than_one_statement_takes(logging: Logging, run: RunId, store: SqlStore) -> None:
    asked = [RunId(f"nothing {at}") for at in range(70_000)]
    assert [detail.run.id for detail in logging.get_runs([*asked, run])] == [run]
    assert store.experiments.read([*map(ExperimentId, asked), DEFAULT_EXPERIMENT])[0].name == "Default"
    assert store.logged_models.read([*map(LoggedModelId, asked)]) == []


def test_text_that_no_store_can_hold_is_refused_or_not_found(logging: Logging) -> None:
    for name in ("half \ud800", "zero \x00"):
        with pytest.raises((RequestInvalid, NotFound)):
            logging.get_run(RunId(name))
        with pytest.raises(RequestInvalid):
            logging.create_experiment(name)
        with pytest.raises(RequestInvalid):
            logging.create_run(DEFAULT_EXPERIMENT, run=RunId(name))


@pytest.mark.parametrize("id", ["", "../up", "a/b", "m-0", "a" * 65, "-x", "a b", "ü", "a\n"])
def test_an_id_that_cannot_stand_in_an_address_is_refused(logging: Logging, id: str) -> None:
    with pytest.raises(RequestInvalid, match="run id"):
        logging.create_run(DEFAULT_EXPERIMENT, run=RunId(id))


# params and tags


@pytest.mark.parametrize("many", [1, 30])
def test_a_param_never_changes(logging: Logging, run: RunId, many: int) -> None:
    params = {f"p{at}": str(at) for at in range(many)}
    logging.log(run, params=params)
    logging.log(run, params=params)
    with pytest.raises(ParamChanged) as changed:
        logging.log(
            run, params={**params, "new": "1", "p0": "other"}, tags={"t": "1"}, metrics=[Metric(key="m", value=1, at=0)]
        )
    assert (changed.value.owner, changed.value.key, changed.value.old, changed.value.new) == (run, "p0", "0", "other")
    found = logging.get_run(run)
    assert (found.run.params, found.run.tags, found.latest) == (params, {}, ())


def test_a_param_twice_in_one_batch_must_be_the_same(logging: Logging, run: RunId) -> None:
    logging.log(run, params=[("a", "1"), ("b", "2"), ("a", "1")])
    with pytest.raises(ParamChanged, match="'3' and cannot become '4'"):
        logging.log(run, params=[("c", "3"), ("c", "4")])
    assert logging.get_run(run).run.params == {"a": "1", "b": "2"}


def test_tags_are_set_changed_and_dropped(logging: Logging, run: RunId) -> None:
    logging.log(run, tags={"a": "1", "b": "ü\n"})
    logging.log(run, tags={"a": "2"})
    assert logging.get_run(run).run.tags == {"a": "2", "b": "ü\n"}
    logging.delete_tag(run, "a")
    with pytest.raises(NotFound, match="'a'"):
        logging.delete_tag(run, "a")
    assert logging.get_run(run).run.tags == {"b": "ü\n"}


def test_long_values_come_back(logging: Logging, run: RunId) -> None:
    key, param, tag = "k" * 250, "ü" * 6000, "€" * 8000
    logging.log(run, params={key: param}, tags={key: tag}, metrics=[Metric(key=key, value=1.5, at=0)])
    found = logging.get_run(run).run
    assert (found.params, found.tags, found.metrics) == ({key: param}, {key: tag}, {key: 1.5})


@pytest.mark.parametrize(
    "bad",
    [
        {"params": {"k" * 251: "1"}},
        {"params": {"k": "v" * 6001}},
        {"params": {"": "1"}},
        {"params": {"k": 1}},
        {"tags": {"k": "v" * 8001}},
        {"tags": {"k": "zero \x00 byte"}},
        {"tags": {"half \ud800": "1"}},
        {"metrics": [Metric(key="k" * 251, value=1.0, at=0)]},
        {"metrics": [Metric(key="", value=1.0, at=0)]},
        {"metrics": [Metric(key="k", value="abc", at=0)]},  # type: ignore[arg-type]
        {"metrics": [Metric(key="k", value=True, at=0)]},
        {"metrics": [Metric(key="k", value=1.0, at=2**63)]},
        {"metrics": [Metric(key="k", value=1.0, at=0, step=-(2**63) - 1)]},
        {"metrics": [Metric(key="k", value=1.0, at=0, step=1.5)]},  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_of_its_batch_is_there(logging: Logging, run: RunId, bad: dict) -> None:
    with pytest.raises(RequestInvalid):
        logging.log(run, **({"params": {"p": "1"}, "tags": {"t": "1"}, "metrics": [Metric(key="m", value=1, at=0)]} | bad))
    found = logging.get_run(run)
    assert (found.run.params, found.run.tags, found.latest) == ({}, {}, ())


# points


def test_points_come_back_exact_and_once(logging: Logging, run: RunId) -> None:
    values = [math.inf, -math.inf, 5e-324, 1 / 3, -0.5, 1.7976931348623157e308, 2.0**53 + 2]
    far = [-(2**63), 2**63 - 1]
    metrics = [Metric(key="m", value=value, at=at, step=step) for value in values for at in far for step in far]
    for _ in range(2):
        logging.log(run, metrics=metrics + metrics)
    expected = sorted((metric.at, metric.step, metric.value) for metric in metrics)
    assert logging.history(run, "m", limit=1000).items == tuple(expected)
    latest = logging.get_run(run).latest
    assert [(one.key, one.step, one.at, one.value) for one in latest] == [("m", far[1], far[1], math.inf)]


def test_nan_is_a_value_beside_zero(logging: Logging, run: RunId) -> None:
    logging.log(run, metrics=[Metric(key="m", value=value, at=1, step=1) for value in (0.0, math.nan, math.nan, 1.0)])
    found = [value for _, _, value in logging.history(run, "m", limit=9).items]
    assert found[0] == 0.0
    assert math.isnan(found[1])
    assert found[2:] == [1.0]
    logging.log(run, metrics=[Metric(key="m", value=math.nan, at=1, step=2)])
    assert math.isnan(logging.get_run(run).run.metrics["m"])


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_a_series_reads_in_pages(logging: Logging, run: RunId, limit: int) -> None:
    values = [0.0, math.nan, 1.0, math.inf]
    logging.log(run, metrics=[Metric(key="m", value=value, at=at, step=-at) for at in (5, 3, 9) for value in values])
    pages, token = [], ""
    while True:
        page = logging.history(run, "m", limit=limit, page=token)
        pages.append(page.items)
        if not (token := page.next):
            break
    whole = logging.history(run, "m", limit=100).items
    assert repr(tuple(point for page in pages for point in page)) == repr(whole)
    assert [at for at, _, _ in whole] == [3] * 4 + [5] * 4 + [9] * 4
    assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.parametrize("limit", [0, -1, 2**64, 1.5])
def test_a_page_has_a_size(logging: Logging, run: RunId, limit: int) -> None:
    with pytest.raises(RequestInvalid, match="limit"):
        logging.history(run, "m", limit=limit)


def test_a_bad_token_and_a_missing_run_are_told_apart_from_no_points(logging: Logging, run: RunId) -> None:
    assert logging.history(run, "nothing", limit=5).items == ()
    with pytest.raises(NotFound):
        logging.history(RunId("nothing"), "m", limit=5)
    for token in ("x", "ü", "' OR 1=1", "AAAA", "A" * 33, "\ud800"):
        with pytest.raises(RequestInvalid, match="page token"):
            logging.history(run, "m", limit=5, page=token)


point = st.builds(
    Metric,
    key=st.sampled_from(["a", "b"]),
    value=st.floats() | st.sampled_from([0.0, math.nan, 1.0]),
    at=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3),
    step=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3),
)


def plain(points: Iterable[Point]) -> str:
    """Write points so that NaN equals itself and zero has no sign (SQLite keeps none)."""
    return repr([(at, step, value + 0.0) for at, step, value in points])


@given(batches=st.lists(st.lists(point, max_size=6), max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_latest_point_is_the_greatest_by_step_time_and_value(logging: Logging, batches: list[list[Metric]]) -> None:
    run = logging.create_run(DEFAULT_EXPERIMENT).id
    model: dict[str, set[tuple[int, int, float, bool]]] = {}
    for batch in batches:
        logging.log(run, metrics=batch)
        for one in batch:
            nan = math.isnan(one.value)
            model.setdefault(one.key, set()).add((one.at, one.step, 0.0 if nan else one.value, nan))
    latest = {one.key: one for one in logging.get_run(run).latest}
    assert latest.keys() == model.keys()
    for key, points in model.items():
        expected = [(at, step, math.nan if nan else value) for at, step, value, nan in sorted(points)]
        found_points = logging.history(run, key, limit=100).items
        assert plain(found_points) == plain(expected)
        at, step, value, _ = max(points, key=lambda one: (one[1], one[0], one[2]))
        found = latest[key]
        assert (found.step, found.at, 0.0 if math.isnan(found.value) else found.value) == (step, at, value)


def test_a_series_is_thinned_to_what_its_line_shows(logging: Logging, run: RunId) -> None:
    other = logging.create_run(DEFAULT_EXPERIMENT).id
    curve = [Metric(key="m", value=math.sin(at / 50), at=at, step=at) for at in range(5000)]
    curve[1234] = Metric(key="m", value=99.0, at=1234, step=1234)
    logging.log(run, metrics=curve)
    logging.log(other, metrics=curve[:3])
    series, short = logging.sampled([run, other, RunId("nothing")], ["m", "nothing"], count=200)
    assert (series.run, series.key, series.total, short.run, short.total) == (run, "m", 5000, other, 3)
    assert len(series.points) <= 200
    assert (1234, 1234, 99.0) in series.points
    assert [series.points[0][1], series.points[-1][1]] == [0, 4999]
    assert [step for _, step, _ in series.points] == sorted({step for _, step, _ in series.points})
    (close,) = logging.sampled([run], ["m"], count=200, start_step=1200, end_step=1260)
    assert [step for _, step, _ in close.points] == list(range(1200, 1261))


# inputs, outputs and logged models

DATASET = DatasetInput(
    name="train", digest="d1", source_type="local", source='{"path": "a"}', tags={"mlflow.data.context": "training", "x": ""}
)


def test_a_dataset_is_described_once_in_an_experiment(logging: Logging, run: RunId, store: SqlStore) -> None:
    other = logging.create_run(DEFAULT_EXPERIMENT).id
    eval_ = DatasetInput(name="train", digest="d2", source_type="http", source="u", schema="s" * 70_000, profile="{}")
    logging.log_inputs(run, datasets=[DATASET, eval_])
    again = DatasetInput(name="train", digest="d1", source_type="other", source="", tags={"mlflow.data.context": "eval"})
    logging.log_inputs(other, datasets=[again])
    logging.log_inputs(run, datasets=[again])
    assert logging.get_run(run).datasets == (DATASET, eval_)
    (kept,) = logging.get_run(other).datasets
    assert (kept.source_type, kept.tags) == ("local", {"mlflow.data.context": "eval"})
    with store._hot.reading() as session:
        assert session.rows("SELECT context FROM run_datasets ORDER BY context") == [("",), ("eval",), ("training",)]
        assert session.row("SELECT COUNT(*) FROM input_datasets") == (2,)


def test_a_logged_model_lives(logging: Logging, run: RunId, store: SqlStore) -> None:
    made = logging.create_model(
        DEFAULT_EXPERIMENT, name="m", model_type="sk", run=run, params=[("p", "1")], tags={"a": "1"}, actor="ann"
    )
    assert made.id.startswith("m-")
    assert logging.get_model(made.id) == made
    logging.log_outputs(run, [ModelOutput(model=made.id, step=3)])
    logging.log_inputs(run, models=[ModelOutput(model=made.id)])
    found = logging.get_run(run)
    assert (found.models_out, found.models_in) == ((ModelOutput(model=made.id, step=3),), (ModelOutput(model=made.id),))
    ready = logging.finalize_model(made.id, LoggedModelStatus.READY, message="ok")
    assert (ready.status, ready.message) == (LoggedModelStatus.READY, "ok")
    assert ready.updated_at > made.updated_at
    assert logging.set_model_tags(made.id, {"a": "2", "b": ""}).tags == {"a": "2", "b": ""}
    logging.delete_model_tag(made.id, "b")
    with pytest.raises(NotFound, match="'b'"):
        logging.delete_model_tag(made.id, "b")
    logging.log_model_params(made.id, {"q": "2", "p": "1"})
    with pytest.raises(ParamChanged, match="'q'"):
        logging.log_model_params(made.id, {"r": "3", "q": "other"})
    assert logging.get_model(made.id).params == {"p": "1", "q": "2"}
    logging.delete_model(made.id)
    with pytest.raises(NotFound, match="deleted"):
        logging.get_model(made.id)
    with pytest.raises(WasDeleted):
        logging.set_model_tags(made.id, {"a": "3"})
    assert store.logged_models.get(made.id).lifecycle is Lifecycle.DELETED
    with pytest.raises(NotFound):
        logging.get_model(LoggedModelId("m-nothing"))
    assert kinds(store)[1:] == [EventKind.MODEL_LOGGED, EventKind.LOGGED_MODEL_FINALIZED, EventKind.LOGGED_MODEL_DELETED]


def test_a_metric_of_a_model_counts_for_the_run_and_for_the_model(logging: Logging, run: RunId, store: SqlStore) -> None:
    model = logging.create_model(DEFAULT_EXPERIMENT, name="m").id
    one = Metric(key="auc", value=0.9, at=1, step=2, model=model, dataset_name="train", dataset_digest="d1")
    for _ in range(2):
        logging.log(run, metrics=[one, Metric(key="auc", value=math.nan, at=2, step=3, model=model)])
    assert logging.history(run, "auc", limit=9).items[0] == (1, 2, 0.9)
    first, second = logging.get_model(model).metrics
    assert (first.run, first.key, first.value, first.dataset_name, first.step) == (run, "auc", 0.9, "train", 2)
    assert math.isnan(second.value)
    with pytest.raises(NotFound, match="m-missing"):
        logging.log(run, metrics=[Metric(key="x", value=1.0, at=0, model=LoggedModelId("m-missing"))])
    assert "x" not in logging.get_run(run).run.metrics


def test_names_are_never_read_as_sql(logging: Logging) -> None:
    name = "x'; DROP TABLE runs; -- %s ? :key \" ü %"
    home = logging.create_experiment(name, tags={name: name}).id
    run = logging.create_run(home, name=name, tags={name: name}, params={name: name}).id
    logging.log(run, metrics=[Metric(key=name, value=1.0, at=0)])
    found = logging.get_run(run).run
    assert (found.name, found.tags, found.params, found.metrics) == (name, {name: name}, {name: name}, {name: 1.0})
    assert logging.history(run, name, limit=5).items == ((0, 0, 1.0),)
    found_home = logging.find_experiment(name)
    assert found_home is not None
    assert found_home.tags == {name: name}


def test_a_run_of_the_loop_is_a_run_like_others(logging: Logging, store: SqlStore) -> None:
    home = Experiment(id=ExperimentId("5"), name="flights", created_at=a.NOW, updated_at=a.NOW)
    store.experiments.add(home, a.event("home"))
    loops = a.run(experiment=home.id, ended_at=a.NOW)
    store.runs.put(loops, a.event("run"))
    assert logging.get_run(loops.id).run == loops
    assert [(one.key, one.step, one.value) for one in logging.get_run(loops.id).latest] == [
        ("log_loss", 0, 0.61),
        ("roc_auc", 0, 0.71),
    ]
    logging.log(loops.id, metrics=[Metric(key="later", value=1.0, at=0)], tags={"seen": "yes"})
    assert store.runs.get(loops.id).metrics["later"] == 1.0
    logging.delete_run(loops.id)
    found = store.runs.find_key(loops.content_key)
    assert found is not None
    assert found.id == loops.id  # its result is still its result
    assert [run.id for run in store.runs.list("flights")] == [loops.id]

"""Searches on every store: what is found, in which order, page by page, held against the same done naively in Python."""

from __future__ import annotations

import math
import random
import re
import time
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key

import pytest
from msgspec import structs

from kedge.domain.finding import Condition, LifecycleView, Operator, Order, Query, Subject, token_of
from kedge.domain.tracking import DatasetInput, Metric, RunDetail, RunStatus
from kedge.errors import SearchInvalid
from kedge.storage.sql import SqlStore, finding
from kedge.tracking.logging import Logging
from kedge.tracking.search import experiments_query, runs_query
from kedge.tracking.search_models import logged_models_query

A, M, P, T, D = Subject.ATTRIBUTE, Subject.METRIC, Subject.PARAM, Subject.TAG, Subject.DATASET
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = [0.0, 0.5, 1.0, -1.0, 1e300, math.nan, math.inf, -math.inf]
TEXTS = ["a", "A", "b", "Ab%c", "a_c", "a\\c", "x*y", "[z]", "é", "É", ""]
PATTERNS = ["a", "%", "_", "a%", "%C", "a_c", "a\\_", "%*%", "[z]", "é%", "", "%%%", "_b%"]
NUMERIC = [Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE]


class Clock:
    """A clock that moves a second at each look."""

    def __init__(self) -> None:
        self._now = BEGIN

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


@pytest.fixture
def logging(store: SqlStore) -> Logging:
    return Logging(meta=store, clock=Clock())


def fill(logging: Logging, dice: random.Random, *, runs: int = 60) -> dict[str, RunDetail]:
    """Log runs of two experiments with everything that can be searched."""
    made = []
    ids = [logging.create_experiment(name).id for name in ("one", "two")]
    for number in range(runs):
        run = logging.create_run(
            dice.choice(ids),
            name=dice.choice(TEXTS[:4]) + str(number % 7),
            user=dice.choice(["me", "you"]),
            started_at=BEGIN + timedelta(milliseconds=dice.randrange(20)),
        ).id
        if dice.random() < 0.6:
            ended = BEGIN + timedelta(milliseconds=dice.randrange(20, 40))
            logging.update_run(run, status=dice.choice([RunStatus.FINISHED, RunStatus.FAILED]), ended_at=ended)
        logging.log(
            run,
            metrics=[
                Metric(key=f"m {k}", value=dice.choice(NUMBERS), at=1, step=0) for k in range(3) if dice.random() < 0.7
            ],
            params={f"p{k}": dice.choice(TEXTS) for k in range(2) if dice.random() < 0.7},
            tags={f"t{k}": dice.choice(TEXTS) for k in range(2) if dice.random() < 0.7},
        )
        if dice.random() < 0.5:
            tags = {"mlflow.data.context": dice.choice(["train", "test"])} if dice.random() < 0.7 else {}
            datasets = [DatasetInput(name=dice.choice(TEXTS[:4]), digest="d1", source_type="s", source="s", tags=tags)]
            logging.log_inputs(run, datasets=datasets)
        if dice.random() < 0.1:
            logging.delete_run(run)
        made.append(run)
    return {one.run.id: one for one in (logging.get_run(run) for run in made)}


def like(pattern: str, text: str, *, cased: bool) -> bool:
    shape = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern)
    if not cased and not pattern.isascii():
        shape, text = shape.lower(), text.lower()
    flags = re.DOTALL if cased else re.DOTALL | re.IGNORECASE | re.ASCII
    return re.fullmatch(shape, text, flags) is not None


def compared(value: object, one: Condition) -> bool:
    """Compare as the language says; nothing that lacks a value meets anything."""
    asked = one.value
    if value is None:
        return False
    match one.operator:
        case Operator.LIKE | Operator.ILIKE:
            return like(str(asked), str(value), cased=one.operator is Operator.LIKE)
        case Operator.IN | Operator.NOT_IN:
            assert isinstance(asked, tuple)
            return (value in asked) == (one.operator is Operator.IN)
        case Operator.EQ | Operator.NE:
            return (value == asked) == (one.operator is Operator.EQ)
        case Operator.LT:
            return value < asked  # type: ignore[operator]
        case Operator.LE:
            return value <= asked  # type: ignore[operator]
        case Operator.GT:
            return value > asked  # type: ignore[operator]
        case _:
            return value >= asked  # type: ignore[operator]


def ms(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() * 1000)


def value_of(one: RunDetail, subject: Subject, key: str) -> object:
    run = one.run
    match subject:
        case Subject.METRIC:
            return run.metrics.get(key)
        case Subject.PARAM:
            return run.params.get(key)
        case Subject.TAG:
            return run.tags.get(key)
        case _:
            return {
                "run_id": run.id,
                "run_name": run.name,
                "status": run.status.value.upper(),
                "user_id": run.user,
                "start_time": ms(run.started_at),
                "end_time": ms(run.ended_at),
                "artifact_uri": f"mlflow-artifacts:/{run.experiment}/{run.id}/artifacts",
            }[key]


def meets(one: RunDetail, condition: Condition) -> bool:
    if condition.subject is D:
        named = [
            {"name": each.name, "digest": each.digest, "context": each.tags.get("mlflow.data.context")}[condition.key]
            for each in one.datasets
        ]
        return any(compared(value, condition) for value in named)
    value = value_of(one, condition.subject, condition.key)
    if condition.operator in {Operator.IS_NULL, Operator.IS_NOT_NULL}:
        return (value is None) == (condition.operator is Operator.IS_NULL)
    return compared(value, condition)


def sorted_runs(found: list[RunDetail], order: tuple[Order, ...]) -> list[str]:
    whole = [*order]
    if not any(one.key == "start_time" for one in order):
        whole.append(Order(A, "start_time", ascending=False))

    def rank(value: object) -> int:
        return 2 if value is None else 1 if isinstance(value, float) and math.isnan(value) else 0

    def compare(left: RunDetail, right: RunDetail) -> int:
        for one in whole:
            a, b = value_of(left, one.subject, one.key), value_of(right, one.subject, one.key)
            if rank(a) != rank(b):
                return rank(a) - rank(b)
            if rank(a) == 0 and a != b:
                return (1 if a > b else -1) * (1 if one.ascending else -1)  # type: ignore[operator]
        return 1 if left.run.id > right.run.id else -1

    return [one.run.id for one in sorted(found, key=cmp_to_key(compare))]


def some_condition(dice: random.Random, runs: list[RunDetail]) -> Condition:
    kind = dice.choice(["metric", "metric", "label", "pattern", "null", "text", "time", "ids", "dataset"])
    match kind:
        case "metric":
            number = dice.choice([n for n in NUMBERS if not math.isnan(n)])
            return Condition(M, f"m {dice.randrange(3)}", dice.choice(NUMERIC), number)
        case "label":
            return Condition(
                dice.choice([P, T]), dice.choice(["p0", "t0", "t1"]), dice.choice(NUMERIC[:2]), dice.choice(TEXTS)
            )
        case "pattern":
            subject, key = dice.choice(
                [(P, "p0"), (T, "t0"), (A, "run_name"), (A, "artifact_uri"), (A, "status"), (D, "name")]
            )
            return Condition(subject, key, dice.choice([Operator.LIKE, Operator.ILIKE]), dice.choice(PATTERNS))
        case "null":
            key = dice.choice(["p0", "t0", "nobody's"])
            return Condition(dice.choice([P, T]), key, dice.choice([Operator.IS_NULL, Operator.IS_NOT_NULL]))
        case "text":
            value = dice.choice(["FINISHED", "RUNNING", "me"])
            return Condition(A, dice.choice(["status", "user_id"]), dice.choice(NUMERIC[:2]), value)
        case "time":
            at = int(BEGIN.timestamp() * 1000) + dice.randrange(40)
            return Condition(A, dice.choice(["start_time", "end_time"]), dice.choice(NUMERIC), dice.choice([at, at + 0.5]))
        case "ids":
            ids = tuple(one.run.id for one in dice.sample(runs, dice.choice([1, 20, 50])))
            return Condition(A, "run_id", dice.choice([Operator.IN, Operator.NOT_IN]), ids)
        case _:
            key, value = dice.choice([("name", "a"), ("digest", "d1"), ("context", "train")])
            return Condition(D, key, dice.choice(NUMERIC[:2]), value)


def some_order(dice: random.Random) -> tuple[Order, ...]:
    keys = [(M, "m 0"), (M, "m 1"), (P, "p0"), (T, "t1"), (A, "end_time"), (A, "start_time"), (A, "run_name"), (A, "status")]
    return tuple(Order(*one, dice.random() < 0.5) for one in dice.sample(keys, dice.choice([0, 1, 1, 2, 3])))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_found_is_what_a_naive_search_finds(logging: Logging, seed: int) -> None:
    dice = random.Random(seed)
    runs = fill(logging, dice)
    experiments = tuple(sorted({one.run.experiment for one in runs.values()}))
    for _ in range(150):
        query = Query(
            where=tuple(some_condition(dice, [*runs.values()]) for _ in range(dice.choice([0, 1, 1, 2]))),
            without=tuple(some_condition(dice, [*runs.values()]) for _ in range(dice.choice([0, 0, 0, 1]))),
            order=some_order(dice),
            experiments=dice.choice([experiments, experiments[:1], ("no such", *experiments)]),
            view=dice.choice([*LifecycleView]),
            limit=dice.choice([1, 7, 1000]),
            counted=True,
        )
        met = [
            one
            for one in runs.values()
            if one.run.experiment in query.experiments
            and query.view in {LifecycleView.ALL, LifecycleView(one.run.lifecycle.value)}
            and all(meets(one, condition) for condition in query.where)
            and not any(meets(one, condition) for condition in query.without)
        ]
        wanted = sorted_runs(met, query.order)
        assert paged(logging, query) == wanted, query
        page = logging.search_runs(query)
        assert [one.run.id for one in page.items] == wanted[: query.limit]
        assert page.total == len(wanted)


def paged(logging: Logging, query: Query) -> list[str]:
    """Read page after page."""
    found: list[str] = []
    token = ""
    while True:
        page = logging.find_runs(Query(**{name: getattr(query, name) for name in query.__struct_fields__} | {"page": token}))
        found += page.items
        assert len(page.items) == query.limit or not page.next
        if not (token := page.next):
            return found


def test_a_page_goes_on_where_the_one_before_ended_whatever_was_started_or_deleted_meanwhile(logging: Logging) -> None:
    experiment = logging.create_experiment("e").id
    runs = [logging.create_run(experiment, started_at=BEGIN + timedelta(seconds=n)).id for n in range(10)]
    for number, run in enumerate(runs):
        logging.log(run, metrics=[Metric(key="m", value=float(number // 2), at=1)])
    for order in ([], ["metrics.m DESC"]):
        first = logging.find_runs(runs_query(order=order, limit=4, experiments=[experiment]))
        new = logging.create_run(experiment, started_at=BEGIN + timedelta(days=1)).id
        logging.log(new, metrics=[Metric(key="m", value=100.0, at=1)])
        logging.delete_run(first.items[-1])
        second = logging.find_runs(runs_query(order=order, limit=100, experiments=[experiment], page=first.next))
        left = [run for run in reversed(runs) if run not in first.items]
        assert [run for run in second.items if run in runs] == sorted(left, key=second.items.index)
        assert new not in second.items
        assert set(second.items) == set(left) - {new}
        logging.restore_run(first.items[-1])
        logging.delete_run(new)


def test_a_page_token_is_of_its_own_search_alone(logging: Logging) -> None:
    experiment = logging.create_experiment("e").id
    for _ in range(3):
        logging.create_run(experiment)
    ask = {"experiments": [experiment], "limit": 1}
    token = logging.find_runs(runs_query("status = 'RUNNING'", **ask)).next
    assert len(logging.find_runs(runs_query("status = 'RUNNING'", page=token, **ask)).items) == 1
    assert len(logging.find_runs(runs_query("status = 'RUNNING'", page=token, **(ask | {"limit": 9}))).items) == 2
    changed = ("A" if token[0] != "A" else "B") + token[1:]
    for filter, page in [
        ("status = 'FAILED'", token),
        ("", token),
        ("status = 'RUNNING'", changed),
        ("status = 'RUNNING'", token[:-4]),
        ("", "!!"),
        ("", "é"),
        ("", "eyJvZmZzZXQiOiAxfQ=="),
        ("", "A" * 10_001),
    ]:
        with pytest.raises(SearchInvalid, match="Invalid page token"):
            logging.find_runs(runs_query(filter, page=page, **ask))


def test_a_query_that_does_not_fit_what_it_searches_is_refused(logging: Logging, store: SqlStore) -> None:
    experiments = (logging.create_experiment("e").id,)
    odd = Query(experiments=experiments, order=(Order(P, "p"),))
    for position in (("x",), (0, 5, 1, "x"), (0, "a", 2**63, "x"), (0, "a", "b", "x"), (0, 1.5, 1, "x")):
        with pytest.raises(SearchInvalid, match="does not fit this order"):
            logging.find_runs(structs.replace(odd, page=token_of(odd, position)))
    metric, param, dataset = (
        Condition(M, "m", Operator.GT, 1.0),
        Condition(P, "p", Operator.EQ, "a"),
        Condition(D, "name", Operator.EQ, "a"),
    )
    for where, message in ((metric, "no metrics"), (param, "no params"), (dataset, "no datasets")):
        with pytest.raises(SearchInvalid, match=message):
            logging.search_experiments(Query(where=(where,)))
    with pytest.raises(SearchInvalid, match="no metrics"):
        logging.search_experiments(Query(order=(Order(M, "m"),)))
    with pytest.raises(SearchInvalid, match="Invalid attribute key 'nobody'"):
        logging.find_runs(Query(experiments=experiments, order=(Order(A, "nobody"),)))
    with pytest.raises(SearchInvalid, match="Invalid experiment ID 'x'"):
        logging.search_models(logged_models_query("experiment_id = 'x'", experiments=experiments))


def test_a_text_that_no_database_holds_is_refused(logging: Logging) -> None:
    for filter in ("params.a = '\0'", "params.`\0` = 'a'", "params.a = '\ud800'", "run_id IN ('\0')"):
        with pytest.raises(SearchInvalid, match="not text that can be stored"):
            logging.find_runs(runs_query(filter, experiments=["1"]))
    with pytest.raises(SearchInvalid, match="not text that can be stored"):
        logging.find_runs(runs_query(experiments=["\0"]))


def test_many_experiments_are_searched_at_once(logging: Logging) -> None:
    experiment = logging.create_experiment("e").id
    run = logging.create_run(experiment).id
    logging.log(run, metrics=[Metric(key="m", value=1.0, at=1)])
    many = [str(number) for number in range(40_000)] + [experiment]
    assert logging.find_runs(runs_query("metrics.m = 1", order=["metrics.m"], experiments=many)).items == (run,)
    assert logging.find_runs(runs_query(experiments=[])).items == ()


def test_a_search_that_takes_too_long_is_stopped(logging: Logging, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = logging.create_experiment("e").id
    for _ in range(60):
        run = logging.create_run(experiment).id
        logging.log(run, params={"p": "a" * 6000})
    slow = f"params.p LIKE '%{'a' * 900}b%'"
    monkeypatch.setattr(finding, "SECONDS", 0.05)
    monkeypatch.setattr(finding, "_STEPS", 10)
    began = time.monotonic()
    with pytest.raises(SearchInvalid, match="took too long"):
        logging.find_runs(runs_query(slow, experiments=[experiment]))
    assert time.monotonic() - began < 10
    monkeypatch.undo()
    assert len(logging.find_runs(runs_query(experiments=[experiment])).items) == 60


def test_experiments_are_found_and_sorted(logging: Logging) -> None:
    made = {name: logging.create_experiment(name, tags={"team": name[0]}).id for name in ("b1", "a2", "B3", "a1")}
    logging.delete_experiment(made["B3"])

    def names(filter: str = "", **rest: object) -> list[str]:
        return [one.name for one in logging.search_experiments(experiments_query(filter, **rest)).items]

    assert names("name != 'Default'") == ["a1", "a2", "b1"]
    assert names("name ILIKE 'b%'", view=LifecycleView.ALL) == ["B3", "b1"]
    assert names("name LIKE 'b%'", view=LifecycleView.ALL) == ["b1"]
    assert names(view=LifecycleView.DELETED) == ["B3"]
    assert names("tags.team = 'a'", order=["name"]) == ["a1", "a2"]
    assert names("tags.team IS NULL") == ["Default"]
    assert names(f"experiment_id IN ('0{made['a2']}', '0')", order=["experiment_id DESC"]) == ["a2", "Default"]
    before = ms(logging.get_experiment(made["a2"]).created_at)
    assert names(f"creation_time > {before} AND name != 'Default'") == ["a1"]
    page = logging.search_experiments(experiments_query("name != 'Default'", limit=2, counted=True))
    rest = logging.search_experiments(experiments_query("name != 'Default'", limit=2, page=page.next))
    assert [one.name for one in (*page.items, *rest.items)] == ["a1", "a2", "b1"]
    assert (page.total, rest.next) == (3, "")


def test_logged_models_are_found_by_what_was_measured_on_a_dataset(logging: Logging) -> None:
    experiment = logging.create_experiment("e").id
    run = logging.create_run(experiment).id
    models = [
        logging.create_model(experiment, name=f"m{n}", run=run, model_type="net", params={"lr": f"0.{n}"}, tags={"k": "v"})
        for n in range(4)
    ]
    for n, model in enumerate(models[:3]):
        for dataset, value in (("train", n / 10), ("test", 1 - n / 10)):
            point = Metric(key="acc", value=value, at=n, step=0, model=model.id, dataset_name=dataset, dataset_digest="d")
            logging.log(run, metrics=[point])

    def names(filter: str = "", **rest: object) -> list[str]:
        query = logged_models_query(filter, experiments=[experiment], **rest)
        found, token = [], ""
        while True:
            page = logging.search_models(logged_models_query(filter, experiments=[experiment], limit=1, page=token, **rest))
            found += [one.name for one in page.items]
            if not (token := page.next):
                assert found == [one.name for one in logging.search_models(query).items]
                return found

    on_test = {"dataset_name": "test", "dataset_digest": "d"}
    assert names() == ["m3", "m2", "m1", "m0"]
    assert names("metrics.acc >= 0.9") == ["m1", "m0"]
    assert names("metrics.acc < 0.15", datasets=[{"dataset_name": "train"}]) == ["m1", "m0"]
    assert names(datasets=[on_test]) == ["m2", "m1", "m0"]
    assert names(datasets=[{"dataset_name": "nobody's"}]) == []
    assert names(order=[{"field_name": "metrics.acc", "ascending": True, **on_test}]) == ["m2", "m1", "m0", "m3"]
    assert names(order=[{"field_name": "metrics.acc", "ascending": False, "dataset_name": "train"}]) == [
        "m2",
        "m1",
        "m0",
        "m3",
    ]
    assert names("params.lr = 0.1 AND tags.k = 'v' AND status = 'PENDING'") == ["m1"]
    assert names(f"source_run_id = '{run}' AND name IN ('m0', 'm3')", order=[{"field_name": "name"}]) == ["m0", "m3"]
    logging.delete_model(models[0].id)
    assert names("model_type = 'net'", order=[{"field_name": "creation_timestamp"}]) == ["m1", "m2", "m3"]

"""Searches held against MLflow's own store: the same experiments, runs and models, hundreds of random searches.

What must agree: which ids are found, in which order, and for a search that is refused the error's code and text. Where
MLflow itself crashes, anything but a crash will do. Where Kedge means to differ, it is named in `DIFFERS`.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.mlflow.peers import find

from kedge.domain.events import Event, EventKind
from kedge.domain.finding import LifecycleView
from kedge.domain.ids import ExperimentId, LoggedModelId, ModelName, RunId
from kedge.domain.registry import CatalogVersion, RegisteredModel
from kedge.domain.tracking import DatasetInput, Experiment, Lifecycle, LoggedModel, Metric, RunStatus
from kedge.errors import SearchInvalid
from kedge.server.mlflow.errors import answer_to
from kedge.storage.sql import SqlStore, open_store
from kedge.tracking.logging import Logging
from kedge.tracking.search import experiments_query, runs_query
from kedge.tracking.search_models import logged_models_query, model_versions_query, registered_models_query

ORACLE = Path(__file__).parent / "scripts" / "search_oracle.py"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = 1_767_225_600_000
NUMBERS = [0.0, 0.5, 1.0, -1.0, 3.25e-5, 1e200, "nan", "inf", "-inf"]
TEXTS = ["a", "A", "b", "Ab%c", "a_c", "x*y", "[z]", "it's", "long text", ""]
DIFFERS = re.compile("duplicate fields")  # an INTERNAL_ERROR there


def world(dice: random.Random) -> dict[str, list[dict[str, object]]]:
    """Make up what both sides hold."""
    experiments = [
        {"name": f"{dice.choice('abAB')}{n}", "tags": {"team": dice.choice(TEXTS[:4])} if n % 3 else {}, "deleted": n == 4}
        for n in range(7)
    ]
    runs: list[dict[str, object]] = []
    for n in range(90):
        keys = [k for k in ("m0", "m 1", "val/loss") if dice.random() < 0.75]
        points = [(k, dice.choice(NUMBERS), NOW + dice.randrange(3), dice.randrange(3)) for k in keys * 2]
        ended = dice.random() < 0.7
        runs.append(
            {
                "experiment": dice.randrange(4),
                "name": f"run {n % 9}",
                "user": dice.choice(["me", "you"]),
                "started": NOW + dice.randrange(30),
                "ended": NOW + dice.randrange(30, 60) if ended else None,
                "status": dice.choice(["FINISHED", "FAILED", "KILLED"]) if ended else "RUNNING",
                "params": {k: dice.choice(TEXTS) for k in ("p0", "p 1") if dice.random() < 0.75},
                "tags": {k: dice.choice(TEXTS) for k in ("t0", "a.b") if dice.random() < 0.75},
                "metrics": points,
                "datasets": [
                    (dice.choice(["d0", "D1"]), dice.choice(["x", "y"]), dice.choice(["train", "test", None]))
                    for _ in range(dice.choice([0, 0, 1]))
                ],
                "deleted": dice.random() < 0.1,
            }
        )
    models = [
        {
            "run": dice.choice([at for at, run in enumerate(runs) if not run["deleted"]]),
            "name": f"model{n % 4}",
            "type": dice.choice(["net", "tree"]),
            "params": {"lr": dice.choice(["0.1", "0.01"])},
            "tags": {"k": dice.choice(TEXTS[:4])},
            "metrics": [
                ("acc", dice.choice([0.25, 0.5, 0.75]), NOW + at, dice.choice(["train", "test"]), "x")
                for at in range(dice.choice([0, 1, 3]))
            ],
        }
        for n in range(20)
    ]
    registered = [{"name": f"{dice.choice('abAB')}{n}", "tags": some_tags(dice)} for n in range(6)]
    versions = [
        {
            "name": dice.choice(registered)["name"],
            "source": dice.choice(["s3://there/a", "s3://there/b"]),
            "run": dice.choice(["r1", "r2", None]),
            "tags": some_tags(dice),
        }
        for _ in range(20)
    ]
    return {"experiments": experiments, "runs": runs, "models": models, "registered": registered, "versions": versions}


def some_tags(dice: random.Random) -> dict[str, str]:
    return {key: dice.choice(TEXTS) for key in ("team", "a.b") if dice.random() < 0.7}


def quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def number(dice: random.Random) -> str:
    return dice.choice(["0", "0.5", "-1", "1e100", ".25", "1.", "3.25e-5", "-0.0"])


def comparison(dice: random.Random) -> str:
    sign = dice.choice(["=", "!=", ">", ">=", "<", "<="])
    like = dice.choice(["LIKE", "ILIKE", "like", "Ilike"])
    pattern = quoted(dice.choice(["a%", "%C", "a_c", "%", "_", "", "A", "%*%", "[z]", "%it's"]))
    text = quoted(dice.choice(TEXTS))
    label = dice.choice(["params.p0", "param.`p 1`", 'parameters."p 1"', "tags.t0", "tag.a.b", "tags.`a.b`", "tags.nobody"])
    return dice.choice(
        [
            f"{dice.choice(['metrics.m0', 'metric.`m 1`', 'metrics.`val/loss`', 'metrics.nobody'])} {sign} {number(dice)}",
            f"metrics.m0{sign}{number(dice)}",
            f"{label} {dice.choice(['=', '!='])} {text}",
            f"{label} {like} {pattern}",
            f"{label} {dice.choice(['IS NULL', 'is not null'])}",
            f"{dice.choice(['run_name', 'attributes.run_name', 'attr.`Run name`'])} {dice.choice(['=', '!='])} 'run 3'",
            f"run_name {like} {quoted('RUN%')}",
            f"{dice.choice(['status', 'run.status'])} {dice.choice(['=', '!='])} '{dice.choice(['RUNNING', 'FAILED'])}'",
            f"user_id {dice.choice(['=', '!=', like])} 'me'",
            f"{dice.choice(['start_time', 'Created', 'attribute.end_time'])} {sign} {NOW + dice.randrange(60)}",
            "artifact_uri LIKE '%/artifacts'",
            f"dataset.name {dice.choice(['=', '!='])} 'd0'",
            f"dataset.name {like} 'd%'",
            "datasets.digest IN ('x', 'q')",
            f"dataset.context {dice.choice(['=', '!='])} 'train'",
            "dataset.context NOT IN ('train')",
            f"run_id {dice.choice(['IN', 'NOT IN'])} (RUN_IDS)",
        ]
    )


BAD = [
    *("metrics.m0", "metrics.m0 >", "OR", "metrics.m0 > 1 OR status = 'x'", "(status = 'x')", "status = 'x', status = 'y'"),
    *("metrics.m0 = 'x'", "params.p0 = 1", "params.p0 = x", "params.p0 > 'x'", "tags.t0 IN ('x')", "status IN ('x')"),
    *("metrics.m0 LIKE 'x'", "metrics.m0 LIKE 5", "status > 'x'", "start_time > 'x'", "start_time LIKE 5", "foo = 'x'"),
    *(
        "foo.bar = 'x'",
        "dataset.foo = 'x'",
        "dataset.name > 'x'",
        "dataset.name = 5",
        "metrics.m0 IS NULL",
        "status IS NULL",
    ),
    *("metrics.a-b > 1", "metrics.a/b > 1", "metrics.m0 == 1", "metrics.m0 <> 1", "params.p0 NOT LIKE 'x'", "1 = 1", "  "),
    *("metrics.m0 > 1; status = 'x'", "metrics.m0 > 1;", "metrics.m0 BETWEEN 1 AND 2", "params.p0 = 'x", "run_id IN ()"),
    *("run_id IN (1, 2)", "run_id IN 'x'", "run_id IN ('x', 1)", "params.p0 = `x`", "tags.t0 = NULL", "tags.t0 = true"),
    *(
        "not status = 'x'",
        "status = 'x' foo",
        "metrics.m0 > +5",
        "metrics.m0 > 1e+5",
        "AND",
        "metrics. > 1",
        ".a > 1",
        "a b c",
    ),
    *("`metrics.m0` > 1", "'status' = 'x'", "tags.t0 RLIKE 'x'", "name = 'x'", "creation_time > 1.5"),
    *(
        "creation_time > 'x'",
        "creation_time LIKE 5",
        "experiment_id = 'x'",
        "experiment_id > '1'",
        "name IN ('x')",
        "name > 'x'",
    ),
    *(
        "tags.team > 'x'",
        "tags.team IS NULL AND name IS NULL",
        "attribute.name = 5",
        "last_update_time = 1.0",
        "params.a = 'x'",
    ),
]
BAD_ORDERS = [
    "",
    " ",
    "m0",
    "metrics.m0 foo",
    "a b c",
    "foo.bar",
    "metrics.m0, metrics.x",
    "dataset.name",
    "metrics.m0;",
    "5",
]
BAD_ORDERS += ["metrics.m0 asc nulls last", "timestamp", "tags.x", "'x'", " start_time", "start_time ", "metrics.a-b desc"]


def queries(dice: random.Random, count: int) -> list[dict[str, object]]:
    """Make up searches, good ones and bad ones."""
    made: list[dict[str, object]] = []
    for n in range(count):
        parts = [comparison(dice) for _ in range(dice.choice([0, 1, 1, 2, 3]))]
        joiner = dice.choice([" AND ", " and ", "\n AND  "])
        keys = [
            "metrics.m0",
            "metrics.`m 1`",
            "params.p0",
            "tags.t0",
            "start_time",
            "end_time",
            "run_name",
            "status",
            "user_id",
        ]
        order = [f"{key}{dice.choice([' DESC', ' asc', ''])}" for key in dice.sample(keys, dice.choice([0, 0, 1, 1, 2]))]
        if n % 40 == 39:
            order = [*order, *order[:1]]
        made.append(
            {
                "what": "runs",
                "filter": joiner.join(parts),
                "order": order,
                "view": dice.choice(["active", "active", "deleted", "all"]),
                "limit": dice.choice([1000, 1000, 5]),
                "experiments": dice.sample(range(4), dice.choice([1, 4, 4])),
            }
        )
    plain = {"order": [], "view": "all", "limit": 10, "experiments": [0]}
    for what in ("runs", "experiments"):
        made += [{**plain, "what": what, "filter": text} for text in BAD]
        made += [{**plain, "what": what, "filter": "", "order": [text]} for text in BAD_ORDERS]
        made += [{**plain, "what": what, "filter": "", "limit": limit} for limit in (0, -1, 50_001)]
    for what in ("registered", "versions"):
        made += [
            {**plain, "what": what, "filter": text} for text in BAD if "IS NULL" not in text and "run_id IN" not in text
        ]
        made += [{**plain, "what": what, "filter": "", "order": [text]} for text in BAD_ORDERS]
        made += [{**plain, "what": what, "filter": "", "limit": limit} for limit in (1, 200_001)]
    made.append({**plain, "what": "runs", "filter": "`metrics`.m0 > 1"})
    for _ in range(count // 5):
        made.append(
            {
                "what": "experiments",
                "filter": " AND ".join(about_experiments(dice) for _ in range(dice.choice([0, 1, 1, 2]))),
                "order": dice.choice([[], ["name"], ["creation_time"], ["last_update_time DESC"], ["experiment_id DESC"]]),
                "view": dice.choice(["active", "deleted", "all"]),
                "limit": dice.choice([1000, 3]),
            }
        )
        made += [about_models(dice), about_registered(dice), about_versions(dice)]
    return made


def about_experiments(dice: random.Random) -> str:
    return dice.choice(
        [
            f"name {dice.choice(['LIKE', 'ILIKE'])} {quoted(dice.choice(['a%', 'B_', '%', '%1']))}",
            f"attribute.name {dice.choice(['=', '!='])} 'a1'",
            f"tags.team {dice.choice(['=', '!=', 'LIKE', 'ILIKE'])} {quoted(dice.choice(TEXTS[:3]))}",
            f"tag.`team` IS {dice.choice(['NULL', 'NOT NULL'])}",
            f"creation_time {dice.choice(['>', '<='])} {NOW}",
            f"experiment_id {dice.choice(['IN', 'NOT IN'])} ('0', '1')",
            "experiment_id != '0'",
        ]
    )


def about_models(dice: random.Random) -> dict[str, object]:
    parts = [
        f"metrics.acc {dice.choice(['>', '<=', '=', '!='])} 0.5",
        f"params.lr {dice.choice(['=', '!='])} {dice.choice(['0.1', quoted('0.01')])}",
        f"tags.k {dice.choice(['LIKE', 'ILIKE'])} 'a%'",
        f"name {dice.choice(['IN', 'NOT IN'])} ('model1', 'model2')",
        f"model_type = {quoted(dice.choice(['net', 'tree']))}",
        "creation_timestamp > 5",
    ]
    on = {"dataset_name": "test", "dataset_digest": "x"}
    keys = [{"field_name": "metrics.acc", **dice.choice([{}, on])}, {"field_name": "name"}, {"field_name": "creation_time"}]
    bad = ["metrics.acc LIKE 'a'", "foo.x = 'a'", "tags.k > 'a'", "a OR b", "tags.k IS NULL", "name = 'a'; name = 'b'"]
    wrong = [{"field_name": "params.lr"}, {"field_name": "nope"}]
    return {
        "what": "models",
        "filter": dice.choice(bad) if dice.random() < 0.2 else " AND ".join(dice.sample(parts, dice.choice([0, 1, 2]))),
        "order": [{**one, "ascending": dice.random() < 0.5} for one in dice.sample(keys, dice.choice([0, 1, 2]))]
        if dice.random() < 0.9
        else [dice.choice(wrong)],
        "datasets": dice.choice([[], [], [{"dataset_name": "train", "dataset_digest": "x"}], [on]]),
        "limit": dice.choice([100, 4]),
        "experiments": [0, 1, 2, 3],
    }


def about_registered(dice: random.Random) -> dict[str, object]:
    parts = [
        f"name {dice.choice(['LIKE', 'ILIKE', 'like'])} {quoted(dice.choice(['a%', 'B_', '%', '%1']))}",
        f"attribute.name {dice.choice(['=', '!='])} 'a1'",
        f"name {dice.choice(['IN', 'NOT IN'])} ('a1', \"B2\", 'b3')",
        f"tags.team {dice.choice(['=', '!=', 'LIKE', 'ilike'])} {quoted(dice.choice(TEXTS))}",
        f"tag.`a.b` != {quoted(dice.choice(TEXTS))}",
        f"tags.`mlflow.prompt.is_prompt` {dice.choice(['=', '!='])} {quoted(dice.choice(['true', 'false']))}",
    ]
    order = [[], ["name DESC"], ["timestamp"], ["last_updated_timestamp DESC"], ["timestamp DESC", "name ASC"]]
    return {
        "what": "registered",
        "filter": " AND ".join(dice.sample(parts, dice.choice([0, 1, 2]))),
        "order": dice.choice(order),
        "limit": dice.choice([100, 2]),
    }


def about_versions(dice: random.Random) -> dict[str, object]:
    parts = [
        f"name {dice.choice(['LIKE', 'ILIKE'])} {quoted(dice.choice(['a%', 'B_', '%1']))}",
        f"name {dice.choice(['=', '!='])} 'a1'",
        f"version_number {dice.choice(['>', '<=', '=', '!='])} {dice.choice(['2', quoted('1')])}",
        f"run_id {dice.choice(['=', '!=', 'LIKE'])} 'r1'",
        f"run_id {dice.choice(['IN', 'NOT IN'])} ('r1', 'r3')",
        "source_path LIKE '%/a'",
        f"tags.team {dice.choice(['=', '!=', 'ILIKE'])} {quoted(dice.choice(TEXTS))}",
    ]
    keys = ["name", "version_number DESC", "creation_timestamp ASC", "last_updated_timestamp DESC"]
    return {
        "what": "versions",
        "filter": " AND ".join(dice.sample(parts, dice.choice([0, 1, 2]))),
        "order": dice.sample(keys, dice.choice([0, 1, 2])),
        "limit": dice.choice([1000, 3]),
    }


def load(told: dict[str, list[dict]], store: SqlStore) -> Logging:
    """Hold the same, with MLflow's own ids and times."""

    class Clock:
        def now(self) -> datetime:
            return EPOCH

    logging = Logging(meta=store, clock=Clock())

    def at(ms: int) -> datetime:
        return EPOCH + timedelta(milliseconds=ms)

    def event(kind: EventKind, subject: str) -> Event:
        return Event(key=f"{kind.value} {subject}", kind=kind, at=EPOCH, subject=subject, actor="test", message="")

    places = [ExperimentId(one["id"]) for one in told["experiments"]]
    for one in told["experiments"]:
        made = Experiment(
            id=ExperimentId(one["id"]),
            name=one["name"],
            created_at=at(one["created"]),
            updated_at=at(one["updated"]),
            tags=one["tags"],
            lifecycle=Lifecycle.DELETED if one["deleted"] else Lifecycle.ACTIVE,
        )
        store.experiments.add(made, event(EventKind.EXPERIMENT_CREATED, one["id"]))
    for one in told["runs"]:
        run = RunId(one["id"])
        logging.create_run(
            places[one["experiment"]],
            name=one["name"],
            user=one["user"],
            started_at=at(one["started"]),
            tags=one["tags"],
            run=run,
        )
        points = [Metric(key=k, value=float(v), at=at, step=step) for k, v, at, step in one["metrics"]]
        logging.log(run, metrics=points, params=one["params"])
        if one["ended"] is not None:
            logging.update_run(run, status=RunStatus(one["status"].lower()), ended_at=at(one["ended"]))
        for name, digest, context in one["datasets"]:
            tags = {} if context is None else {"mlflow.data.context": context}
            inputs = [DatasetInput(name=name, digest=digest, source_type="local", source="src", tags=tags)]
            logging.log_inputs(run, datasets=inputs)
    for one in told["models"]:
        run = told["runs"][one["run"]]
        model = LoggedModel(
            id=LoggedModelId(one["id"]),
            experiment=places[run["experiment"]],
            name=one["name"],
            created_at=at(one["created"]),
            updated_at=at(one["created"]),
            model_type=one["type"],
            run=RunId(run["id"]),
            params=one["params"],
            tags=one["tags"],
        )
        store.logged_models.add(model, event(EventKind.MODEL_LOGGED, one["id"]))
        for k, v, ms, dataset, digest in one["metrics"]:
            point = Metric(key=k, value=v, at=ms, model=model.id, dataset_name=dataset, dataset_digest=digest)
            logging.log(RunId(run["id"]), metrics=[point])
    for one in told["registered"]:
        made_at = at(one["created"])
        model = RegisteredModel(name=ModelName(one["name"]), created_at=made_at, updated_at=made_at, tags=one["tags"])
        store.registered.create(model, event(EventKind.MODEL_CREATED, one["name"]))
    for n, one in enumerate(told["versions"]):
        version = CatalogVersion(
            model=ModelName(one["name"]),
            number=0,
            source=one["source"],
            location=one["source"],
            created_at=at(one["created"]),
            updated_at=at(one["created"]),
            run=one["run"],
            tags=one["tags"],
        )
        store.registered.add_version(version, lambda _, n=n: event(EventKind.MODEL_REGISTERED, str(n)))
    for one in told["runs"]:
        if one["deleted"]:
            logging.delete_run(RunId(one["id"]))
    return logging


def ask(logging: Logging, store: SqlStore, told: dict[str, list[dict]], query: dict) -> list[str]:
    places = [told["experiments"][n]["id"] for n in query.get("experiments", [])]
    if query["what"] == "registered":
        asked = registered_models_query(query["filter"], order=query["order"], limit=query["limit"])
        return [one.name for one in store.registered.search(asked).items]
    if query["what"] == "versions":
        asked = model_versions_query(query["filter"], order=query["order"], limit=query["limit"])
        return [f"{one.model}/{one.number}" for one in store.registered.search_versions(asked).items]
    if query["what"] == "models":
        read = logged_models_query(
            query["filter"], order=query["order"], datasets=query["datasets"], limit=query["limit"], experiments=places
        )
        return [one.id for one in logging.search_models(read).items]
    view = LifecycleView(query["view"])
    if query["what"] == "experiments":
        asked = experiments_query(query["filter"], order=query["order"], limit=query["limit"], view=view)
        return [one.id for one in logging.search_experiments(asked).items]
    asked = runs_query(query["filter"], order=query["order"], limit=query["limit"], experiments=places, view=view)
    return list(logging.find_runs(asked).items)


def same_text(text: str) -> str:
    """Sets are written in any order there."""
    return re.sub(r"\{[^{}]*\}", lambda found: ", ".join(sorted(found.group()[1:-1].split(", "))), text)


@pytest.mark.parametrize("seed", range(1))
def test_searches_find_and_refuse_what_mlflow_finds_and_refuses(seed: int, tmp_path: Path) -> None:
    peer = find("new")
    if peer is None:
        pytest.skip("SEARCHES WERE NOT HELD AGAINST MLFLOW: python -m tests.mlflow.peers makes its environment")
    store = open_store("sqlite://")  # before MLflow makes its own: both have a default experiment, older than the others
    dice = random.Random(seed)
    made = world(dice)
    asked = queries(dice, 300)
    given = {"folder": str(tmp_path), "world": made, "queries": asked}
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    done = subprocess.run(
        [str(peer), str(ORACLE)],
        input=json.dumps(given),
        env={**plain, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    logging = load(told["world"], store)
    ids = ", ".join(f"'{one['id']}'" for one in told["world"]["runs"][:30])
    wrong, agreed = [], {"found": 0, "refused": 0, "crashed": 0}
    for query, answer in zip(asked, told["answers"], strict=True):
        query["filter"] = str(query["filter"]).replace("RUN_IDS", ids)
        try:
            mine = {"found": ask(logging, store, told["world"], query)}
        except SearchInvalid as error:
            mine = {"code": answer_to(error)[1].error_code, "message": str(error)}
        if "crash" in answer or ("message" in answer and DIFFERS.search(answer["message"])):
            agreed["crashed"] += 1
        elif "found" in answer and mine == answer:
            agreed["found"] += 1
        elif "message" in answer and "message" in mine and same_text(mine["message"]) == same_text(answer["message"]):
            agreed["refused"] += mine["code"] == answer["code"] or pytest.fail(f"{query}: {mine} {answer}")
        else:
            wrong.append((query, answer, mine))
    sys.stdout.write(f"{agreed}\n")
    assert not wrong, f"{len(wrong)} differ; the first:\n" + "\n".join(map(str, wrong[:5]))
    assert agreed["found"] > 250
    assert agreed["refused"] > 80

"""Runs in MLflow's interpreter: load a world into MLflow's own SQLite store, search it, say what was found.

Standard input: {"folder", "world": what is to be held, by kind, "queries": [{"what", "filter", ...}]}. Standard output:
the same world with the ids and times that MLflow gave, and for each query what it found or the error it raised.
"""

import json
import math
import sys
import time

from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    LoggedModelParameter,
    LoggedModelTag,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.entities.run_status import RunStatus
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
VIEWS = {"active": ViewType.ACTIVE_ONLY, "deleted": ViewType.DELETED_ONLY, "all": ViewType.ALL}


def number(value):
    return NUMBERS.get(value, value)


def load(store, world):
    experiments = world["experiments"]
    for one in experiments:
        time.sleep(0.002)  # two of one millisecond would be told apart by their ids alone
        one["id"] = store.create_experiment(one["name"], tags=[ExperimentTag(k, v) for k, v in one["tags"].items()])
        if one["deleted"]:
            store.delete_experiment(one["id"])
    for one in world["runs"]:
        place = experiments[one["experiment"]]["id"]
        tags = [RunTag(k, v) for k, v in one["tags"].items()]
        run = store.create_run(place, one["user"], one["started"], tags, one["name"])
        one["id"] = run.info.run_id
        metrics = [Metric(k, number(v), at, step) for k, v, at, step in one["metrics"]]
        store.log_batch(one["id"], metrics, [Param(k, v) for k, v in one["params"].items()], [])
        if one["ended"] is not None:
            store.update_run_info(one["id"], RunStatus.from_string(one["status"]), one["ended"], None)
        for name, digest, context in one["datasets"]:
            labels = [] if context is None else [InputTag("mlflow.data.context", context)]
            store.log_inputs(one["id"], datasets=[DatasetInput(Dataset(name, digest, "local", "src"), labels)])
        one["tags"] = store.get_run(one["id"]).data.tags
        if one["deleted"]:
            store.delete_run(one["id"])
    for one in world["models"]:
        time.sleep(0.002)
        run = world["runs"][one["run"]]
        model = store.create_logged_model(
            experiment_id=experiments[run["experiment"]]["id"],
            name=one["name"],
            source_run_id=run["id"],
            tags=[LoggedModelTag(k, v) for k, v in one["tags"].items()],
            params=[LoggedModelParameter(k, v) for k, v in one["params"].items()],
            model_type=one["type"],
        )
        one["id"] = model.model_id
        for k, v, at, dataset, digest in one["metrics"]:
            point = Metric(k, v, at, 0, model_id=one["id"], dataset_name=dataset, dataset_digest=digest, run_id=run["id"])
            store.log_batch(run["id"], [point], [], [])
        one["created"] = store.get_logged_model(one["id"]).creation_timestamp
    for one in store.search_experiments(ViewType.ALL):
        found = next((each for each in experiments if each["id"] == one.experiment_id), None)
        if found is not None:
            found["created"], found["updated"] = one.creation_time, one.last_update_time


def load_registry(registry, world):
    for one in world["registered"]:
        time.sleep(0.002)
        made = registry.create_registered_model(one["name"], [RegisteredModelTag(k, v) for k, v in one["tags"].items()])
        one["created"] = made.creation_timestamp
    for one in world["versions"]:
        time.sleep(0.002)
        tags = [ModelVersionTag(k, v) for k, v in one["tags"].items()]
        made = registry.create_model_version(one["name"], one["source"], one["run"], tags)
        one["created"] = made.creation_timestamp


def ask(store, registry, world, query):
    places = [world["experiments"][n]["id"] for n in query.get("experiments", [])]
    ids = ", ".join(f"'{one['id']}'" for one in world["runs"][:30])
    rest = {
        "filter_string": query["filter"].replace("RUN_IDS", ids),
        "max_results": query["limit"],
        "order_by": query["order"],
    }
    if query["what"] == "runs":
        found = store.search_runs(places, run_view_type=VIEWS[query["view"]], **rest)
        return [one.info.run_id for one in found]
    if query["what"] == "experiments":
        return [one.experiment_id for one in store.search_experiments(VIEWS[query["view"]], **rest)]
    if query["what"] == "registered":
        return [one.name for one in registry.search_registered_models(**rest)]
    if query["what"] == "versions":
        return [f"{one.name}/{one.version}" for one in registry.search_model_versions(**rest)]
    found = store.search_logged_models(places, datasets=query["datasets"] or None, **rest)
    return [one.model_id for one in found]


def answer(store, registry, world, query):
    try:
        return {"found": ask(store, registry, world, query)}
    except MlflowException as error:
        return {"code": error.error_code, "message": error.message}
    except Exception as error:  # a crash of its own: nothing to hold anyone to
        return {"crash": repr(error)}


def main():
    given = json.load(sys.stdin)
    store = SqlAlchemyStore(f"sqlite:///{given['folder']}/mlflow.db", "mlflow-artifacts:/")
    registry = Registry(f"sqlite:///{given['folder']}/mlflow.db")
    load(store, given["world"])
    load_registry(registry, given["world"])
    answers = [answer(store, registry, given["world"], query) for query in given["queries"]]
    print("\n" + json.dumps({"world": given["world"], "answers": answers}))


main()

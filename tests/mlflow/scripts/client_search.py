"""The search grammar, page by page, in runs and in experiments."""

import uuid

from mlflow.entities import ViewType

import mlflow

client = mlflow.MlflowClient()
name = f"search {uuid.uuid4().hex[:8]}"
experiment = client.create_experiment(name, tags={"team": "ops"})
runs = []
for number in range(25):
    half = {"half": str(number % 2)}
    run = client.create_run(experiment, run_name=f"run {number:02d}", start_time=1000 + number, tags=half)
    client.log_metric(run.info.run_id, "loss", number / 25)
    client.log_param(run.info.run_id, "model", "Boost" if number % 5 == 0 else "linear")
    client.set_terminated(run.info.run_id, "FINISHED" if number % 3 else "FAILED", 2000 + number)
    runs.append(run.info.run_id)


def search(text="", order=None, **more):
    return [one.info.run_id for one in client.search_runs([experiment], text, order_by=order, **more)]


def numbers(*args, **more):
    return [runs.index(run) for run in search(*args, **more)]


assert numbers("metrics.loss < 0.2", ["metrics.loss ASC"]) == [0, 1, 2, 3, 4]
assert numbers("metrics.loss >= 0.9", ["metrics.loss DESC"]) == [24, 23]
assert sorted(numbers("params.model ILIKE 'boost'")) == [0, 5, 10, 15, 20]
assert sorted(numbers("params.model = 'Boost' and tags.half = '1'")) == [5, 15]
assert numbers("attributes.status = 'FAILED' and metrics.loss > 0.8", ["start_time ASC"]) == [21, 24]
assert numbers("attributes.start_time <= 1002", ["attributes.start_time ASC"]) == [0, 1, 2]
assert numbers("attributes.run_name LIKE 'run 1_'", ["start_time ASC"]) == list(range(10, 20))
assert numbers(f"attributes.run_id IN ('{runs[3]}', '{runs[4]}')", ["start_time ASC"]) == [3, 4]
assert numbers("tags.none = 'x'") == []
assert len(numbers()) == 25

page = client.search_runs([experiment], max_results=10, order_by=["metrics.loss DESC"])
seen = [one.info.run_id for one in page]
while page.token:
    page = client.search_runs([experiment], max_results=10, order_by=["metrics.loss DESC"], page_token=page.token)
    seen += [one.info.run_id for one in page]
assert seen == list(reversed(runs))

client.delete_run(runs[0])
assert runs[0] not in search()
assert search(run_view_type=ViewType.DELETED_ONLY) == [runs[0]]
assert len(search(run_view_type=ViewType.ALL)) == 25
for wrong in ("metrics.loss << 1", "nonsense", "params.model > 3", "metrics.loss = 'x'"):
    code = ""
    try:
        search(wrong)
    except mlflow.exceptions.MlflowException as error:
        code = error.error_code
    assert code == "INVALID_PARAMETER_VALUE", (wrong, code)

found = client.search_experiments(filter_string=f"name = '{name}'")
assert [one.experiment_id for one in found] == [experiment]
assert [one.experiment_id for one in client.search_experiments(filter_string=f"name LIKE '{name[:-2]}%'")] == [experiment]
tagged = client.search_experiments(filter_string="tags.team = 'ops'", order_by=["creation_time DESC"])
assert experiment in [one.experiment_id for one in tagged]

frame = mlflow.search_runs([experiment], "metrics.loss > 0.5", order_by=["metrics.loss DESC"])
assert list(frame["metrics.loss"]) == [number / 25 for number in range(24, 12, -1)]
assert set(frame["params.model"]) == {"linear", "Boost"}
print("done")

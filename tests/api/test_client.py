"""Kedge's own client, embedded and against a real control plane: the same script, the same runs."""

import asyncio
import io
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import polars as pl
import pyarrow as pa
import pytest
from tests.mlflow.conftest import Up

import kedge
from kedge.client.process import PROCESS
from kedge.domain.ids import DEFAULT_EXPERIMENT, RunId
from kedge.domain.tracking import LoggedModelStatus, RunStatus
from kedge.errors import ConfigError, KedgeError, NotFound, ParamChanged, RequestInvalid
from kedge.records import open_records
from kedge.settings import settings

mpl.use("agg")
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    server = Up(tmp_path_factory.mktemp("up"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["embedded", "http"])
def where(request, tmp_path):
    """Give where to log to, and the settings of the store that is behind it."""
    if request.param == "embedded":
        store = str(tmp_path / "store")
        return {"store": store}, settings(tmp_path, store=store, server="")
    server = request.getfixturevalue("up")
    return {"url": server.url}, settings(server.folder, store=str(server.folder / ".kedge"), server="")


@pytest.fixture
def place(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDGE_STORE", raising=False)
    monkeypatch.delenv("KEDGE_URL", raising=False)
    return where[0]


@pytest.fixture
def records(where):
    opened = open_records(where[1])
    yield opened
    opened.close()


def detail(records, run):
    return records.logging.get_run(RunId(run.id))


def files(records, owner) -> dict[str, bytes]:
    found = records.artifacts.walk(owner)
    return {one.path: b"".join(records.artifacts.read(one)) for one in found}


def test_a_run_arrives_whole(place, records) -> None:
    with kedge.run("flights", name="first", params={"rate": 0.1, "model": {"depth": 3}}, tags={"team": "a"}, **place) as run:
        for epoch in range(5):
            kedge.log({"loss": 1 / (epoch + 1)}, accuracy=epoch / 10)
        kedge.log(late=2.0, step=40)
        kedge.set_tags(stage="trial")
    found = detail(records, run).run
    assert (found.name, found.status, found.lifecycle.value) == ("first", RunStatus.FINISHED, "active")
    assert found.ended_at >= found.started_at
    assert records.logging.get_experiment(found.experiment).name == "flights"
    assert found.params == {"rate": "0.1", "model.depth": "3"}
    assert {key: found.metrics[key] for key in ("loss", "accuracy", "late")} == {"loss": 0.2, "accuracy": 0.4, "late": 2.0}
    assert {"team": "a", "stage": "trial"}.items() <= found.tags.items()
    points = records.logging.history(found.id, "loss", limit=100).items
    assert [(step, value) for _, step, value in points] == [(n, 1 / (n + 1)) for n in range(5)]
    assert records.logging.history(found.id, "late", limit=100).items[0][1] == 40


def test_odd_numbers_survive(place, records) -> None:
    values = [math.nan, math.inf, -math.inf, 0.0, 5e-324, 1.7976931348623157e308]
    with kedge.run("odd", system_metrics=False, **place) as run:
        for value in values:
            kedge.log(x=value)
    history = kedge.history(run, "x")
    assert sorted(map(repr, history.values)) == sorted(map(repr, values))
    assert list(history.steps) == list(range(len(values)))


def test_a_history_is_read_by_page_and_in_order(place, monkeypatch) -> None:
    monkeypatch.setattr("kedge.client.reading._AT_ONCE", 1000)
    with kedge.run("long", system_metrics=False, **place) as run:
        for step in range(3500):
            run.log(x=float(step))
    history = kedge.history(run.id, "x", **place)
    assert list(history.steps) == list(range(3500))
    assert list(history.values) == [float(step) for step in range(3500)]
    with pytest.raises(NotFound):
        kedge.history("f" * 32, "x", **place)


def test_an_exception_fails_the_run_and_passes_through(place, records) -> None:
    run = kedge.run("flights", **place)
    with pytest.raises(ZeroDivisionError), run:
        kedge.log(x=1.0 / len(""))
    found = detail(records, run).run
    assert found.status is RunStatus.FAILED
    assert found.tags["kedge.error"].startswith("ZeroDivisionError")
    assert kedge.active_run() is None


def test_an_interrupt_kills_the_run(place, records) -> None:
    with pytest.raises(KeyboardInterrupt), kedge.run("flights", **place) as run:
        raise KeyboardInterrupt
    assert detail(records, run).run.status is RunStatus.KILLED


def test_a_decorated_function_is_a_run_each_time(place, records) -> None:
    made = []

    @kedge.run("search", **place)
    def train(rate: float) -> float:
        made.append(kedge.active_run())
        kedge.log_params(rate=rate)
        return rate * 2

    @kedge.run("search", **place)
    async def train_later() -> int:
        made.append(kedge.active_run())
        await asyncio.sleep(0)
        return 3

    assert (train(0.1), train(0.2), asyncio.run(train_later())) == (0.2, 0.4, 3)
    assert len({run.id for run in made}) == 3
    found = [detail(records, run).run for run in made]
    assert [(run.name, run.params, run.status) for run in found] == [
        ("train", {"rate": "0.1"}, RunStatus.FINISHED),
        ("train", {"rate": "0.2"}, RunStatus.FINISHED),
        ("train_later", {}, RunStatus.FINISHED),
    ]


def test_runs_within_runs_know_their_parent(place, records) -> None:
    with kedge.run("search", **place) as outer:
        with kedge.run("search", **place) as inner:
            kedge.log(x=1.0)
        with kedge.run("search", nested=False, **place) as apart:
            pass
        kedge.log(y=2.0)
    with kedge.run("search", parent=outer, **place) as later:
        pass
    tags = [detail(records, run).run.tags.get("mlflow.parentRunId") for run in (outer, inner, apart, later)]
    assert tags == [None, outer.id, None, outer.id]
    assert "x" not in detail(records, outer).run.metrics
    assert detail(records, outer).run.metrics["y"] == 2.0


def test_a_run_may_be_begun_and_ended_by_hand_and_taken_up_again(place, records) -> None:
    run = kedge.run("flights", **place).start()
    run.log(x=1.0)
    with pytest.raises(KedgeError, match="open already"):
        run.start()
    run.end("killed")
    run.end()
    assert detail(records, run).run.status is RunStatus.KILLED
    with pytest.raises(KedgeError, match="not open"):
        run.log(x=2.0)
    with kedge.run("flights", id=run.id, **place) as again:
        again.log(x=3.0, step=1)
    assert detail(records, run).run.status is RunStatus.FINISHED
    assert list(kedge.history(run, "x").values) == [1.0, 3.0]


def test_a_run_of_a_deleted_experiment_is_kept_and_says_where_it_belongs(place, records) -> None:
    home = records.logging.ensure_experiment("given up")
    records.logging.delete_experiment(home.id)
    with kedge.run("given up", system_metrics=False, tags={"a": "b"}, **place) as run:
        run.log(x=1.0)
    found = detail(records, run).run
    assert (found.experiment, found.tags["kedge.experiment"], found.tags["a"]) == (DEFAULT_EXPERIMENT, "given up", "b")
    with kedge.run("another", id=run.id, system_metrics=False, **place) as again:
        again.log(x=2.0, step=1)
    assert detail(records, run).run.experiment == DEFAULT_EXPERIMENT, "taken up where it is"
    assert list(kedge.history(run, "x").values) == [1.0, 2.0]


def test_params_with_secret_names_are_hidden(place, records) -> None:
    with kedge.run("flights", params={"db": {"password": "hunter2"}}, system_metrics=False, **place) as run:
        run.log_params(api_key="abc", max_tokens=5)
    assert detail(records, run).run.params == {"db.password": "***", "api_key": "***", "max_tokens": "5"}


def test_outside_of_a_run_there_is_one_clear_error() -> None:
    for call in (lambda: kedge.log(x=1), lambda: kedge.log_params(x=1), lambda: kedge.log_artifact("x")):
        with pytest.raises(KedgeError, match=r"with kedge\.run"):
            call()


def test_a_param_never_changes(place) -> None:
    with kedge.run("flights", params={"rate": 1}, **place):
        kedge.log_params(rate=1)
        with pytest.raises(ParamChanged, match="rate"):
            kedge.log_params(rate=2)


def test_threads_log_to_the_run_that_is_open(place) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with kedge.run("threads", system_metrics=False, **place) as run, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: kedge.log(x=float(n)), range(2000)))
    history = kedge.history(run, "x")
    assert sorted(history.values) == [float(n) for n in range(2000)]
    assert sorted(history.steps) == list(range(2000))


def test_files_figures_tables_and_datasets_arrive(place, records, tmp_path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "a.txt").write_text("a")
    (tmp_path / "out" / "deep" / "b ü.bin").write_bytes(bytes(range(256)) * 9000)
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    columns = {"n": [1, 2], "s": ["x", "y"]}
    tables = {"pandas": pd.DataFrame(columns), "polars": pl.DataFrame(columns), "arrow": pa.table(columns), "dicts": columns}
    with kedge.run("things", system_metrics=False, **place) as run:
        kedge.log_artifact(tmp_path / "out", "kept")
        kedge.log_artifact("out/a.txt")
        (tmp_path / "out" / "a.txt").write_text("changed later")
        kedge.log_figure(figure, "plots/line.png")
        kedge.log_figure(go.Figure(go.Bar(y=[1, 2])), "plots/bars.json")
        for name, table in tables.items():
            kedge.log_table(table, f"tables/{name}.parquet")
        kedge.log_table(columns, "tables/n.csv")
        digests = {kedge.log_dataset(table, "flights", context="training").digest for table in tables.values()}
        kedge.log_dataset("out/deep/b ü.bin", "raw")
    found = files(records, run.id)
    assert found["kept/out/a.txt"] == found["a.txt"] == b"a"
    assert found["kept/out/deep/b ü.bin"] == bytes(range(256)) * 9000
    assert found["plots/line.png"].startswith(b"\x89PNG")
    assert json.loads(found["plots/bars.json"])["data"][0]["type"] == "bar"
    for name in tables:
        assert pl.read_parquet(io.BytesIO(found[f"tables/{name}.parquet"])).to_dict(as_series=False) == columns
    assert found["tables/n.csv"] == b"n,s\n1,x\n2,y\n"
    assert len(digests) == 1, "the same rows are the same dataset, whoever holds them"
    datasets = {one.name: one for one in detail(records, run).datasets}
    assert json.loads(datasets["flights"].profile) == {"num_rows": 2, "num_columns": 2}
    assert datasets["flights"].tags == {"mlflow.data.context": "training"}
    assert datasets["raw"].source_type == "file"


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.log(loss="much"),
        lambda run: run.log({"": 1.0}),
        lambda run: run.log(x=1.0, step=1.5),
        lambda run: run.log(x=1.0, step=2**70),
        lambda run: kedge.run("bad", id="a b"),
        lambda run: kedge.run(""),
        lambda run: kedge.run(None),
        lambda run: kedge.run("bad", name="x" * 600),
        lambda run: kedge.run("bad", seed="x"),
        lambda run: kedge.run("bad", seed=-1),
        lambda run: kedge.run("bad", params=[1, 2]),
        lambda run: run.log(x=1.0, at="noon"),
        lambda run: run.log_artifact("/nowhere/at/all"),
        lambda run: run.log_figure("no figure"),
        lambda run: run.log_table(object()),
        lambda run: run.log_table({"a": [1]}, "table.xlsx"),
        lambda run: run.log_dataset("/nowhere"),
        lambda run: run.log_model(object()),
        lambda run: run.log_params({"x" * 300: 1}),
    ],
)
def test_bad_input_is_refused_at_the_call_and_the_run_goes_on(place, records, call) -> None:
    with kedge.run("bad", system_metrics=False, **place) as run:
        with pytest.raises(RequestInvalid):
            call(run)
        run.log(after=1.0)
    assert detail(records, run).run.metrics == {"after": 1.0}


@pytest.mark.parametrize("url", ["foo", "http://", "ftp://127.0.0.1", "http://127.0.0.1:99999", "http://a:b@127.0.0.1:1"])
def test_an_address_that_is_none_is_refused_before_anything_is_logged(url) -> None:
    with pytest.raises(ConfigError, match="http://HOST:PORT"):
        kedge.run("bad", url=url)


def test_a_model_is_kept_in_a_safe_format(place, records) -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1])
    with kedge.run("models", system_metrics=False, **place) as run:
        id = kedge.log_model(model, "late or not", step=3)
    kept = records.logging.get_model(id)
    assert (kept.name, kept.status, kept.run) == ("late or not", LoggedModelStatus.READY, run.id)
    assert files(records, id)
    assert [(one.model, one.step) for one in detail(records, run).models_out] == [(id, 3)]


def test_a_run_says_what_it_was_and_hides_secrets(place, records, tmp_path) -> None:
    """In a script of its own, within a repository whose files differ from the commit."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    script = tmp_path / "train.py"
    script.write_text("password = 'before'\n")
    subprocess.run([*git, "init", "-q", "-b", "trunk"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    script.write_text(
        textwrap.dedent(f"""
        import kedge
        password = 'hunter2hunter2'
        with kedge.run("told", seed=5, id="{"c" * 31}{"0" if "store" in place else "1"}", **{place!r}):
            kedge.log(x=1)
        """)
    )
    command = [sys.executable, str(script), "--api-key=sk-abcdefghijklmnopqrstuvwx"]
    subprocess.run(command, check=True, env=ENVIRONMENT, cwd=tmp_path)
    id = RunId("c" * 31 + ("0" if "store" in place else "1"))
    tags = records.logging.get_run(id).run.tags
    assert tags["mlflow.source.git.commit"] == commit
    assert (tags["kedge.git.branch"], tags["kedge.git.dirty"], tags["kedge.seed"]) == ("trunk", "true", "5")
    assert "train.py" in tags["kedge.command"]
    assert "abcdefghijklmnop" not in tags["kedge.command"]
    kept = files(records, id)
    assert b"msgspec==" in kept["environment/packages.txt"]
    assert b"+import kedge" in kept["source/diff.patch"]
    assert b"hunter2" not in kept["source/diff.patch"]


def test_the_machine_is_sampled(place, records, monkeypatch) -> None:
    monkeypatch.setattr("kedge.client.sampling.FIRST_SECONDS", 0.01)
    with kedge.run("machine", **place) as run:
        for _ in range(3000):
            if "system/cpu_utilization_percentage" in run._keys:
                break
            run.flush()
    metrics = detail(records, run).run.metrics
    assert 0 < metrics["system/system_memory_usage_percentage"] <= 100
    assert metrics["system/process_memory_usage_megabytes"] > 1


def test_the_address_and_the_store_come_from_the_environment(tmp_path, monkeypatch, up) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEDGE_URL", up.url)
    monkeypatch.setenv("KEDGE_STORE", str(tmp_path / "elsewhere"))
    assert kedge.run().settings.server == up.url
    assert kedge.run(store="here").settings.server == ""
    monkeypatch.delenv("KEDGE_URL")
    assert kedge.run().settings.store == str(tmp_path / "elsewhere")
    with pytest.raises(KedgeError, match="not to both"):
        kedge.run(store="here", url="http://127.0.0.1:1")


def test_a_wrong_token_keeps_the_run_in_the_spool_and_a_right_one_sends_it(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    token = "kedge_abcdefghijklmnopqrstuvwxyz0123456789"
    server = Up(tmp_path, KEDGE_TOKEN=token)
    server.start()
    try:
        monkeypatch.setenv("KEDGE_TOKEN", "kedge_something_else_entirely_9876543210")
        with kedge.run("guarded", url=server.url, wait_seconds=5, system_metrics=False) as run:
            kedge.log(x=1.0)
        assert "answers 401" in caplog.text
        PROCESS.end_all(RunStatus.FINISHED)
        PROCESS._channels.clear()
        monkeypatch.setenv("KEDGE_TOKEN", token)
        sync = [sys.executable, "-m", "kedge", "runs", "sync", "--url", server.url, "--json"]
        told = subprocess.run(sync, check=True, capture_output=True, text=True, env=ENVIRONMENT | {"KEDGE_TOKEN": token})
        assert json.loads(told.stdout)["waiting"] == 0
        assert json.loads(told.stdout)["sent"] > 0
        assert list(kedge.history(run.id, "x", url=server.url).values) == [1.0]
    finally:
        server.stop()


def test_native_writes_take_json_and_refuse_what_does_not_fit(up) -> None:
    run = "d" * 32
    began = {"run": run, "started_at": "2026-01-01T00:00:00Z", "experiment": "by hand", "params": {"a": "1"}}
    for _ in range(2):
        status, told = up.ask("POST", f"/api/v1/runs/{run}/begin", began)
        assert (status, told["run"]["id"], told["run"]["params"]) == (201, run, {"a": "1"})
    points = [["loss", 0.5, 1000, 0], ["loss", "NaN", 1001, 1], ["loss", "-Infinity", 1002, 2]]
    for _ in range(2):
        assert up.ask("POST", f"/api/v1/runs/{run}/log", {"points": points, "tags": {"t": "u"}}) == (202, {"points": 3})
    status, told = up.ask("GET", f"/api/v1/runs/{run}/history?key=loss&limit=2")
    assert (status, told["at"], told["steps"], told["values"]) == (200, [1000, 1001], [0, 1], [0.5, "NaN"])
    status, told = up.ask("GET", f"/api/v1/runs/{run}/history?key=loss&limit=2&page={told['next']}")
    assert (told["values"], told["next"]) == (["-Infinity"], "")
    for path, body in [
        (f"/api/v1/runs/{run}/log", {"points": [["loss", "abc", 1, 0]]}),
        (f"/api/v1/runs/{run}/log", {"points": [["loss", 1.0, 1.5, 0]]}),
        (f"/api/v1/runs/{run}/log", {"points": [["loss", 1.0, 2**70, 0]]}),
        (f"/api/v1/runs/{run}/log", {"points": [["", 1.0, 1, 0]]}),
        (f"/api/v1/runs/{run}/log", {"metrics": []}),
        (f"/api/v1/runs/{run}/log", {"params": {"x": 1}}),
        (f"/api/v1/runs/{run}/log", b"\xff\xfe"),
        (f"/api/v1/runs/{run}/end", {"run": "e" * 32, "ended_at": "2026-01-01T00:00:00Z"}),
        (f"/api/v1/runs/{run}/end", {"run": run, "ended_at": "2026-01-01T00:00:00Z", "status": "gone"}),
        (f"/api/v1/runs/{run}/models", {"run": run, "model": "../../etc", "name": "m"}),
        (f"/api/v1/runs/{run}/begin", {"run": run}),
    ]:
        status, told = up.ask("POST", path, body)
        assert (status, told["error"]["code"]) == (400, "request_invalid"), (path, body)
    assert up.ask("POST", f"/api/v1/runs/{'e' * 32}/log", {"tags": {"a": "b"}})[0] == 404
    assert up.ask("POST", f"/api/v1/runs/{run}/log", {"params": {"a": "2"}})[1]["error"]["code"] == "param_changed"
    assert up.ask("GET", f"/api/v1/runs/{run}/history?key=loss&page=rubbish")[0] == 400
    assert up.ask("GET", f"/api/v1/runs/{run}/history?key=loss&limit=1000000")[0] == 400
    status, told = up.ask("POST", f"/api/v1/runs/{run}/end", {"run": run, "ended_at": "2026-01-02T00:00:00Z"})
    assert (status, told["run"]["status"]) == (200, "finished")


def test_packed_bodies_are_for_the_tracking_routes_only(up) -> None:
    packed = {"content-type": "application/msgpack"}
    assert up.ask("POST", "/api/v1/ground-truth", b"\x80", **packed)[0] == 415
    assert up.ask("POST", f"/api/v1/runs/{'e' * 32}/log", b"\x80", **packed)[0] == 404
    assert up.ask("POST", f"/api/v1/runs/{'e' * 32}/log", b"{}", **{"content-type": "text/plain"})[0] == 415


def test_the_command_lists_shows_and_compares(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = str(tmp_path / "store")
    with kedge.run("flights", name="one", params={"rate": 1, "same": 0}, store=store, system_metrics=False) as one:
        kedge.log(loss=0.5)
    with kedge.run("other", name="two", params={"rate": 2, "same": 0}, store=store, system_metrics=False) as two:
        kedge.log(loss=0.25)

    def asked(*words):
        command = [sys.executable, "-m", "kedge", "runs", *words, "--store", store]
        return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)

    assert [run["name"] for run in json.loads(asked("list", "--json").stdout)] == ["two", "one"]
    assert [run["name"] for run in json.loads(asked("list", "--json", "--experiment", "flights").stdout)] == ["one"]
    assert [run["name"] for run in json.loads(asked("list", "--json", "--filter", "metrics.loss < 0.3").stdout)] == ["two"]
    assert json.loads(asked("show", one.id[:10], "--json").stdout)["run"]["id"] == one.id
    assert "there is no experiment" in asked("list", "--experiment", "nothing").stderr
    assert "rate" in asked("show", one.id).stdout
    told = json.loads(asked("compare", one.id, two.id, "--json").stdout)
    assert told["differences"] == {"metric loss": ["0.5", "0.25"], "param rate": ["1", "2"]}
    assert "0.25" in asked("compare", one.id, two.id).stdout
    assert asked("show", "nothing").returncode == 1
    elsewhere = ENVIRONMENT | {"KEDGE_URL": "http://127.0.0.1:1", "KEDGE_STORE": store}
    told = subprocess.run([sys.executable, "-m", "kedge", "runs", "list"], capture_output=True, text=True, env=elsewhere)
    assert "http://127.0.0.1:1/experiments" in told.stderr
    assert json.loads(asked("sync", "--json").stdout) == {"sent": 0, "waiting": 0, "why": ""}

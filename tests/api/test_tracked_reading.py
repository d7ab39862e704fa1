"""What the pages and the API say of experiments, runs and comparisons; what forms do to them."""

import re
from types import SimpleNamespace

import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse
from tests.ui.tracked import write_runs

from kedge.domain.events import EventKind
from kedge.domain.finding import Subject
from kedge.domain.ids import RunId
from kedge.domain.overview import RunKey
from kedge.domain.tracking import Lifecycle, RunKeys
from kedge.errors import RequestInvalid
from kedge.registry.catalog import Offered
from kedge.server.application import application
from kedge.server.forms import changes, labels_of, lines_of
from kedge.server.reading.compare import CompareAsked, compare_page
from kedge.server.reading.curves import curves
from kedge.server.reading.experiments import experiments_page
from kedge.server.reading.looking import filter_of
from kedge.server.reading.run import run_page
from kedge.server.reading.table import (
    TableAsked,
    choice,
    default_columns,
    key_of,
    keys_of,
    name_of,
    runs_table,
    sort_of,
)
from kedge.storage.sql import open_store

PAGE = {"accept": "text/html"}


@pytest.fixture(scope="module")
def world():
    house = FilledHouse(open_store("sqlite://"))
    home = write_runs(house.logging, house.artifacts)
    return SimpleNamespace(house=house, home=home, experiments=(house.logging.get_experiment(home),))


@pytest.fixture(scope="module")
def client(world):
    with TestClient(application(world.house), base_url="http://127.0.0.1") as made:
        yield made


def table(world, **asked):
    return runs_table(world.house, world.experiments, asked=TableAsked(**asked))


def test_a_table_reads_only_the_chosen_columns_page_by_page(world):
    first = table(world, columns=("metrics.loss", "params.model"), order="metrics.loss ASC", limit=25)
    assert (first.say, first.sub, first.found, first.all) == ("60 runs", "1 running, 5 failed", 60, 60)
    assert [column.name for column in first.columns] == ["metrics.loss", "params.model"]
    assert (first.columns[0].order, first.columns[0].number, first.columns[1].number) == ("ascending", True, False)
    losses = [row.values[0] for row in first.rows]
    assert losses == sorted(losses)
    assert (first.columns[0].low, first.columns[0].high) == (losses[0], losses[-1])
    second = table(world, columns=("metrics.loss",), order="metrics.loss ASC", limit=25, page=first.next)
    assert second.rows[0].values[0] >= losses[-1]
    assert not {row.id for row in first.rows} & {row.id for row in second.rows}


def test_a_filter_counts_what_it_finds(world):
    found = table(world, filter="params.model = 'tree' AND metrics.loss < 0.4")
    assert found.say == f"{found.found} of 60 runs"
    assert 0 < found.found < 60
    assert {row.values[[c.name for c in found.columns].index("params.model")] for row in found.rows} == {"tree"}


def test_plain_words_look_for_a_part_of_a_name(world):
    assert filter_of("  brisk   heron ", name="run_name") == "run_name ILIKE '%brisk heron%'"
    assert filter_of("this is it") == "name ILIKE '%this is it%'"
    for said in ("", "metrics.loss < 1", "tags.team IS NULL", "tags.team is not  null"):
        assert filter_of(said) == " ".join(said.split())
    assert all("brisk" in row.name for row in table(world, filter="brisk").rows)


@pytest.mark.parametrize("key", ["loss", "val/loss", "values", "from", "in", "case", "desc"])
def test_a_column_is_sorted_whatever_its_name(world, key):
    assert not table(world, order=f"{sort_of(RunKey(Subject.METRIC, key))} DESC").fault


def test_a_filter_that_cannot_be_read_says_so_and_shows_no_rows(world):
    broken = table(world, filter="metrics.loss <")
    assert broken.fault
    assert broken.rows == ()
    with pytest.raises(RequestInvalid, match=r"metrics\.KEY"):
        table(world, columns=("loss",))


def test_names_of_columns_are_read_and_written():
    odd = RunKey(Subject.METRIC, "val/acc")
    assert (key_of("metrics.val/acc"), name_of(odd), sort_of(odd)) == (odd, "metrics.val/acc", "metrics.`val/acc`")
    assert sort_of(RunKey(Subject.PARAM, "a`b")) == 'params."a`b"'
    assert sort_of(RunKey(Subject.PARAM, '`"')) == 'params.`"'
    known = keys_of(RunKeys(metrics=("loss", "system/cpu"), params=("lr",), tags=("mlflow.user", "team")))
    assert [name_of(one) for one in known] == ["metrics.loss", "metrics.system/cpu", "params.lr", "tags.team"]
    assert [name_of(one) for one in default_columns(known)] == ["metrics.loss", "params.lr"]


def test_columns_are_found_by_words(world):
    asked = TableAsked(columns=("metrics.loss",))
    found = choice(world.house, world.experiments, asked=asked, look="ACC val")
    assert (found.chosen, found.metrics, found.params) == (("metrics.loss",), ("metrics.val/accuracy",), ())


def test_a_course_is_thinned_and_keeps_its_extremes(world):
    run = newest(world)
    whole = world.house.logging.history(run, "long", limit=10_000).items
    (thin,) = curves(world.house, [run], keys=["long"], count=100).curves
    assert (thin.points, len(thin.steps) <= 110) == (5000, True)
    values = [value for _, _, value in whole]
    assert (min(values) in thin.values, max(values) in thin.values) == (True, True)
    (near,) = curves(world.house, [run], keys=["long"], count=1000, start=100, end=199).curves
    assert (near.steps[0], near.steps[-1], len(near.steps)) == (100, 199, 100)
    (broken,) = curves(world.house, [run], keys=["broken"]).curves
    assert broken.values == (None,)


def newest(world) -> RunId:
    return table(world, limit=1).rows[0].id


def test_a_run_says_what_became_of_it_and_what_it_was_made_of(world):
    page = run_page(world.house, newest(world))
    assert page.verdict.say == "bold-wren-59 has been running for 35 h."
    assert page.alive
    assert {one.key: one.text for one in page.metrics}["broken"] == "NaN"
    assert [one.key for one in page.system] == ["system/cpu_percent", "system/disk_percent", "system/memory_mb"]
    assert [(one.name, one.context, one.source) for one in page.datasets] == [("flights", "training", "local: flights.csv")]
    assert [one.name for one in page.models_out] == ["boosted"]
    assert page.tags == {"team": "flights"}
    assert ("Command", "python train.py --seed 7") in [(fact.name, fact.text) for fact in page.facts]


def test_nested_runs_know_each_other(world):
    child = next(row for row in table(world).rows if row.parent)
    assert child.id in [one.id for one in run_page(world.house, RunId(child.parent)).children]
    assert run_page(world.house, child.id).parent.id == child.parent


def test_a_comparison_marks_what_differs(world):
    runs = tuple(row.id for row in table(world, limit=4).rows)
    page = compare_page(world.house, CompareAsked(runs=runs))
    by_name = {one.name: one for one in page.differences}
    assert by_name["params.lr"].differs
    assert not by_name["params.note"].differs
    assert by_name["params.lr"].spread == pytest.approx(0.09)
    assert page.metric == "loss"
    assert {curve.run for curve in page.curves} == set(runs)
    assert by_name["metrics.broken"].values == ("NaN",) * 4
    with pytest.raises(RequestInvalid, match="2 to 50"):
        compare_page(world.house, CompareAsked(runs=runs[:1]))


def test_experiments_are_listed_with_what_happened_in_them(world):
    page = experiments_page(world.house)
    assert (page.experiments[0].name, page.experiments[0].runs, page.experiments[0].word) == (
        "delay of flights",
        60,
        "1 running",
    )
    assert {one.word for one in page.experiments[1:]} == {"no runs"}
    assert [one.name for one in experiments_page(world.house, look="idea").experiments] == ["an idea"]
    assert experiments_page(world.house, look="name <").fault


def test_the_api_carries_what_the_pages_show(client, world):
    got = client.get("/api/v1/runs", params={"experiment": world.home, "column": ["metrics.loss"], "limit": 2}).json()
    assert len(got["rows"]) == 2
    assert [column["name"] for column in got["columns"]] == ["metrics.loss"]
    run, other = (row["id"] for row in got["rows"])
    assert client.get(f"/api/v1/runs/{run}").json()["run"]["id"] == run
    lines = client.get("/api/v1/curves", params={"run": [run, other], "key": "loss", "count": 20}).json()["curves"]
    assert {line["run"] for line in lines} == {run, other}
    assert client.get("/api/v1/compare", params={"run": [run, other]}).json()["differing"] > 0
    assert client.get(f"/api/v1/experiments/{world.home}").json()["count"]["runs"] == 60
    assert "metrics.loss" in client.get("/api/v1/columns", params={"experiment": world.home}).json()["chosen"]
    assert client.get("/api/v1/experiments").json()["experiments"][0]["runs"] == 60


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/runs?q=metrics.loss+%3C", 400),
        ("/api/v1/runs?page=garbage", 400),
        ("/api/v1/runs?column=loss", 400),
        ("/api/v1/runs?experiment=nothing", 404),
        ("/api/v1/runs/nothing", 404),
        ("/api/v1/curves", 400),
        ("/api/v1/compare?run=nothing", 400),
        ("/api/v1/compare?run=nothing&run=else", 404),
        ("/runs/nothing", 404),
        ("/compare", 400),
        ("/experiments/nothing", 404),
    ],
)
def test_what_cannot_be_is_refused(client, path, status):
    assert client.get(path).status_code == status


def sent(client, path, **fields):
    page = client.get(path, headers=PAGE)
    assert page.status_code == 200, path
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    return client.post(path.partition("?")[0], data={**hidden, **fields}, follow_redirects=False)


def test_an_experiment_is_made_renamed_deleted_and_restored(client, world):
    made = sent(client, "/experiments/new", name="by hand", note="to try")
    assert made.status_code == 303
    home = made.headers["location"]
    name = home.rpartition("/")[2]
    assert sent(client, f"{home}/edit", name="by hand 2", note="tried", tags="team = a\nx=1").status_code == 303
    found = world.house.logging.get_experiment(name)
    assert (found.name, found.tags) == ("by hand 2", {"mlflow.note.content": "tried", "team": "a", "x": "1"})
    assert sent(client, f"{home}/edit", name="by hand 2", note="", tags="team = b").status_code == 303
    assert world.house.logging.get_experiment(name).tags == {"team": "b"}
    assert sent(client, f"{home}/edit", name="delay of flights", tags="").status_code == 409
    assert sent(client, f"{home}/edit", name="by hand 2", tags="no equals sign").status_code == 409
    assert sent(client, f"{home}/delete").status_code == 303
    assert world.house.logging.get_experiment(name).lifecycle is Lifecycle.DELETED
    assert "Restore the experiment" in client.get(home, headers=PAGE).text
    assert sent(client, f"{home}/restore").status_code == 303
    assert world.house.logging.get_experiment(name).lifecycle is Lifecycle.ACTIVE


def test_runs_are_edited_deleted_and_restored(client, world):
    first, second = (row.id for row in table(world, limit=3).rows[1:])
    assert sent(client, f"/runs/{first}/edit", name="a better name", note="good", tags="team = a").status_code == 303
    run = world.house.logging.get_run(first).run
    assert (run.name, run.tags["team"], run.tags["mlflow.note.content"]) == ("a better name", "a", "good")
    assert run.tags["mlflow.source.name"] == "train.py"
    ((_, event),) = world.house.meta.events.list(limit=1)
    assert (event.kind, event.actor) == (EventKind.RUN_RENAMED, "person:local")
    assert sent(client, f"/runs/delete?run={first}&run={second}").status_code == 303
    assert world.house.logging.get_run(second).run.lifecycle is Lifecycle.DELETED
    assert table(world, deleted=True).found == 2
    assert sent(client, f"/runs/delete?run={first}&run={second}&restore=1").status_code == 303
    assert table(world, deleted=True).found == 0


def test_a_form_from_elsewhere_changes_nothing(client, world):
    refused = client.post("/experiments/new", data={"name": "stolen", "token": "x"}, follow_redirects=False)
    assert refused.status_code == 403
    assert world.house.logging.find_experiment("stolen") is None


def test_the_search_box_goes_to_a_model_registered_by_hand_and_to_its_version(client, world):
    run = newest(world)
    world.house.catalog.create("found", actor="person:ada")
    world.house.catalog.register("found", Offered(source=f"runs:/{run}/model", run=run), actor="person:ada")

    def going(asked):
        return client.get("/find", params={"q": asked}, follow_redirects=False).headers.get("location")

    assert [going(asked) for asked in ("found", "found@1", "found@v1")] == [
        "/models/found",
        "/models/found/versions/1",
        "/models/found/versions/1",
    ]
    assert going("found@2") is None
    world.house.catalog.delete("found", actor="person:ada")
    assert going("found") is None


def test_a_model_is_registered_moved_and_archived_by_hand(client, world):
    assert sent(client, "/models/new", name="hours", note="Hours of delay").headers["location"] == "/models/hours"
    run = newest(world)
    for _ in range(2):
        world.house.catalog.register("hours", Offered(source=f"runs:/{run}/model", run=run), actor="person:ada")
    assert sent(client, "/models/hours/promote?version=1", name="hours v2", reason="first").status_code == 422
    for number in (1, 2):
        path = f"/models/hours/promote?version={number}"
        assert sent(client, path, name=f"hours v{number}", reason="looks good").status_code == 303
    page = client.get("/models/hours", headers=PAGE).text
    assert "v2 is champion; nothing of this model is deployed." in page
    assert "champion moved to" in page
    assert sent(client, "/models/hours/roll-back", name="hours v2", reason="worse on Monday").status_code == 303
    assert world.house.catalog.by_alias("hours", "champion").number == 1
    assert sent(client, "/models/hours/alias", alias="best", version="v2", reason="to try").status_code == 303
    assert sent(client, "/models/hours/alias", alias="best", version="two", reason="to try").status_code == 409
    assert sent(client, "/models/hours/versions/2/stage", stage="Staging", reason="to try").status_code == 303
    assert sent(client, "/models/hours/versions/2/edit", note="second", tags="a = b").status_code == 303
    version = world.house.catalog.version("hours", 2)
    assert (version.description, version.tags["a"], version.stage.value, version.aliases) == (
        "second",
        "b",
        "Staging",
        ("best",),
    )
    assert sent(client, "/models/hours/versions/2/archive", reason="done with it").status_code == 303
    assert world.house.catalog.version("hours", 2).aliases == ()
    assert "v2 is archived." in client.get("/models/hours/versions/2", headers=PAGE).text
    assert '/models/hours/versions/1">hours v1</a>' in client.get(f"/runs/{run}", headers=PAGE).text
    assert sent(client, "/models/hours/edit", model_name="hours of delay", note="x", tags="").status_code == 303
    assert sent(client, "/models/hours of delay/delete", name="hours of delay").status_code == 303
    assert client.get("/models/hours of delay", headers=PAGE).status_code == 404
    assert "hours of delay" not in client.get(f"/runs/{run}", headers=PAGE).text


def test_labels_are_written_one_a_line_and_read_back():
    before = {"a": "1", "two words": "x = y", "lines": "one\ntwo"}
    text = lines_of(before)
    assert labels_of(text) == {"a": "1", "two words": "x = y", "lines": "one two"}
    assert labels_of(lines_of({"a=b": "c=d"})) == {"a=b": "c=d"}
    assert labels_of("a=b=c") == {"a": "b=c"}
    assert changes(before, labels_of(text)) == {}
    assert changes(before, {"a": "2"}) == {"a": "2", "two words": None, "lines": None}
    with pytest.raises(RequestInvalid, match="line 2"):
        labels_of("a = 1\nnothing")


def test_files_are_shown_as_text_never_as_pages(client, world):
    run = newest(world)
    shown = client.get(f"/runs/{run}", params={"tab": "artifacts", "path": "report.html"}, headers=PAGE).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script>alert(1)" not in shown
    listed = client.get(f"/runs/{run}", params={"tab": "artifacts", "path": "plots"}, headers=PAGE).text
    assert "roc.png" in listed
    assert client.get(f"/runs/{run}", params={"tab": "artifacts", "path": "nothing"}).status_code == 404
    assert client.get(f"/runs/{run}", params={"tab": "artifacts", "path": "../../etc/passwd"}).status_code == 400
    made = client.get(f"/runs/{run}", params={"tab": "made"}, headers=PAGE).text
    assert "numpy==2.1.0" in made
    assert '<span class="add">+rate = 0.03</span>' in made

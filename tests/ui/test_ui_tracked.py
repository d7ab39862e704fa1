"""Experiments, the table of runs, a run, comparisons and registered models in a real browser."""

import math

import pytest
from playwright.sync_api import expect
from tests.ui.conftest import served
from tests.ui.filled import FilledHouse
from tests.ui.looking import faults, opened
from tests.ui.tracked import BEGAN, write_runs

from kedge.domain.tracking import Metric, RunStatus
from kedge.storage.sql import open_store
from kedge.tracking.search import runs_query

pytestmark = pytest.mark.ui


def rows(tracked, count=6):
    return tracked.house.logging.find_runs(runs_query("", experiments=[tracked.home], limit=count)).items


def paths(tracked):
    home, runs = f"/experiments/{tracked.home}", rows(tracked)
    compared = "&".join(f"run={run}" for run in runs)
    return {
        "experiments": "/experiments",
        "table": home,
        "sorted": f"{home}?order=metrics.loss+ASC&curve=loss&column=metrics.loss&column=params.lr",
        "no match": f"{home}?q=metrics.loss+%3C+0",
        "columns": f"{home}/columns?look=a",
        "edit": f"{home}/edit",
        "delete": f"{home}/delete",
        "run": f"/runs/{runs[0]}",
        "metrics": f"/runs/{runs[0]}?tab=metrics&over=time",
        "system": f"/runs/{runs[0]}?tab=system",
        "artifacts": f"/runs/{runs[0]}?tab=artifacts&path=plots/roc.png",
        "made": f"/runs/{runs[0]}?tab=made",
        "compare": f"/compare?{compared}",
        "every value": f"/compare?{compared}&every=1&log=1",
        "new model": "/models/new",
        "model": "/models/hours",
        "version": "/models/hours/versions/1",
        "alias": "/models/hours/alias?version=1",
    }


NAMES = ("experiments", "table", "sorted", "no match", "columns", "edit", "delete", "run", "metrics", "system", "artifacts")
NAMES += ("made", "compare", "every value", "new model", "model", "version", "alias")
MAIN = ("table", "run", "compare")
LOOKS = [(1440, "light"), (390, "dark")]
SEEN = [(name, *look) for name in NAMES for look in LOOKS]
SEEN += [(name, *look) for name in MAIN for look in ((1440, "dark"), (390, "light"), (768, "light"), (320, "light"))]


@pytest.mark.parametrize(("name", "width", "scheme"), SEEN)
def test_a_page_of_what_was_tracked_has_no_fault(contexts, tracked, name, width, scheme):
    with opened(contexts(width, scheme), tracked.site, paths(tracked)[name]) as (page, wrong):
        assert [*wrong, *faults(page)] == []


def test_a_filter_that_cannot_be_read_is_told_beside_the_box(contexts, tracked):
    page = contexts(1440).new_page()
    answer = page.goto(f"{tracked.site}/experiments/{tracked.home}?q=metrics.loss+%3C&column=params.model")
    assert answer.status == 400
    expect(page.locator("[role=alert]")).to_contain_text("metrics.loss")
    assert page.locator("#hint").get_attribute("open") is not None
    page.locator("#q").fill("metrics.loss < 0.4 and params.model = 'tree'")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("h1")).to_contain_text("of 60 runs")
    assert "tree" in page.locator("#rows tr").first.inner_text()
    page.close()


def test_the_address_is_the_state_of_the_table(browser, tracked):
    context = browser.new_context(viewport={"width": 1440, "height": 900})  # one that has not chosen columns
    with opened(context, tracked.site, f"/experiments/{tracked.home}") as (page, wrong):
        page.get_by_role("link", name="loss", exact=True).click()
        expect(page.locator("th[aria-sort=descending]")).to_contain_text("loss")
        page.get_by_role("link", name="loss", exact=True).click()
        expect(page.locator("th[aria-sort=ascending]")).to_contain_text("loss")
        page.locator("#rows input[name=run]").nth(1).check()
        page.locator("#next").click()
        expect(page.locator("#count")).to_have_text("1")
        page.locator("#rows input[name=run]").nth(0).check()
        page.reload()
        expect(page.locator("#count")).to_have_text("2")
        page.locator(".selbar .main").click()
        expect(page.locator("h1")).to_contain_text("2 runs:")
        page.go_back()
        expect(page.locator("th[aria-sort=ascending]")).to_contain_text("loss")
        assert wrong == []
    context.close()


def test_columns_are_chosen_in_a_dialog_and_kept(browser, tracked):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    with opened(context, tracked.site, f"/experiments/{tracked.home}") as (page, wrong):
        page.locator("#columns").click()
        look = page.locator("dialog #look")
        expect(look).to_be_focused()
        look.fill("cpu")
        expect(page.locator("dialog #free label")).to_have_count(1)
        page.get_by_label("metrics.system/cpu_percent").check()
        page.get_by_label("params.note").uncheck()
        page.get_by_role("button", name="Show these columns").click()
        expect(page.locator("#runs thead")).to_contain_text("system/cpu_percent")
        assert "note" not in page.locator("#runs thead").inner_text()
        page.goto(f"{tracked.site}/experiments/{tracked.home}")
        expect(page.locator("#runs thead")).to_contain_text("system/cpu_percent")
        page.locator("#columns").click()
        expect(page.locator("dialog #look")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#columns")).to_be_focused()
        assert wrong == []
    context.close()


def test_keys_move_pick_and_compare(contexts, tracked):
    with opened(contexts(1440), tracked.site, f"/experiments/{tracked.home}") as (page, _):
        page.locator("h1").click()
        for key in "jxjxc":
            page.keyboard.press(key)
        page.wait_for_url("**/compare?*")
        expect(page.locator("h1")).to_contain_text("2 runs:")


def test_the_table_and_the_run_stand_without_scripts(contexts, tracked):
    context = contexts(1440, java_script_enabled=False)
    with opened(context, tracked.site, f"/experiments/{tracked.home}") as (page, _):
        page.locator("#rows input[name=run]").nth(0).check()
        page.locator("#rows input[name=run]").nth(1).check()
        page.locator(".selbar .main").click()
        assert "2 runs:" in page.locator("h1").inner_text()
        assert page.locator("svg.year.wide").is_visible()
        page.goto(f"{tracked.site}/experiments/{tracked.home}/columns")
        page.locator("#look").fill("cpu")
        page.get_by_role("button", name="Find").click()
        page.get_by_label("metrics.system/cpu_percent").check()
        page.get_by_role("button", name="Show these columns").click()
        assert "system/cpu_percent" in page.locator("#runs thead").inner_text()
    with opened(context, tracked.site, f"/runs/{rows(tracked)[0]}") as (page, _):
        assert page.locator("#course svg.year.wide").is_visible()


def test_zooming_asks_the_server_for_the_detail(contexts, tracked):
    run = rows(tracked)[0]
    with opened(contexts(1440), tracked.site, f"/runs/{run}?metric=long") as (page, wrong):
        page.wait_for_selector("#course[data-drawn=plotly]")
        with page.expect_response("**/api/v1/curves?*") as answered:
            page.evaluate("Plotly.relayout(document.querySelector('.plot'), {'xaxis.range': [1000, 1400]})")
        (curve,) = answered.value.json()["curves"]
        assert (curve["steps"][0], curve["steps"][-1], len(curve["steps"])) == (1000, 1400, 401)
        page.wait_for_selector("#course[data-points='401']")
        assert [*wrong, *faults(page)] == []


def test_a_running_run_grows_before_ones_eyes(browser):
    house = FilledHouse(open_store("sqlite://"))
    home = write_runs(house.logging, house.artifacts, count=2)
    run = house.logging.create_run(home, name="live", started_at=BEGAN).id
    house.logging.log(run, metrics=[Metric(key="loss", value=1 / (1 + step), at=step, step=step) for step in range(5)])
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    with served(house) as site, opened(context, site, f"/runs/{run}") as (page, wrong):
        page.wait_for_selector("#course[data-drawn=plotly]")
        house.logging.log(run, metrics=[Metric(key="loss", value=math.pi, at=9, step=9)])
        expect(page.locator("#latest")).to_contain_text("3.1416", timeout=10_000)
        page.wait_for_function("document.querySelector('.plot').data[0].x.length === 6", timeout=10_000)
        house.logging.update_run(run, status=RunStatus.FINISHED)
        expect(page.locator("h1")).to_contain_text("finished", timeout=10_000)
        assert wrong == []
    context.close()


def test_an_address_of_an_mlflow_client_leads_to_the_run(contexts, tracked):
    run = rows(tracked)[0]
    with opened(contexts(1440), tracked.site, f"/#/experiments/{tracked.home}/runs/{run}") as (page, _):
        page.wait_for_url(f"**/runs/{run}")


def test_runs_are_deleted_after_a_question(contexts, tracked):
    last = rows(tracked, 60)[-1]
    with opened(contexts(1440), tracked.site, f"/runs/delete?run={last}") as (page, wrong):
        expect(page.get_by_role("link", name="Keep it as it is")).to_be_focused()
        page.get_by_role("button", name="Delete").click()
        page.wait_for_url(f"**/experiments/{tracked.home}")
        page.goto(f"{tracked.site}/runs/{last}")
        expect(page.locator("h1")).to_contain_text("was deleted")
        page.get_by_role("link", name="Restore").click()
        page.get_by_role("button", name="Restore").click()
        page.wait_for_url("**/experiments/*")
        assert wrong == []

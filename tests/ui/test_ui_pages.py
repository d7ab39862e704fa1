"""Every page in a real browser: both themes, desktop and phone."""

import pytest
from tests.ui.filled import PREDICTION
from tests.ui.looking import faults, opened
from tests.ui.seed import MODEL

from kedge.domain.alerting import AlertKind, alert_id
from kedge.domain.ids import digest_of

pytestmark = pytest.mark.ui
RUN = digest_of("run", 5, MODEL)[:16]
PAGES = {
    "loop": "/",
    "model": "/models/flights",
    "why": f"/predictions/{PREDICTION}?replay=true",
    "models": "/models",
    "version": "/models/flights/versions/5",
    "promote": "/models/flights/promote?version=6",
    "roll back": "/models/flights/roll-back",
    "rollout": "/models/flights/rollout",
    "deploy": "/models/flights/deploy?version=4",
    "pause": "/models/flights/trial/pause",
    "new experiment": "/experiments/new",
    "all runs": "/runs?curve=training_loss&column=metrics.training_loss&column=params.depth",
    "experiments": "/experiments",
    "runs": "/runs",
    "run": f"/runs/{RUN}",
    "data": "/data",
    "dataset": "/data/flights",
    "monitoring": "/monitoring",
    "alerts": "/monitoring/alerts",
    "alert": f"/monitoring/alerts/{alert_id(MODEL, AlertKind.DATA_DRIFT, subject='')}",
    "snooze": f"/monitoring/alerts/{alert_id(MODEL, AlertKind.DATA_DRIFT, subject='')}/snooze",
    "events": "/events",
    "predictions": "/predictions",
    "find": "/find?q=nothing",
    "login": "/login",
}
MAIN = ("loop", "model", "why", "monitoring", "rollout")


LOOKS = [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")]
SEEN = [(name, *look) for name in PAGES for look in (LOOKS if name in MAIN else (LOOKS[0], LOOKS[3]))]


@pytest.mark.parametrize(("name", "width", "scheme"), SEEN)
def test_a_page_has_no_fault(contexts, site, name, width, scheme):
    with opened(contexts(width, scheme), site, PAGES[name]) as (page, wrong):
        assert [*wrong, *faults(page)] == []


@pytest.mark.parametrize("name", MAIN)
@pytest.mark.parametrize("width", [768, 320])
def test_the_main_pages_fit_other_widths(contexts, site, name, width):
    with opened(contexts(width), site, PAGES[name]) as (page, wrong):
        assert [*wrong, *faults(page)] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_year_becomes_explorable_under_the_policy(contexts, site, scheme):
    with opened(contexts(1440, scheme), site, PAGES["model"]) as (page, wrong):
        before = page.locator("#stage").bounding_box()
        page.wait_for_selector("#stage[data-drawn=plotly]")
        page.wait_for_timeout(100)
        after = page.locator("#stage").bounding_box()
        box = page.locator("#stage .main-svg").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_selector(".hoverlayer .legend, .hoverlayer text")
        assert abs(before["height"] - after["height"]) < 2
        assert [*wrong, *faults(page)] == []


def test_a_phone_keeps_the_drawing_of_the_server(contexts, site):
    with opened(contexts(390, has_touch=True, is_mobile=True), site, PAGES["model"]) as (page, wrong):
        page.wait_for_timeout(300)
        assert page.locator("svg.year.narrow").is_visible()
        assert not page.locator("svg.year.wide").is_visible()
        assert page.locator("script[src*=plotly]").count() == 0
        assert wrong == []


@pytest.mark.parametrize("name", ["loop", "model", "why", "promote"])
def test_a_page_stands_without_scripts(contexts, site, name):
    with opened(contexts(1440, java_script_enabled=False), site, PAGES[name]) as (page, _):
        assert page.locator("h1").is_visible()
        assert not page.locator("#theme").is_visible()
        if name == "model":
            assert page.locator("svg.year.wide").is_visible()
            page.locator("#loss summary").click()
            assert page.locator("#loss table").is_visible()


LINKS = """(html) => [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("a[href], link[href]")]
  .map((one) => one.getAttribute("href"))"""
HOSTILE_PAGES = [
    "/",
    "/models/flights",
    "/models/flights/versions/2",
    "/runs",
    "/experiments",
    "/data/flights",
    "/monitoring",
    "/events",
]


@pytest.mark.parametrize("path", [*HOSTILE_PAGES, f"/runs/{digest_of('run', 2, MODEL)[:16]}", f"/predictions/{PREDICTION}"])
@pytest.mark.parametrize("width", [1440, 390])
def test_hostile_names_are_only_text(contexts, hostile_site, path, width):
    with opened(contexts(width), hostile_site, path) as (page, wrong):
        assert page.locator("img").count() == 0
        assert [*wrong, *faults(page)] == []
        assert "onerror=alert(1)" in page.content()


@pytest.mark.parametrize("name", ["loop", "models", "experiments", "runs", "data", "monitoring", "events", "predictions"])
def test_an_empty_store_says_what_belongs_here(contexts, empty_site, name):
    with opened(contexts(1440), empty_site, PAGES[name]) as (page, wrong):
        assert [*wrong, *faults(page)] == []
        if name not in ("predictions", "experiments"):
            assert page.locator(".empty code.command").count() >= 1


def test_no_link_is_dead(contexts, site):
    seen, waiting = set(), ["/"]
    context = contexts(1440)
    with opened(context, site, "/") as (page, _):
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            answer = page.request.get(site + path, headers={"accept": "text/html"})
            assert answer.status == 200, path
            if answer.headers["content-type"].startswith("text/html"):
                links = page.evaluate(LINKS, answer.text())
                waiting += [link.partition("#")[0] for link in links if link.startswith("/")]
    assert len(seen) > 20


def test_every_anchor_leads_to_its_place(contexts, site):
    with opened(contexts(1440), site, "/") as (page, _):
        links = page.evaluate(LINKS, page.content())
        for path, _, anchor in (link.partition("#") for link in links if "#" in link and link.startswith("/")):
            assert f'id="{anchor}"' in page.request.get(site + path).text(), f"{path}#{anchor}"

"""The pages of monitoring, of one window and of retraining in a real browser."""

import polars as pl
import pytest
from msgspec.structs import replace
from playwright.sync_api import expect
from tests.ui.conftest import served
from tests.ui.filled import FilledHouse
from tests.ui.looking import faults, opened
from tests.ui.seed import DAY, MODEL, START, Year

import kedge
from kedge.app import open_house
from kedge.config import bare_project, settings
from kedge.domain.events import EventKind
from kedge.domain.monitoring import Window
from kedge.storage.sql import open_store

pytestmark = pytest.mark.ui
PAGES = {
    "monitoring": "/monitoring",
    "all": "/monitoring?span=all",
    "compare": "/monitoring/compare",
    "older": "/monitoring?page=2013-06-01T00:00--2013-06-02T00:00",
    "window": "/monitoring/flights/windows/2013-12-28T00:00--2013-12-29T00:00",
    "retraining": "/models/flights/retraining",
    "ask": "/models/flights/retraining/ask",
}
HOSTILE_WINDOW = "/monitoring/flights/windows/2013-05-08T00:00--2013-05-09T00:00"
LOOKS = [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark"), (768, "light"), (320, "light")]
SEEN = [(name, *look) for name in PAGES for look in (LOOKS if name in ("window", "retraining") else (LOOKS[0], LOOKS[3]))]


@pytest.mark.parametrize(("name", "width", "scheme"), SEEN)
def test_a_watched_page_has_no_fault(contexts, site, name, width, scheme):
    with opened(contexts(width, scheme), site, PAGES[name]) as (page, wrong):
        assert [*wrong, *faults(page)] == []


@pytest.mark.parametrize(("width", "scheme"), [LOOKS[0], LOOKS[1], LOOKS[2], LOOKS[3]])
def test_a_file_of_ones_own_is_compared_without_fault(contexts, tmp_path, monkeypatch, width, scheme):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDGE_STORE", raising=False)
    rows = pl.DataFrame({"fare": [float(n % 50) for n in range(400)], "zone": ["north", "south"] * 200})
    kedge.data.commit(rows, "rides")
    rows.with_columns(pl.col("fare") + 30).write_csv("today.csv")
    house = open_house(settings(tmp_path, store=".kedge"), bare_project(tmp_path), writer="test")
    with served(house) as site, opened(contexts(width, scheme), site, "/monitoring/compare") as (page, wrong):
        page.get_by_label("Reference", exact=True).fill("rides")
        page.get_by_label("or a file of yours").nth(1).set_input_files("today.csv")
        page.get_by_role("button", name="Compare", exact=True).click()
        expect(page.get_by_text("1 of 2 columns moved: fare.")).to_be_visible()
        assert page.get_by_label("Reference", exact=True).input_value() == "rides@v1"
        assert [*wrong, *faults(page)] == []
    house.close()


@pytest.mark.parametrize(
    "path", ["/monitoring/flights/windows/2013-05-08T00:00--2013-05-09T00:00", "/models/flights/retraining"]
)
@pytest.mark.parametrize("width", [1440, 390])
def test_hostile_names_are_only_text_where_one_watches(contexts, hostile_site, path, width):
    with opened(contexts(width), hostile_site, path) as (page, wrong):
        assert page.locator("img").count() == 0
        assert [*wrong, *faults(page)] == []
        assert "onerror=alert(1)" in page.content()


def test_nothing_watched_says_what_belongs_here(contexts, empty_site):
    with opened(contexts(1440), empty_site, "/monitoring") as (page, wrong):
        expect(page.locator(".empty code.command")).to_have_text("kedge watch")
        assert wrong == []
    with opened(contexts(390), empty_site, "/models/flights/retraining") as (page, wrong):
        expect(page.locator("h1")).to_contain_text("no step of 7d has closed")
        assert [*wrong, *faults(page)] == []


def test_one_window_is_enough(browser):
    meta = open_store("sqlite://")
    Year(meta).write(START + DAY)
    context = browser.new_context(viewport={"width": 390, "height": 900})
    with served(FilledHouse(meta, at=START + DAY)) as site, opened(context, site, "/monitoring") as (page, wrong):
        assert [*wrong, *faults(page)] == []
        assert page.locator("#windows tbody tr").count() == 1
        page.locator("#windows tbody a").click()
        expect(page.locator("h1")).to_contain_text("predictions")
        assert [*wrong, *faults(page)] == []
    context.close()


def test_a_thousand_windows_stay_light(browser):
    meta = open_store("sqlite://")
    seeded = Year(meta)
    seeded.write()
    newest = meta.watches.list(MODEL, limit=1)[0]
    for back in range(1, 701):
        window = Window(START - back * DAY, START - (back - 1) * DAY)
        event = seeded.event(EventKind.WINDOW_MEASURED, window.end, f"Window {window.id} measured")
        meta.watches.put(replace(newest, window=window, alerts=(), blocks=()), b"", event=event)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    with served(FilledHouse(meta)) as site, opened(context, site, "/monitoring?span=all") as (page, wrong):
        assert [*wrong, *faults(page)] == []
        assert len(page.content()) < 400_000
        expect(page.locator("#h-windows + span")).to_have_text("1,003 windows")
        page.locator("#older").click()
        page.wait_for_url("**page=*")
        assert page.locator("#windows tbody tr").count() == 25
        page.go_back()
        page.wait_for_url("**span=all")
    context.close()


def test_a_training_is_asked_for_by_hand(browser):
    meta = open_store("sqlite://")
    Year(meta).write(START + 15 * DAY)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    with served(FilledHouse(meta)) as site, opened(context, site, "/models/flights/retraining") as (page, wrong):
        page.get_by_role("link", name="Train now").click()
        page.get_by_label("Reason, kept in the history").fill("the source was mended")
        page.get_by_role("button", name="Train now").click()
        page.wait_for_url("**/models/flights/retraining")
        expect(page.locator("h1")).to_contain_text("1 request for a training waits")
        expect(page.locator("#triggers")).to_contain_text("the source was mended")
        assert [*wrong, *faults(page)] == []
    context.close()


@pytest.mark.parametrize("path", ["/monitoring", "/models/flights/retraining"])
def test_what_is_watched_stands_without_scripts(contexts, site, path):
    with opened(contexts(1440, java_script_enabled=False), site, path) as (page, _):
        assert page.locator("svg.year.wide").first.is_visible()
        page.locator(".fold summary").first.click()
        assert page.locator(".fold table").first.is_visible()

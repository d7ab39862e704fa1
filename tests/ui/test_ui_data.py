"""The catalogue in a real browser: desktop and phone, both themes, hostile names, without scripts, empty."""

from types import SimpleNamespace

import pytest
from playwright.sync_api import expect
from tests.ui.catalogued import NOW, RAW, RIDES, SECRET, write_catalogue
from tests.ui.conftest import HOSTILE, served
from tests.ui.filled import FilledHouse, year
from tests.ui.looking import faults, opened

from kedge.storage.sql import open_store

pytestmark = pytest.mark.ui
BASE = f"/data/{RIDES}"
PAGES = {
    "catalogue": "/data",
    "found": "/data?q=fare",
    "no match": "/data?q=ridez",
    "overview": BASE,
    "columns": f"{BASE}?tab=columns",
    "versions": f"{BASE}?tab=versions",
    "quality": f"{BASE}?tab=quality",
    "uses": f"{BASE}?tab=uses",
    "version": f"{BASE}/versions/4",
    "diff": f"{BASE}/diff?before=4&after=published",
    "compare": "/monitoring/compare",
    "compared": f"/monitoring/compare?reference={RIDES}@v4&current={RIDES}&together=true",
    "same": f"{BASE}/diff?before=4&after=4",
    "folder": f"/data/{RAW}/versions/2?folder=2013-03",
    "files": f"/data/{RAW}/versions/2",
    "files diff": f"/data/{RAW}/diff",
    "files overview": f"/data/{RAW}",
    "no columns": f"/data/{RAW}?tab=columns",
    "not validated": f"/data/{RAW}?tab=quality",
    "no uses": "/data/planes?tab=uses",
    "edit": f"{BASE}/edit",
    "column": f"{BASE}/columns/email/edit",
    "tag": f"{BASE}/versions/9/tag",
    "profile": f"{BASE}/versions/9/profile",
    "not profiled": "/data/planes?tab=columns",
}
MAIN = ("catalogue", "overview", "columns", "version", "diff", "compared")
LOOKS = [(1440, "light"), (390, "dark")]
SEEN = [(name, *LOOKS[at % 2]) for at, name in enumerate(PAGES)]
SEEN += [(name, *look) for name in MAIN for look in ((1440, "dark"), (390, "light"), (320, "light"))]


@pytest.fixture(scope="module")
def data():
    house = FilledHouse(open_store("sqlite://"), at=NOW)
    write_catalogue(house)
    with served(house) as address:
        yield SimpleNamespace(site=address, house=house)


@pytest.fixture(scope="module")
def hostile_data():
    house = FilledHouse(open_store("sqlite://"), at=NOW)
    write_catalogue(house, versions=5, hostile=HOSTILE)
    with served(house) as address:
        yield address


@pytest.mark.parametrize(("name", "width", "scheme"), SEEN)
def test_a_page_of_data_has_no_fault(contexts, data, name, width, scheme):
    with opened(contexts(width, scheme), data.site, PAGES[name]) as (page, wrong):
        assert [*wrong, *faults(page)] == []
        assert SECRET not in page.content()


HOSTILE_PAGES = (*MAIN, "found", "versions", "uses", "files", "edit")


@pytest.mark.parametrize(("name", "width"), [(name, (1440, 390)[at % 2]) for at, name in enumerate(HOSTILE_PAGES)])
def test_hostile_names_are_only_text(contexts, hostile_data, name, width):
    path = PAGES[name].replace("versions/9", "versions/3")
    with opened(contexts(width), hostile_data, path) as (page, wrong):
        assert page.locator("img").count() == 0
        assert [*wrong, *faults(page)] == []
        assert SECRET not in page.content()


def test_a_search_leads_to_a_dataset_and_marks_what_it_meant(contexts, data):
    with opened(contexts(1440), data.site, "/data") as (page, wrong):
        page.locator("main input[name=q]").fill("tolls")
        page.get_by_role("button", name="Find").click()
        expect(page.locator("h1")).to_have_text("1 of 7 datasets.")
        expect(page.locator("mark")).to_have_text("tolls")
        page.get_by_role("link", name=RIDES, exact=True).click()
        expect(page.locator("h1")).to_contain_text("rides@12 is as expected")
        page.go_back()
        assert page.locator("main input[name=q]").input_value() == "tolls"
        assert wrong == []


def test_a_near_word_is_offered(contexts, data):
    with opened(contexts(1440), data.site, "/data?q=observasions") as (page, _):
        page.get_by_role("link", name="Look for “observations”").click()
        expect(page.locator("#datasets tr")).to_have_count(1)


def test_two_versions_are_chosen_and_compared_without_scripts(contexts, data):
    context = contexts(1440, java_script_enabled=False)
    with opened(context, data.site, f"{BASE}?tab=versions") as (page, _):
        page.get_by_label("v4 before").check()
        page.get_by_label("v9 after").check()
        page.get_by_role("button", name="Compare the two").click()
        expect(page.locator("h1")).to_contain_text("From v4 to v9: 1,870 rows added")
        assert page.locator("svg.chart").count() >= 3
        page.get_by_text("The same as a table").click()
        assert page.get_by_role("region", name="Distributions", exact=True).is_visible()
        page.get_by_role("link", name="Swap").click()
        expect(page.locator("h1")).to_contain_text("From v9 to v4")


def test_a_column_is_described_in_the_browser(contexts, data):
    with opened(contexts(1440), data.site, f"{BASE}?tab=columns") as (page, wrong):
        page.get_by_role("link", name="Edit distance").click()
        page.get_by_label("What it means").fill("from door to door")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("table.columns")).to_contain_text("from door to door")
        assert wrong == []


def test_an_empty_catalogue_says_what_belongs_here(contexts, empty_site):
    with opened(contexts(390), empty_site, "/data") as (page, wrong):
        expect(page.locator(".empty code")).to_have_text("kedge data add data/raw")
        assert [*wrong, *faults(page)] == []


def test_the_loops_own_dataset_has_its_pages(contexts):
    with served(FilledHouse(year())) as site:
        for path in ("/data/flights", "/data/flights?tab=uses", "/data/flights/versions/5", "/data/flights?tab=quality"):
            with opened(contexts(1440), site, path) as (page, wrong):
                assert [*wrong, *faults(page)] == []


@pytest.mark.parametrize("name", MAIN)
def test_a_page_is_light(contexts, data, name):
    with opened(contexts(1440), data.site, PAGES[name]) as (page, _):
        assert len(page.request.get(data.site + PAGES[name]).body()) < 120_000

"""Any two versions compared over the API and on their page: once, with patience, and never a file of the server."""

import threading

import msgspec
import pytest
from litestar.testing import TestClient
from tests.ui.catalogued import NOW, RIDES, write_catalogue
from tests.ui.filled import FilledHouse, year

from kedge.domain.catalogue import EntryChange, NoteChange
from kedge.server.application import application
from kedge.server.comparing import RULES, comparison_job
from kedge.server.reading.comparing import ComparisonPage
from kedge.storage.sql import open_store

BASE = "http://127.0.0.1:8400"
PAGE = "/monitoring/compare"
HTML = {"accept": "text/html"}


@pytest.fixture
def house():
    filled = FilledHouse(open_store("sqlite://"), at=NOW)
    write_catalogue(filled)
    return filled


@pytest.fixture
def client(house):
    with TestClient(application(house), base_url=BASE) as opened:
        yield opened


def read(client, **params):
    answer = client.get("/api/v1/comparison", params=params)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=ComparisonPage)


def test_two_versions_are_compared_once_for_the_same_question(client, house):
    asked, made = [], house.compared
    house.compared = lambda *named: asked.append(named) or made(*named)
    found = read(client, reference=f"{RIDES}@v4", current=RIDES)
    assert (found.reference, found.current) == (f"{RIDES}@v4", f"{RIDES}@v12")
    assert found.verdict.say.startswith("5 of 8 columns moved: ")
    assert found.comparison.moved
    assert read(client, reference=f"{RIDES}@4", current=f"{RIDES}@published").comparison == found.comparison
    assert len(asked) == 1
    assert read(client, reference=f"{RIDES}@v4", current=RIDES, together=True).comparison.together[0].test == "classifier"
    assert read(client, reference=RIDES, current=RIDES).verdict.say == "None of 7 columns moved."
    assert len(asked) == 3
    house.catalogue.describe(RIDES, EntryChange(columns=(NoteChange(name="fare", personal=True),)), actor="person:ada")
    read(client, reference=f"{RIDES}@v4", current=RIDES)
    assert len(asked) == 4  # what is personal now is not shown from memory


def test_the_page_asks_shows_and_waits(client, house, monkeypatch):
    assert "Name two sides" in client.get(PAGE, headers=HTML).text
    shown = client.get(PAGE, params={"reference": f"{RIDES}@v4", "current": RIDES, "together": "true"}, headers=HTML)
    assert shown.status_code == 200
    assert "5 of 8 columns moved" in shown.text
    assert "A classifier" in shown.text or "a classifier" in shown.text
    assert "Its values are personal" in shown.text
    monkeypatch.setattr("kedge.server.routes.comparisons._PATIENCE", 0.01)
    may_end, made = threading.Event(), house.compared
    house.compared = lambda *named: may_end.wait(30) and made(*named)
    waiting = client.get(PAGE, params={"reference": f"{RIDES}@v9", "current": RIDES}, headers=HTML)
    assert waiting.headers["refresh"] == "2"
    assert "are being compared" in waiting.text
    may_end.set()
    assert read(client, reference=f"{RIDES}@v9", current=RIDES).comparison is not None


def test_windows_and_references_are_offered_named_and_asked_for():
    filled = FilledHouse(year())
    asked = []
    filled.compared = lambda where, named: asked.append(named) or "the log is empty"
    with TestClient(application(filled), base_url=BASE) as client:
        page = client.get(PAGE, headers=HTML).text
        window = "predictions:flights@2013-12-28T00:00..2013-12-29T00:00"
        assert f'<option value="{window}">' in page
        assert '<option value="reference:flights@v5">' in page
        assert "the newest 7 windows against the 7 before" in page
        assert read(client, reference="reference:flights@v5", current=window).failed == "the log is empty"
        assert asked == [("reference:flights@v5", window, "kedge", "")]
        refused = client.get("/api/v1/comparison", params={"reference": "reference:nobody@v1", "current": window})
        assert (refused.status_code, "there is no model 'nobody'" in refused.text) == (404, True)
        shown = client.get("/monitoring/flights/windows/2013-12-28T00:00--2013-12-29T00:00", headers=HTML).text
        assert "Compare every column" not in shown  # this window names no champion
    with TestClient(application(FilledHouse(open_store("sqlite://"))), base_url=BASE) as client:
        assert "What can be compared" in client.get(PAGE, headers=HTML).text


def test_what_fails_is_told(client, house):
    house.compared = lambda *named: "the part 7 of the store is gone; fetch it with `kedge data pull`"
    found = read(client, reference=f"{RIDES}@v4", current=RIDES)
    assert found.comparison is None
    assert found.failed.startswith("the part 7")
    shown = client.get(PAGE, params={"reference": f"{RIDES}@v4", "current": RIDES}, headers=HTML)
    assert "kedge data pull" in shown.text


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"reference": "nothing", "current": RIDES}, 404),
        ({"reference": f"{RIDES}@v99", "current": RIDES}, 404),
        ({"reference": "/etc/passwd.csv", "current": RIDES}, 404),
        ({"reference": RIDES, "current": RIDES, "rules": "best"}, 400),
        ({"reference": "x" * 500, "current": RIDES}, 400),
    ],
)
def test_what_is_not_there_is_refused(client, params, status):
    for path in ("/api/v1/comparison", PAGE):
        assert client.get(path, params=params).status_code == status


def test_the_rules_of_the_page_are_those_of_the_room():
    from kedge.monitoring.comparing import rules

    assert rules.RULES == RULES


def test_the_job_compares_versions_of_a_real_store_and_tells_a_refusal(tmp_path, monkeypatch):
    import polars as pl

    import kedge
    from kedge.domain.comparing import FrameComparison

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDGE_STORE", raising=False)
    kedge.data.commit(pl.DataFrame({"a": [float(n) for n in range(300)]}), "t")
    kedge.data.commit(pl.DataFrame({"a": [float(n + 200) for n in range(300)]}), "t")
    where = (str(tmp_path), ".kedge")
    found = msgspec.json.decode(comparison_job(where, ("t@v1", "t@v2", "kedge", "classifier")), type=FrameComparison)
    assert found.moved
    assert found.together
    assert "no version or tag 'v9'" in comparison_job(where, ("t@v9", "t@v2", "kedge", ""))

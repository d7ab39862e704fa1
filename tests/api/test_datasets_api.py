"""The catalogue over the API and in forms: found page by page, described once, compared, never showing what is personal."""

import re
import threading
from dataclasses import replace

import msgspec
import polars as pl
import pytest
from litestar.testing import TestClient
from tests.ui.catalogued import NOW, RAW, RIDES, SECRET, STALE, happened, table, write_catalogue
from tests.ui.filled import FilledHouse

from kedge.adapters.jobs import ProcessRunner
from kedge.app import open_house
from kedge.config import bare_project, settings
from kedge.domain.data_diff import FilesDiff, TableDiff
from kedge.domain.events import EventKind
from kedge.domain.ids import ModelName
from kedge.errors import Conflict
from kedge.server.application import application
from kedge.server.once import once
from kedge.server.reading.datasets import DatasetPage, DatasetsPage, DatasetVersionPage, DatasetVersions
from kedge.server.reading.differing import DatasetDiffPage
from kedge.server.reading.trees import TreePage
from kedge.storage.sql import open_store

BASE = "http://127.0.0.1:8400"


@pytest.fixture
def house():
    filled = FilledHouse(open_store("sqlite://"), at=NOW)
    write_catalogue(filled)
    return filled


@pytest.fixture
def client(house):
    with TestClient(application(house), base_url=BASE) as opened:
        yield opened


def read(client, path, kind, **params):
    answer = client.get(f"/api/v1/datasets{path}", params=params)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=kind)


def refused(client, path, status, **params):
    answer = client.get(f"/api/v1/datasets{path}", params=params)
    assert answer.status_code == status
    return answer.json()["error"]["message"]


def test_the_catalogue_comes_page_by_page(client):
    names, page = [], ""
    while True:
        found = read(client, "", DatasetsPage, limit=3, page=page)
        names += [one.dataset for one in found.datasets]
        page = found.next
        if not page:
            break
    assert names == sorted(names)
    assert {RIDES, RAW, STALE} <= set(names)
    assert len(names) == found.total == 7


def test_a_search_tells_where_it_found(client):
    (one,) = read(client, "", DatasetsPage, q="tolls owner:ada").datasets
    assert one.dataset == RIDES
    assert [hit.field for hit in one.hits] == ["owner", "column fare"]
    assert [one.dataset for one in read(client, "", DatasetsPage, q="is:stale").datasets] == [STALE]
    assert "is:odd is no filter" in refused(client, "", 400, q="is:odd")
    assert refused(client, "", 400, q="x" * 2000)
    assert "page token" in refused(client, "", 400, page="nonsense")


def test_one_dataset_is_described_whole(client):
    page = read(client, f"/{RIDES}", DatasetPage)
    assert page.verdict.say == "rides@12 is as expected: 34,440 rows, every expectation met."
    assert (page.entry.owner, page.freshness.state.value, page.key) == ("ada", "fresh", ("ride_id",))
    assert page.tags == {"published": 12, "training": 9}
    assert [one.number for one in page.versions] == list(range(12, 0, -1))
    assert [one.number for one in page.quality] == list(range(1, 13))
    assert {use.name for use in page.uses.runs} == {f"fares-{number}" for number in range(4)}
    assert [one.kind for one in page.history[1:4]] == ["dataset_tagged", "dataset_tagged", "dataset_described"]
    assert "stale" in read(client, f"/{STALE}", DatasetPage).verdict.say
    assert "there is no dataset 'ride'; did you mean 'rides'?" in refused(client, "/ride", 404)


def test_versions_by_page_number_tag_and_digest(client):
    first = read(client, f"/{RIDES}/versions", DatasetVersions, limit=5)
    second = read(client, f"/{RIDES}/versions", DatasetVersions, limit=50, page=first.next)
    assert [one.number for one in (*first.versions, *second.versions)] == list(range(12, 0, -1))
    assert second.next == ""
    by_tag = read(client, f"/{RIDES}/versions/training", DatasetVersionPage)
    assert (by_tag.version.number, by_tag.previous, by_tag.following) == (9, 8, 10)
    by_digest = read(client, f"/{RIDES}/versions/{by_tag.version.digest[:10]}", DatasetVersionPage)
    assert by_digest.version == by_tag.version
    assert "no version or tag '77'" in refused(client, f"/{RIDES}/versions/77", 404)
    assert "page token" in refused(client, f"/{RIDES}/versions", 400, page="e5")


def test_the_version_that_follows_is_found_however_many_were_dropped_between(client, house):
    for number in (80, 81):
        made = msgspec.structs.replace(table(RIDES, number), created_at=NOW)
        house.meta.datasets.add(made, happened(house.meta, RIDES, number, at=NOW))
    page = read(client, f"/{RIDES}/versions/12", DatasetVersionPage)
    assert (page.previous, page.following) == (11, 80)
    assert read(client, f"/{RIDES}/versions/81", DatasetVersionPage).following is None


@pytest.mark.parametrize(
    "path", ["", "/versions/4", "/versions/4/profile", "/versions/4/report", "/diff", "/uses", "/quality"]
)
def test_what_is_personal_is_nowhere(client, path):
    answer = client.get(f"/api/v1/datasets/{RIDES}{path}")
    assert answer.status_code == 200
    assert SECRET not in answer.text


@pytest.mark.parametrize("path", ["", "?tab=columns", "?tab=quality", "/versions/4", "/diff?before=4&after=12", "/edit"])
def test_no_page_shows_what_is_personal(client, path):
    answer = client.get(f"/data/{RIDES}{path}", headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert SECRET not in answer.text


def test_profiles_and_reports_that_are_not_there(client):
    assert "kedge data profile" in refused(client, f"/{STALE}/versions/1/profile", 404)
    assert "kedge data validate" in refused(client, f"/{STALE}/versions/1/report", 404)


def test_a_profile_that_cannot_be_made_is_told(client):
    answer = client.post(f"/api/v1/datasets/{STALE}/versions/1/profile", json={})
    assert answer.status_code == 422
    assert "its part is gone" in answer.json()["error"]["message"]
    assert client.post(f"/api/v1/datasets/{RAW}/versions/1/profile", json={}).status_code == 400
    fault = form(client, f"/data/{STALE}/versions/1/profile")
    assert fault.status_code == 409
    assert "its part is gone" in fault.text


def test_files_of_a_version_folder_by_folder(client):
    top = read(client, f"/{RAW}/versions/2/files", TreePage)
    assert [(one.name, one.files) for one in top.entries] == [
        ("2013-01", 8),
        ("2013-02", 8),
        ("2013-03", 9),
        ("README.md", 1),
        ("odd name.csv", 1),
    ]
    below = read(client, f"/{RAW}/versions/2/files", TreePage, folder="2013-03/")
    assert [one.name for one in below.entries] == [f"day-{day:02}.csv" for day in range(1, 10)]
    assert "no folder 'x'" in refused(client, f"/{RAW}/versions/2/files", 404, folder="x")
    for page in ("x", "9" * 30):
        assert "page token" in refused(client, f"/{RAW}/versions/2/files", 400, page=page)
    assert "is a table" in refused(client, f"/{RIDES}/versions/2/files", 404)
    assert refused(client, f"/{RAW}/versions/2/files", 400, folder="../x")


def test_two_versions_are_compared_once(client, house):
    asked = []
    made = house.diffed
    house.diffed = lambda *named: asked.append(named) or made(*named)
    page = read(client, f"/{RIDES}/diff", DatasetDiffPage, before="training", after="published")
    assert isinstance(page.diff, TableDiff)
    assert page.verdict.say.startswith("From v9 to v12: 1,870 rows added, 12 removed and 240 changed")
    assert page.verdict.sub == "2 columns moved: fare and email."
    assert read(client, f"/{RIDES}/diff", DatasetDiffPage, before="9", after="12").diff == page.diff
    assert len(asked) == 1
    assert read(client, f"/{RIDES}/diff", DatasetDiffPage).before.number == 11
    assert read(client, f"/{RIDES}/diff", DatasetDiffPage, after="1").verdict.say.endswith("hold the same.")
    files = read(client, f"/{RAW}/diff", DatasetDiffPage)
    assert isinstance(files.diff, FilesDiff)
    assert files.verdict.say == "From v1 to v2: 1 file added, 1 removed, 1 changed and 1 moved."


def test_a_long_comparison_goes_on_while_the_browser_looks_again(client, house, monkeypatch):
    monkeypatch.setattr("kedge.server.routes.data_pages._PATIENCE", 0.01)
    asked, may_end = [], threading.Event()
    made = house.diffed
    house.diffed = lambda *named: asked.append(named) or (may_end.wait(30) and made(*named))
    for _ in range(3):
        shown = client.get(f"/data/{RIDES}/diff?before=4&after=9", headers={"accept": "text/html"})
        assert (shown.status_code, shown.headers["refresh"]) == (200, "2")
        assert "@9 are being compared" in shown.text
    may_end.set()
    page = read(client, f"/{RIDES}/diff", DatasetDiffPage, before="4", after="9")  # who asks for JSON waits
    assert page.diff is not None
    assert page.waiting is None
    shown = client.get(f"/data/{RIDES}/diff?before=4&after=9", headers={"accept": "text/html"})
    assert "refresh" not in shown.headers
    assert "From v4 to v9" in shown.text
    assert len(asked) == 1


def test_a_comparison_that_fails_is_told(client, house):
    house.diffed = lambda *named: "the part 7 of the store is gone; fetch it with `kedge data pull`"
    page = read(client, f"/{RIDES}/diff", DatasetDiffPage)
    assert page.diff is None
    assert page.failed.startswith("the part 7")
    shown = client.get(f"/data/{RIDES}/diff", headers={"accept": "text/html"})
    assert "kedge data pull" in shown.text


def test_a_write_under_a_key_happens_once(client, house):
    headers = {"idempotency-key": "k1"}
    first = client.patch(f"/api/v1/datasets/{STALE}", json={"owner": "eve"}, headers=headers)
    client.patch(f"/api/v1/datasets/{STALE}", json={"owner": "mo"})
    again = client.patch(f"/api/v1/datasets/{STALE}", json={"owner": "eve"}, headers=headers)
    assert first.json() == again.json()
    assert house.catalogue.get(STALE).entry.owner == "mo"
    other = client.patch(f"/api/v1/datasets/{STALE}", json={"owner": "zed"}, headers=headers)
    assert other.status_code == 409
    with pytest.raises(Conflict, match="another request"):  # nor is it a key for another kind of answer
        once(house.meta, "k1", model=ModelName("rides"), asked=("promote",), act=lambda: pytest.fail("it acted"))
    described = [one for _, one in house.meta.events.list(subject=STALE) if one.kind is EventKind.DATASET_DESCRIBED]
    assert described[0].actor == "person:local"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"fresh_within": "soon"}, 400),
        ({"columns": [{"name": "none"}]}, 400),
        ({"nonsense": 1}, 400),
        ({"tags": "gold"}, 400),
    ],
)
def test_a_change_that_does_not_fit_is_refused(client, body, status):
    answer = client.patch(f"/api/v1/datasets/{RIDES}", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_tags_over_the_api(client):
    made = client.put(f"/api/v1/datasets/{RIDES}/tags/best", json={"version": "3"})
    assert made.json()["tags"] == {"best": 3, "published": 12, "training": 9}
    assert client.put(f"/api/v1/datasets/{RIDES}/tags/best", json={}).json()["tags"]["best"] == 12
    assert client.delete(f"/api/v1/datasets/{RIDES}/tags/best").status_code == 204
    assert client.delete(f"/api/v1/datasets/{RIDES}/tags/best").status_code == 404
    assert client.put(f"/api/v1/datasets/{RIDES}/tags/v3", json={}).status_code == 400
    assert client.get(f"/api/v1/datasets/{RIDES}/tags").json()["tags"] == {"published": 12, "training": 9}


def form(client, path, **fields):
    shown = client.get(path, headers={"accept": "text/html"}).text
    token = re.search(r'name="token" value="([^"]+)"', shown)[1]
    return client.post(path, data={"token": token, **fields}, follow_redirects=False)


def test_forms_describe_a_dataset_a_column_and_a_version(client, house):
    done = form(client, f"/data/{RIDES}/edit", description="All rides.", owner="eve", tags="gold\n\nnew", fresh_within="2d")
    assert (done.status_code, done.headers["location"]) == (303, f"/data/{RIDES}")
    entry = house.catalogue.get(RIDES).entry
    assert (entry.description, entry.owner, entry.tags, entry.source) == ("All rides.", "eve", ("gold", "new"), "")
    done = form(client, f"/data/{RIDES}/columns/fare/edit", meaning="price", unit="EUR", personal="1")
    assert done.headers["location"] == f"/data/{RIDES}?tab=columns"
    assert "fare" in house.catalogue.get(RIDES).entry.personal()
    assert form(client, f"/data/{RIDES}/columns/fare/edit", meaning="price", unit="EUR").status_code == 303
    assert "fare" not in house.catalogue.get(RIDES).entry.personal()
    assert form(client, f"/data/{RIDES}/versions/9/tag", tags="best published").status_code == 303
    assert house.catalogue.get(RIDES).tags == {"best": 9, "published": 9}
    fault = form(client, f"/data/{RIDES}/edit", fresh_within="soon")
    assert fault.status_code == 409
    assert "not a duration" in fault.text
    assert client.post(f"/data/{RIDES}/edit", data={"owner": "x"}).status_code == 403
    assert client.get(f"/data/{RIDES}/columns/none/edit").status_code == 404
    places = (("edit", "Describe"), ("columns/fare/edit", "Column"), ("versions/4/tag", "Tag"))
    for path, crumb in places:  # where one is, and not what the button does
        assert f'aria-current="page">{crumb}</span></li>' in client.get(f"/data/{RIDES}/{path}").text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/data?q=is:odd", 400), ("/data/none", 404), (f"/data/{RIDES}?tab=odd", 400), (f"/data/{RIDES}/versions/99", 404)],
)
def test_pages_that_cannot_be_shown_say_why(client, path, status):
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == status
    assert "<h1>" in answer.text


def test_a_real_table_is_compared_in_a_process_of_its_own(tmp_path):
    opened = open_house(settings(tmp_path, store=str(tmp_path / ".kedge")), bare_project(tmp_path), writer="test")
    opened = replace(opened, jobs=ProcessRunner())  # one that imports no model library first
    frame = pl.DataFrame({"id": range(200), "fare": [float(number) for number in range(200)]})
    tables = opened.records.tables
    tables.commit(frame, "rides", key="id", actor="person:ada")
    tables.commit(frame.filter(pl.col("id") < 150), "rides", key="id", actor="person:ada")
    with TestClient(application(opened), base_url=BASE) as client:
        page = read(client, "/rides/diff", DatasetDiffPage)
        assert page.failed == ""
        assert (page.diff.removed, page.diff.added, page.diff.unchanged) == (50, 0, 150)
        assert client.get("/data/rides/diff", headers={"accept": "text/html"}).status_code == 200
        made = client.post("/api/v1/datasets/rides/versions/2/profile", json={})
        assert (made.status_code, made.json()["rows"]) == (200, 150)
        assert client.post("/api/v1/datasets/rides/versions/2/profile", json={}).json() == made.json()
        assert form(client, "/data/rides/versions/1/profile").status_code == 303
        page = client.get("/data/rides/versions/1", headers={"accept": "text/html"}).text
        assert '<svg class="chart ' in page
        assert "kedge.data.read" in page
        assert "kedge data checkout" not in page
    opened.close()

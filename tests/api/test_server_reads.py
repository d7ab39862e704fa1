"""The API's reads, its document, its event pages and its stream."""

import asyncio

import msgspec
import pytest
from litestar.testing import TestClient
from tests.ui.filled import PREDICTION, FilledHouse, fortnight, year
from tests.ui.seed import MODEL, START

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_of
from kedge.server.application import application
from kedge.server.reading.glance import Glance
from kedge.server.reading.model import ModelPage
from kedge.server.reading.why import Why
from kedge.server.stream import Changed, Pulse

BASE = "http://127.0.0.1:8400"


@pytest.fixture(scope="module")
def client():
    with TestClient(application(FilledHouse(year())), base_url=BASE) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/api/v1/loop", Glance), ("/api/v1/models/flights", ModelPage), (f"/api/v1/predictions/{PREDICTION}/why", Why)],
)
def test_answers_decode_to_their_own_structs(client, path, kind):
    msgspec.json.decode(client.get(path).content, type=kind)


@pytest.mark.parametrize(
    "path",
    [
        "models",
        "models/flights/versions/5",
        "runs",
        "datasets",
        "datasets/flights",
        "alerts",
        "events",
        "ledger",
        "health",
        "version",
    ],
)
def test_every_noun_answers(client, path):
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 200
    assert answer.json()


def test_the_document_names_every_route_of_the_api(client):
    document = client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    routes = {route.path_format for route in client.app.routes if route.path_format.startswith("/api/v1/")}
    assert routes - {"/api/v1/openapi.json"} == set(document["paths"])
    for path, methods in document["paths"].items():
        for method in methods.values():
            assert method["summary"]
            assert "description" in method, path
            if not path.endswith("stream"):
                assert {"404", "500"} <= set(method["responses"])


def test_events_come_in_pages_without_a_gap(client):
    serials, token = [], ""
    for _ in range(100):
        page = client.get("/api/v1/events", params={"limit": 97, "page": token}).json()
        serials += [one["serial"] for one in page["events"]]
        token = page["next"]
        if not token:
            break
    assert serials == list(range(serials[0], 0, -1))


def test_events_of_one_subject(client):
    page = client.get("/api/v1/events", params={"subject": "nobody"}).json()
    assert page == {"events": [], "next": ""}


def test_a_replay_is_run_in_a_process_of_its_own_and_told(client):
    told = client.get(f"/api/v1/predictions/{PREDICTION}/why", params={"replay": "true"}).json()
    assert told["replay"] == {"again": 0.7134251, "logged": 0.7134251, "equal": True, "batch_rows": 31, "failed": ""}
    assert "the replay gave the same bits" in told["verdict"]["say"]


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ({"again": 0.5, "logged": 0.7, "equal": False, "batch_rows": 1}, "alarm", "is not the same"),
        (
            {"again": None, "logged": None, "equal": False, "batch_rows": 0, "failed": "the model is gone"},
            "holds",
            "not checkable",
        ),
    ],
)
def test_a_replay_that_differs_or_fails_is_told(answer, state, said):
    house = FilledHouse(year())
    house.replayed = lambda: answer
    with TestClient(application(house), base_url=BASE) as client:
        spoken = client.get(f"/api/v1/predictions/{PREDICTION}/why", params={"replay": "true"}).json()["verdict"]
    assert spoken["state"] == state
    assert said in spoken["say"]


def test_a_broken_link_is_said_first():
    house = FilledHouse(year())
    house.broken = True
    with TestClient(application(house), base_url=BASE) as client:
        spoken = client.get(f"/api/v1/predictions/{PREDICTION}/why").json()["verdict"]
    assert spoken["state"] == "alarm"
    assert "2 of its 10 links did not hold (code and environment)" in spoken["say"]


def test_metrics_are_prometheus_text(client):
    text = client.get("/metrics").text
    assert 'kedge_champion{model="flights"} 5' in text
    assert "# TYPE kedge_regret gauge" in text
    for line in text.splitlines():
        assert line.startswith("# ") or float(line.rsplit(" ", 1)[1]) is not None


@pytest.mark.parametrize(
    ("asked", "address"),
    [
        ("v5", "/models/flights/versions/5"),
        ("flights", "/models/flights"),
        (digest_of("run", 5, MODEL)[:16], f"/runs/{digest_of('run', 5, MODEL)[:16]}"),
        (PREDICTION, f"/predictions/{PREDICTION}"),
        ("flights@3", "/data/flights/versions/3"),
        ("flights@none", "/data/flights"),
    ],
)
def test_find_goes_to_what_is_named(client, asked, address):
    answer = client.get("/find", params={"q": asked}, follow_redirects=False)
    assert answer.headers["location"] == address


@pytest.mark.parametrize("asked", ["", "v99", "<script>", "../../etc", "a.b", "x" * 5000])
def test_find_finds_nothing_without_harm(client, asked):
    answer = client.get("/find", params={"q": asked}, follow_redirects=False)
    assert answer.status_code == 200
    assert "<script>" not in answer.text.replace('<script src="/static', "").replace('<script type="module"', "")


def happen(meta, number):
    event = Event(
        key=digest_of("news", number),
        kind=EventKind.TURN_ENDED,
        at=START,
        subject=MODEL,
        actor="kedge",
        message="It happened.",
    )
    meta.events.append(event)


def test_the_stream_tells_of_what_came_after():
    meta = fortnight()
    newest = meta.events.list(limit=1)[0][0]

    async def heard():
        listening = Pulse(meta).listen(newest)
        opened = await anext(listening)
        happen(meta, 1)
        told = await asyncio.wait_for(anext(listening), 5)
        happen(meta, 2)
        again = await asyncio.wait_for(anext(listening), 5)
        await listening.aclose()
        return opened, told, again

    opened, told, again = asyncio.run(heard())
    assert opened.comment == "listening"
    assert told.event == "changed"
    changed = msgspec.json.decode(told.data, type=Changed)
    assert (changed.serial, changed.kinds, changed.subjects) == (newest + 1, ("turn_ended",), (MODEL,))
    assert again.id == str(newest + 2)


def test_the_stream_tells_at_once_of_what_was_missed():
    meta = fortnight()
    newest = meta.events.list(limit=1)[0][0]

    async def heard():
        listening = Pulse(meta).listen(newest - 3)
        await anext(listening)
        told = await asyncio.wait_for(anext(listening), 5)
        await listening.aclose()
        return told

    assert asyncio.run(heard()).id == str(newest)

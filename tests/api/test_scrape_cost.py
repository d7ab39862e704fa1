"""A scrape of /metrics and a look at the monitoring page read no window twice, however many there are."""

import pytest
from litestar.testing import TestClient
from tests.ui.crowded import WINDOWS, crowd
from tests.ui.filled import FilledHouse
from tests.ui.seed import MODEL

from kedge.domain.events import EventKind
from kedge.server.application import application
from kedge.storage.sql import open_store


@pytest.fixture(scope="module")
def watched():
    meta = open_store("sqlite://")
    event = crowd(meta)
    with TestClient(application(FilledHouse(meta)), base_url="http://127.0.0.1:8400") as client:
        yield meta, event, client


@pytest.mark.parametrize("path", ["/metrics", "/monitoring"])
def test_an_answer_after_an_event_reads_no_window_again(watched, monkeypatch, path):
    meta, event, client = watched
    assert len(meta.watches.windows(MODEL, limit=2000)) == WINDOWS
    assert client.get(path, headers={"accept": "text/html"}).status_code == 200
    read = []
    find = meta.watches.find
    monkeypatch.setattr(meta.watches, "find", lambda model, window: read.append(window) or find(model, window))
    monkeypatch.setattr(meta.watches, "list", lambda *named, **more: pytest.fail("windows were read again"))
    meta.events.append(event(EventKind.ALERT_RAISED, path))
    assert client.get(path, headers={"accept": "text/html"}).status_code == 200
    assert read == []


def test_a_scrape_does_not_grow_with_the_windows(watched):
    _, _, client = watched
    text = client.get("/metrics").text
    assert len(text) < 10_000
    assert f'kedge_windows{{model="{MODEL}"}} {WINDOWS}' in text

"""Who may speak to the server at all: hosts, origins, content types, sizes; and the headers of every answer."""

import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, fortnight, year

from kedge.server.application import application
from kedge.server.door import BODY_LIMIT

BASE = "http://127.0.0.1:8400"
TRUTH = {"predictions": ["flights-2013-03-01T11.0"], "values": [1.0]}
TRUTHS = "/api/v1/ground-truth"


@pytest.fixture(scope="module")
def client():
    with TestClient(application(FilledHouse(fortnight())), base_url=BASE) as opened:
        yield opened


@pytest.mark.parametrize("host", ["127.0.0.1:8400", "localhost", "LOCALHOST:1", "[::1]:8400", "localhost."])
def test_this_machine_is_answered(client, host):
    assert client.get("/api/v1/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["kedge.example", "127.0.0.1.evil.example", "evil@127.0.0.1", "localhost:99999", "", "[::1"]
)
def test_a_foreign_host_is_not(client, host):
    answer = client.get("/api/v1/health", headers={"host": host})
    assert answer.status_code == 421
    assert answer.json()["error"]["code"] == "host_unknown"


def test_behind_a_token_any_host_is_answered():
    house = FilledHouse(year(), token="kedge_0123456789abcdefghijklmnopqrstuv")
    with TestClient(application(house), base_url="http://kedge.example") as opened:
        assert opened.get("/api/v1/health").status_code == 200
        assert opened.get("/api/v1/loop").status_code == 401


def test_any_host_is_answered_where_that_was_said():
    with TestClient(application(FilledHouse(year()), hosts=("*",)), base_url="http://kedge.example") as opened:
        assert opened.get("/api/v1/health").status_code == 200
        own = opened.post(TRUTHS, json=TRUTH, headers={"origin": "http://kedge.example"})
        foreign = opened.post(TRUTHS, json=TRUTH, headers={"origin": "http://evil.example"})
    assert (own.status_code, foreign.status_code) == (202, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:8401"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_write_from_another_site_is_refused(client, headers):
    answer = client.post(TRUTHS, json=TRUTH, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_foreign"


@pytest.mark.parametrize("headers", [{}, {"origin": BASE}, {"origin": BASE, "sec-fetch-site": "same-origin"}])
def test_a_write_from_this_site_or_from_no_browser_is_taken(client, headers):
    assert client.post(TRUTHS, json=TRUTH, headers=headers).status_code == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_json_under_another_name_is_refused(client, kind):
    answer = client.post(TRUTHS, content=b'{"predictions":[],"values":[]}', headers={"content-type": kind})
    assert answer.status_code == 415


def test_a_form_takes_no_json(client):
    answer = client.post("/models/flights/roll-back", json={})
    assert answer.status_code == 415


def test_a_body_over_the_limit_is_refused_before_it_is_read(client):
    headers = {"content-type": "application/json", "content-length": str(BODY_LIMIT + 1)}
    assert client.post(TRUTHS, content=b"x", headers=headers).status_code == 413


def test_a_body_that_hides_its_length_is_refused_as_it_comes(client):
    def chunks():
        for _ in range(BODY_LIMIT // 65536 + 2):
            yield b"x" * 65536

    answer = client.post(TRUTHS, content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["many", "-1", "1e3"])
def test_a_length_that_is_no_number_is_refused(client, length):
    headers = {"content-type": "application/json", "content-length": length}
    assert client.get("/api/v1/health", headers=headers).status_code == 400


@pytest.mark.parametrize("path", ["/", "/api/v1/health", "/nothing", "/metrics"])
def test_every_answer_carries_the_headers(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'; frame-ancestors 'none'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-request-id"]
    assert headers["cache-control"] == "private, no-cache"


def test_static_files_are_kept_for_ever_and_packed(client):
    import re

    page = client.get("/").text
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', page):
        answer = client.get(address, headers={"accept-encoding": "gzip"})
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers.get("content-encoding") == "gzip"

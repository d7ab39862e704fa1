"""The router obeys the policy table: every route has a row, every right is asked for."""

import secrets

import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, fortnight, year

from kedge.security.access import Right, needed
from kedge.server.application import application

BASE = "http://127.0.0.1:8400"
TOKEN = "kedge_" + secrets.token_urlsafe(32)
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def client():
    house = FilledHouse(fortnight(), token=TOKEN)
    with TestClient(application(house), base_url=BASE) as opened:
        yield opened


def routes():
    for route in application(FilledHouse(year())).routes:
        path = route.path_format.replace("{", "<").replace("}", ">")
        concrete = "/".join("x" if part.startswith("<") else part for part in path.split("/"))
        for method in sorted(set(route.methods) - {"OPTIONS"}):
            yield method, concrete


SIGNED = "/api/v1/hooks/x"  # its signature says who sent it: test_askings.py
READ_ONLY = "/monitoring/compare"  # compares files that it is sent, and keeps nothing


@pytest.mark.parametrize(("method", "path"), sorted(set(routes())))
def test_every_route_has_a_row(method, path):
    right = needed(method, path)
    assert right is not None
    if method == "POST" and path not in ("/login", SIGNED, READ_ONLY):
        assert right >= Right.WRITE
    open_ones = path in ("/login", "/api/v1/health", SIGNED) or path.startswith("/static/")
    assert (right is Right.OPEN) == open_ones


@pytest.mark.parametrize("path", ["/api/v1/loop", "/metrics", "/api/v1/stream", "/api/v1/openapi.json", "/"])
def test_without_the_token_nothing_is_read(client, path):
    answer = client.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "unauthenticated"


def test_health_and_files_are_open(client):
    assert client.get("/api/v1/health").status_code == 200


HEADERS = ["Bearer wrong", "Basic abc", f"Bearer {TOKEN}x", "Bearer", f"bearer  {TOKEN[:-1]}"]


@pytest.mark.parametrize("header", HEADERS, ids=["wrong", "basic", "longer", "empty", "shorter"])
def test_a_wrong_token_is_none(client, header):
    assert client.get("/api/v1/loop", headers={"authorization": header}).status_code == 401


def test_the_token_opens(client):
    assert client.get("/api/v1/loop", headers=BEARER).status_code == 200


def test_a_browser_is_sent_to_the_login_and_comes_back(client):
    asked = client.get("/monitoring", headers={"accept": "text/html"}, follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/monitoring")
    wrong = client.post("/login", data={"secret": "guess", "next": "/"}, follow_redirects=False)
    assert wrong.status_code == 403
    right = client.post("/login", data={"secret": TOKEN, "next": "/monitoring"}, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, "/monitoring")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/monitoring", headers={"accept": "text/html"}).status_code == 200
    client.cookies.clear()


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/\\evil.example", "evil"])
def test_the_login_leads_nowhere_else(client, address):
    answer = client.post("/login", data={"secret": TOKEN, "next": address}, follow_redirects=False)
    assert answer.headers["location"] == "/"
    client.cookies.clear()

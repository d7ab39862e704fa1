"""One error shape for everything, and one table from error class to status."""

import msgspec
import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, year

from kedge import errors
from kedge.server.application import application
from kedge.server.problems import STATUS, ErrorBody, status_of

BASE = "http://127.0.0.1:8400"


@pytest.fixture(scope="module")
def client():
    with TestClient(application(FilledHouse(year())), base_url=BASE) as opened:
        yield opened


def tree(root=errors.KedgeError):
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_every_error_of_the_tree_has_a_status_of_its_own_row():
    own = {cls for cls in tree() if cls.__module__ == "kedge.errors"}
    assert own == set(STATUS)


@pytest.mark.parametrize("cls", sorted(tree(), key=lambda cls: cls.__name__), ids=lambda cls: cls.__name__)
def test_an_error_class_of_any_depth_finds_a_status(cls):
    assert 400 <= status_of(cls.__new__(cls)) < 600


def test_codes_are_unique():
    codes = [cls.code for cls in tree() if cls.__module__ == "kedge.errors"]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/static/0000/kedge.css", 404, "not_found"),
        ("GET", "/api/v1/models/none", 404, "not_found"),
        ("GET", "/api/v1/models/flights/versions/99", 404, "not_found"),
        ("GET", "/api/v1/models/flights/versions/ten", 404, "not_found"),
        ("GET", "/api/v1/runs/none", 404, "not_found"),
        ("GET", "/api/v1/datasets/none", 404, "not_found"),
        ("GET", "/api/v1/predictions/none.1/why", 404, "not_found"),
        ("DELETE", "/api/v1/models", 405, "method_not_allowed"),
        ("GET", "/api/v1/ground-truth", 405, "method_not_allowed"),
        ("GET", "/api/v1/events?limit=0", 400, "request_invalid"),
        ("GET", "/api/v1/events?limit=many", 400, "request_invalid"),
        ("GET", "/api/v1/events?page=zzz", 400, "request_invalid"),
    ],
)
def test_every_fault_speaks_in_the_one_shape(client, method, path, status, code):
    answer = client.request(method, path, headers={"accept": "application/json"})
    body = msgspec.json.decode(answer.content, type=ErrorBody)
    assert (answer.status_code, body.error.code) == (status, code)
    assert body.error.request_id == answer.headers["x-request-id"] != ""
    assert body.error.message


def test_a_method_that_is_not_taken_says_so(client):
    answer = client.delete("/api/v1/models", headers={"content-type": "application/json"})
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_fault_inside_says_nothing_of_the_inside(client, caplog):
    house = FilledHouse(year())

    def burst(prediction):
        raise RuntimeError("secret of the inside")

    house.why = burst
    with TestClient(application(house), base_url=BASE, raise_server_exceptions=False) as broken:
        answer = broken.get("/api/v1/predictions/flights-1.0/why")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert answer.json()["error"]["request_id"] in caplog.text
    assert "secret of the inside" in caplog.text


def test_who_asks_for_a_page_gets_its_error_as_a_page(client):
    answer = client.get("/models/none", headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "There is nothing at this address." in answer.text
    assert "no registered model is named" in answer.text

"""/api/v1/models/...: registered models over the native API of a real house without a project."""

import pytest
from litestar.testing import TestClient

from kedge.app import open_house
from kedge.config import bare_project, settings
from kedge.server.application import application

WHY = {"reason": "for the test"}


@pytest.fixture
def client(tmp_path):
    house = open_house(settings(tmp_path), bare_project(tmp_path), writer="up")
    with TestClient(application(house), base_url="http://127.0.0.1") as opened:
        yield opened
    house.close()


def test_a_model_lives_and_is_put_away(client):
    made = client.post("/api/v1/models", json={"name": "late", "description": "or not", "tags": {"team": "air"}})
    assert made.status_code == 201, made.text
    assert client.post("/api/v1/models", json={"name": "late"}).status_code == 409
    for number in (1, 2):
        version = client.post("/api/v1/models/late/versions", json={"source": "runs:/r/model"}).json()
        assert (version["number"], version["source"]) == (number, "runs:/r/model")
    changed = client.patch("/api/v1/models/late", json={"description": None, "tags": {"team": None, "size": "3"}}).json()
    assert (changed["description"], changed["tags"]) == (None, {"size": "3"})
    changed = client.patch("/api/v1/models/late/versions/2", json={"description": "two", "tags": {"a": "b"}}).json()
    assert (changed["description"], changed["tags"]) == ("two", {"a": "b"})
    put = client.put("/api/v1/models/late/aliases/champion", json={"version": 1, "serial": 0, **WHY})
    assert (put.status_code, put.json()["serial"]) == (200, 1)
    stale = client.put("/api/v1/models/late/aliases/champion", json={"version": 2, "serial": 0, **WHY})
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "alias_moved")
    staged = client.post("/api/v1/models/late/versions/2/stage", json={"stage": "production", **WHY})
    assert staged.json()["stage"] == "Production"
    moves = client.get("/api/v1/models/late/history").json()["moves"]
    assert [(move["kind"], move["name"], move["number"], move["reason"]) for move in moves] == [
        ("alias", "champion", 1, "for the test"),
        ("stage", "Production", 2, "for the test"),
    ]
    told = client.get("/api/v1/models/late/versions").json()
    assert told["model"]["aliases"] == {"champion": 1}
    assert [version["number"] for version in told["versions"]] == [2, 1]
    found = client.get("/api/v1/registered-models", params={"filter": "tags.size = '3'"}).json()
    assert [model["name"] for model in found["models"]] == ["late"]
    why = client.get("/api/v1/models/late/versions/1/why").json()
    assert [link["title"] for link in why["links"]] == ["model version", "registration", "gate verdict", "moves", "run"]
    assert client.post("/api/v1/models/late/versions/1/archive", json=WHY).json()["aliases"] == []
    assert client.delete("/api/v1/models/late/versions/1").status_code == 204
    assert client.delete("/api/v1/models/late/aliases/champion", params=WHY).status_code == 204
    assert client.delete("/api/v1/models/late").status_code == 204
    assert client.get("/api/v1/models/late/history").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/v1/models", {"name": "a/b"}, 400),
        ("POST", "/api/v1/models", {"name": "x", "nonsense": 1}, 400),
        ("POST", "/api/v1/models/m/versions", {"source": "file:///etc/passwd"}, 400),
        ("POST", "/api/v1/models/none/versions", {"source": "runs:/r/model"}, 404),
        ("PUT", "/api/v1/models/m/aliases/v1", {"version": 1, **WHY}, 400),
        ("PUT", "/api/v1/models/m/aliases/champion", {"version": 9, **WHY}, 404),
        ("PUT", "/api/v1/models/m/aliases/champion", {"version": 1, "reason": "x"}, 400),
        ("POST", "/api/v1/models/m/versions/1/stage", {"stage": "moon", **WHY}, 400),
        ("POST", "/api/v1/models/m/versions/9/archive", WHY, 404),
        ("DELETE", "/api/v1/models/m/versions/9", None, 404),
        ("GET", "/api/v1/registered-models?filter=nonsense", None, 400),
        ("GET", "/api/v1/registered-models?page=garbage", None, 400),
    ],
)
def test_bad_calls_are_told_what_is_wrong(client, method, path, body, status):
    client.post("/api/v1/models", json={"name": "m"})
    client.post("/api/v1/models/m/versions", json={"source": "runs:/r/model"})
    answer = client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_a_name_with_signs_of_addresses_is_linked_as_a_name(client):
    name = "late? #1 50%"
    client.post("/api/v1/models", json={"name": name})
    place = "/models/late%3F%20%231%2050%25"
    assert client.post(f"/api/v1{place}/versions", json={"source": "runs:/r/model"}).status_code == 201
    client.put(f"/api/v1{place}/aliases/night", json={"version": 1, "reason": "tried"})
    page = client.get(place).text
    assert f'href="{place}/versions/1"' in page
    assert f'href="/models/{name}' not in page
    assert f'href="/models/{name}' not in client.get("/events").text

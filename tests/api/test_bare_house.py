"""A server in a folder without a project: every page and every read answers, and nothing pretends that a loop runs."""

import pytest
from litestar.testing import TestClient

from kedge.app import open_house
from kedge.config import bare_project, project_or_none, settings
from kedge.server.application import application


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("my models & more")
    assert project_or_none(folder) is None
    opened = open_house(settings(folder, store=str(folder / ".kedge")), bare_project(folder), writer="test")
    with TestClient(application(opened), base_url="http://127.0.0.1:8400") as asking:
        yield asking
    opened.close()


def test_the_project_is_named_as_its_folder(tmp_path):
    (tmp_path / "my models & more").mkdir()
    assert bare_project(tmp_path / "my models & more").name == "my-models-more"
    assert bare_project(tmp_path.__class__("/")).name == "kedge"


@pytest.mark.parametrize("path", ["/", "/models", "/runs", "/data", "/monitoring"])
def test_every_page_answers(client, path):
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == 200, answer.text[:500]


@pytest.mark.parametrize(
    "path", ["loop", "models", "runs", "datasets", "alerts", "alerting", "events", "ledger", "health", "version"]
)
def test_every_read_answers(client, path):
    assert client.get(f"/api/v1/{path}").status_code == 200


def test_metrics_answer(client):
    assert client.get("/metrics").status_code == 200

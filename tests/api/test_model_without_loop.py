"""A model that a person registered and deployed, in a folder without a project: its pages and its JSON say what is known."""

import numpy as np
import pytest
from litestar.testing import TestClient
from sklearn.linear_model import LogisticRegression

import kedge
from kedge.adapters.jobs import InlineRunner
from kedge.app import open_house
from kedge.config import bare_project, settings
from kedge.server.application import application

X = np.random.default_rng(0).normal(size=(50, 2))
MODEL = LogisticRegression().fit(X, X[:, 0] > 0)
WHY = {"reason": "it is wanted"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Give a server over two versions of `late`, v2 the shadow of v1, and one of `idle`, which is not deployed."""
    folder = tmp_path_factory.mktemp("bare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kedge.app.ProcessRunner", InlineRunner)
        patch.chdir(folder)
        patch.delenv("KEDGE_URL", raising=False)
        for name in ("late", "late", "idle"):
            kedge.register_model(MODEL, name, example=X[:5].tolist())
        house = open_house(settings(folder), bare_project(folder), writer="test")
        with TestClient(application(house), base_url="http://127.0.0.1:8400") as asking:
            for body in ({"version": 1}, {"version": 2, "rules": {"strategy": "shadow"}}):
                answer = asking.post("/api/v1/models/late/deploy", json=WHY | body)
                assert answer.status_code == 200, answer.text
            yield asking
        house.close()


def test_the_json_of_a_model_tells_versions_aliases_and_deployment(client):
    told = client.get("/api/v1/models/late").json()
    assert [one["number"] for one in told["versions"]] == [2, 1]
    assert (told["model"]["name"], told["model"]["aliases"]) == ("late", {"champion": 1})
    assert (told["deployment"]["champion"], told["deployment"]["challenger"]) == (1, 2)
    assert client.get("/api/v1/models/idle").json()["deployment"] is None
    assert client.get("/api/v1/models/late/versions/2").json()["version"]["number"] == 2
    for path in ("none", "late/versions/9"):
        assert client.get(f"/api/v1/models/{path}").status_code == 404


def test_every_registered_model_is_listed_a_page_at_a_time(client):
    first = client.get("/api/v1/models", params={"limit": 1}).json()
    assert [(one["model"], one["champion"], one["versions"]) for one in first["models"]] == [("idle", None, 1)]
    rest = client.get("/api/v1/models", params={"page": first["next"]}).json()
    assert [(one["model"], one["champion"], one["versions"]) for one in rest["models"]] == [("late", 1, 2)]
    assert rest["next"] == ""


def test_the_page_leads_to_the_rollout_and_back(client):
    page = client.get("/models/late")
    assert page.status_code == 200, page.text
    assert "/models/late/versions/2" in page.text
    assert "/models/late/rollout" in page.text
    rollout = client.get("/models/late/rollout")
    assert 'href="/models/late"' in rollout.text
    idle = client.get("/models/idle").text
    assert "/models/idle/rollout" not in idle


def test_a_version_goes_on_trial_from_its_page(client):
    """Not one that is served already; the form has the rules of any model, and who sends it says why."""
    page = client.get("/models/idle/versions/1").text
    assert '<a class="button" href="/models/idle/deploy?version=1">Deploy</a>' in page
    for served in (1, 2):
        assert "/models/late/deploy" not in client.get(f"/models/late/versions/{served}").text
    form = client.get("/models/idle/deploy", params={"version": 1})
    assert (form.status_code, "<option selected>canary</option>" in form.text) == (200, True)


def test_a_shadow_has_a_copy_of_the_traffic_paused_or_not(client):
    assert "v2 is on trial with a copy of the traffic" in client.get("/models").text
    assert client.post("/api/v1/models/late/pause", json=WHY).status_code == 200
    said = client.get("/api/v1/models/late/rollout").json()["verdict"]["say"]
    assert said == "The trial of v2 is paused, with a copy of the traffic."

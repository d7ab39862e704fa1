"""The policy table, row by row: who may, who may not, and that nothing is open by mistake."""

import pytest

from kedge.security.access import POLICY, Grant, Right, allowed, fits, needed
from kedge.server.mlflow.protocol import TABLES

TABLE = [
    ("GET", "/static/3f2a/frame.css", Right.OPEN),
    ("HEAD", "/static/3f2a/frame.css", Right.OPEN),
    ("GET", "/api/v1/health", Right.OPEN),
    ("GET", "/v2", Right.OPEN),
    ("GET", "/v2/health/live", Right.OPEN),
    ("GET", "/v2/health/ready", Right.OPEN),
    ("GET", "/login", Right.OPEN),
    ("POST", "/login", Right.OPEN),
    ("GET", "/", Right.READ),
    ("GET", "/metrics", Right.READ),
    ("GET", "/models/delay", Right.READ),
    ("HEAD", "/models/delay", Right.READ),
    ("GET", "/api/v1/predictions/flights-2013-03-01T11.4/why", Right.READ),
    ("GET", "/api/v1/stream", Right.READ),
    ("GET", "/v2/models/delay", Right.READ),
    ("POST", "/v2/models/delay/infer", Right.WRITE),
    ("POST", "/v2/models/delay/versions/3/infer", Right.WRITE),
    ("POST", "/api/v1/ground-truth", Right.WRITE),
    ("GET", "/api/v1/runs/7/artifacts/plots/roc.png", Right.READ),
    ("PUT", "/api/v1/runs/7/artifacts/plots/roc.png", Right.WRITE),
    ("DELETE", "/api/v1/runs/7/artifacts/plots", Right.WRITE),
    ("PUT", "/api/v1/logged-models/m-1/artifacts/MLmodel", Right.WRITE),
    ("DELETE", "/api/v1/logged-models/m-1/artifacts/MLmodel", Right.WRITE),
    ("POST", "/api/v1/runs/7/begin", Right.WRITE),
    ("POST", "/api/v1/runs/7/log", Right.WRITE),
    ("POST", "/api/v1/runs/7/end", Right.WRITE),
    ("POST", "/api/v1/runs/7/models", Right.WRITE),
    ("POST", "/api/v1/models", Right.WRITE),
    ("PATCH", "/api/v1/models/delay", Right.WRITE),
    ("DELETE", "/api/v1/models/delay", Right.ADMIN),
    ("POST", "/api/v1/models/delay/versions", Right.WRITE),
    ("PATCH", "/api/v1/models/delay/versions/3", Right.WRITE),
    ("DELETE", "/api/v1/models/delay/versions/3", Right.ADMIN),
    ("POST", "/api/v1/models/delay/versions/3/stage", Right.ADMIN),
    ("POST", "/api/v1/models/delay/versions/3/archive", Right.ADMIN),
    ("PUT", "/api/v1/models/delay/aliases/champion", Right.ADMIN),
    ("DELETE", "/api/v1/models/delay/aliases/champion", Right.ADMIN),
    ("POST", "/v2/models/delay/refresh", Right.ADMIN),
    ("POST", "/api/v1/models/delay/deploy", Right.ADMIN),
    ("POST", "/api/v1/models/delay/pause", Right.ADMIN),
    ("POST", "/api/v1/models/delay/resume", Right.ADMIN),
    ("POST", "/api/v1/models/delay/approve", Right.ADMIN),
    ("POST", "/api/v1/models/delay/abort", Right.ADMIN),
    ("POST", "/models/delay/deploy", Right.ADMIN),
    ("POST", "/models/delay/trial/approve", Right.ADMIN),
    ("POST", "/invocations", Right.WRITE),
    ("GET", "/ping", Right.OPEN),
    ("POST", "/v1/models/delay:predict", Right.WRITE),
    ("POST", "/v1/models/delay/versions/3:predict", Right.WRITE),
    ("POST", "/api/v1/models/delay/versions/3/servable", Right.WRITE),
    ("POST", "/api/v1/models/delay/promote", Right.ADMIN),
    ("POST", "/api/v1/models/delay/roll-back", Right.ADMIN),
    ("POST", "/experiments/new", Right.WRITE),
    ("POST", "/experiments/7/edit", Right.WRITE),
    ("POST", "/experiments/7/delete", Right.WRITE),
    ("POST", "/experiments/7/restore", Right.WRITE),
    ("POST", "/runs/delete", Right.WRITE),
    ("POST", "/runs/5f/edit", Right.WRITE),
    ("POST", "/models/new", Right.WRITE),
    ("POST", "/models/delay/edit", Right.WRITE),
    ("POST", "/models/delay/versions/3/edit", Right.WRITE),
    ("POST", "/models/delay/delete", Right.ADMIN),
    ("POST", "/models/delay/alias", Right.ADMIN),
    ("POST", "/models/delay/versions/3/stage", Right.ADMIN),
    ("POST", "/models/delay/versions/3/archive", Right.ADMIN),
    ("POST", "/models/delay/promote", Right.ADMIN),
    ("POST", "/models/delay/roll-back", Right.ADMIN),
    ("PATCH", "/api/v1/datasets/people", Right.WRITE),
    ("PUT", "/api/v1/datasets/people/tags/gold", Right.WRITE),
    ("DELETE", "/api/v1/datasets/people/tags/gold", Right.WRITE),
    ("POST", "/api/v1/datasets/people/versions/3/profile", Right.WRITE),
    ("POST", "/data/people/edit", Right.WRITE),
    ("POST", "/data/people/columns/age/edit", Right.WRITE),
    ("POST", "/data/people/versions/3/tag", Right.WRITE),
    ("POST", "/data/people/versions/3/profile", Right.WRITE),
    ("POST", "/api/v1/hooks/ci", Right.OPEN),
    ("POST", "/api/v1/alerts/5f/acknowledge", Right.WRITE),
    ("POST", "/api/v1/alerts/5f/snooze", Right.WRITE),
    ("POST", "/api/v1/alerts/5f/resolve", Right.WRITE),
    ("POST", "/api/v1/alerts/5f/reopen", Right.WRITE),
    ("POST", "/api/v1/alert-channels/ops/test", Right.WRITE),
    ("PUT", "/api/v1/models/delay/mute", Right.WRITE),
    ("DELETE", "/api/v1/models/delay/mute", Right.WRITE),
    ("POST", "/monitoring/compare", Right.READ),
    ("POST", "/monitoring/alerts/5f/acknowledge", Right.WRITE),
    ("POST", "/monitoring/mutes/delay", Right.WRITE),
    ("POST", "/monitoring/channels/ops/test", Right.WRITE),
    ("POST", "/api/v1/models/delay/retrain", Right.ADMIN),
    ("POST", "/models/delay/retraining/ask", Right.ADMIN),
]
# the MLflow protocol's rows, whose rights tests/api/test_mlflow_door.py looks at
PROTOCOL = [
    (row.method, "/".join("x" if part.startswith("{") else part for part in row.path.split("/")))
    for table in TABLES
    for row in table
]


@pytest.mark.parametrize(("method", "path", "right"), TABLE)
def test_each_route_needs_its_right_and_no_less(method, path, right) -> None:
    assert needed(method, path) is right
    for holder in Right:
        assert allowed(holder, method, path=path) is (holder >= right)


def test_every_row_is_used() -> None:
    used = {
        next(rule for rule in POLICY if rule.method == method and fits(rule.pattern, path))
        for method, path in [*((method, path) for method, path, _ in TABLE), *PROTOCOL]
        if method != "HEAD"
    }
    assert used == set(POLICY)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/api/v1/ground-truth/"),
        ("POST", "/api/v1/models/delay"),
        ("POST", "/api/v1/models//promote"),
        ("POST", "/api/v1/models/../promote"),
        ("POST", "/api/v1/models/a/b/promote"),
        ("POST", "/API/v1/ground-truth"),
        ("POST", "//api/v1/ground-truth"),
        ("POST", "/static/frame.css"),
        ("PUT", "/api/v1/ground-truth"),
        ("DELETE", "/models/delay"),
        ("PATCH", "/models/delay"),
        ("OPTIONS", "/"),
        ("TRACE", "/"),
        ("CONNECT", "/"),
        ("get", "/"),
        ("", "/"),
    ],
)
def test_what_no_row_names_is_refused_to_everyone(method, path) -> None:
    assert needed(method, path) is None
    assert not any(allowed(right, method, path=path) for right in Right)


@pytest.mark.parametrize(
    "path",
    ["/static/../models/delay", "/static//models", "/static/./x", "/v2/health/..", "/v2/health/", "/v2/", "/Static/x"],
)
def test_nothing_is_open_by_a_trick(path) -> None:
    assert needed("GET", path) is Right.READ


@pytest.mark.parametrize(
    ("pattern", "path", "fit"),
    [
        ("/a/*", "/a/b", True),
        ("/a/*", "/a", False),
        ("/a/*", "/a/b/c", False),
        ("/a/*", "/b/b", False),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/a/b", True),
        ("/a/**", "/a", True),
        ("/a/**", "/b", False),
        ("/a/**", "/a/b/", True),
        ("/a/**", "/a/b//", False),
        ("/a/**", "/a/../", False),
        ("/a/*", "/a/b/", False),
        ("/**", "", True),
        ("/**", "/", True),
        ("/a/**", "", False),
        ("/a/", "/a/", True),
    ],
)
def test_patterns(pattern, path, fit) -> None:
    assert fits(pattern, path) is fit


def test_the_first_row_that_fits_decides() -> None:
    policy = (Grant("GET", "/a", Right.OPEN), Grant("GET", "/**", Right.ADMIN))
    assert needed("GET", "/a", policy=policy) is Right.OPEN
    assert needed("GET", "/b", policy=policy) is Right.ADMIN
    assert needed("GET", "/a", policy=()) is None

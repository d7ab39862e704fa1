"""The policy table, row by row: who may, who may not, and that nothing is open by mistake."""

import pytest

from kedge.security.access import POLICY, Grant, Right, allowed, fits, needed

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
    ("POST", "/v2/models/delay/refresh", Right.ADMIN),
    ("POST", "/api/v1/models/delay/promote", Right.ADMIN),
    ("POST", "/api/v1/models/delay/roll-back", Right.ADMIN),
    ("POST", "/models/delay/promote", Right.ADMIN),
    ("POST", "/models/delay/roll-back", Right.ADMIN),
]


@pytest.mark.parametrize(("method", "path", "right"), TABLE)
def test_each_route_needs_its_right_and_no_less(method, path, right) -> None:
    assert needed(method, path) is right
    for holder in Right:
        assert allowed(holder, method, path=path) is (holder >= right)


def test_every_row_is_used() -> None:
    used = {
        next(rule for rule in POLICY if rule.method == method and fits(rule.pattern, path))
        for method, path, _ in TABLE
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

"""Attacks on the door of the whole surface: foreign Host and Origin, disguised bodies, sizes, and whoever has no token."""

import gzip
import json
import secrets
import time

import pytest
from litestar.routes import HTTPRoute
from tests.api.attacked import attacked
from tests.ui.filled import FilledHouse, year

from kedge.security.access import Right, needed
from kedge.server.application import application
from kedge.server.mlflow.protocol import TABLES

TOKEN = "kedge_" + secrets.token_urlsafe(32)
PROTOCOL = [(row.method, row.path) for table in TABLES for row in table]
WRITES = [(method, path) for method, path in PROTOCOL if method != "GET"]


def native():
    for route in application(FilledHouse(year())).routes:
        if isinstance(route, HTTPRoute):
            for method in sorted(set(route.methods) - {"OPTIONS"}):
                yield method, route.path_format


EVERY = sorted({*PROTOCOL, *native()})
OPEN = {("GET", "/health"), ("GET", "/api/v1/health"), ("GET", "/login"), ("POST", "/login")}


def concrete(path):
    return "/".join("1" if part.startswith("{") else part for part in path.split("/"))


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("door")) as opened:
        yield opened


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("locked"), KEDGE_TOKEN=TOKEN) as opened:
        yield opened


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_without_the_token_no_route_answers(locked, method, path):
    if (method, path) in OPEN or path.startswith("/static/"):
        assert needed(method, concrete(path)) is Right.OPEN
        return
    for presented in (None, "Bearer wrong", "Basic eDp3cm9uZw==", f"Bearer {TOKEN[:-1]}"):
        twins = [concrete(path)]
        if path.startswith(("/api/2.0/", "/api/3.0/")):
            twins.append(concrete(path).replace("/api/", "/ajax-api/", 1))
        for asked in twins:
            told = locked.send(method, asked, b"" if method == "GET" else b"{}", authorization=presented)
            assert told.status in (401, 415), (method, asked, told)  # 415: a form's address was sent JSON
            assert b'"experiment_id"' not in told.body


@pytest.mark.parametrize(
    "path", ["/api/2.0/mlflow/users/create", "/api/2.0/mlflow/users/update-password", "/signup", "/ajax-api/3.0/jobs/x"]
)
def test_there_is_no_way_to_make_an_account(locked, path):
    told = locked.send("POST", path, b'{"username":"x","password":"y"}', authorization=None)
    assert told.status in (401, 403, 404, 415)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "169.254.169.254", "127.0.0.1.evil.example", "localhost@evil.example", "", "127.0.0.1:99999", "a b"],
)
@pytest.mark.parametrize(
    ("method", "path"), [*EVERY[::4], ("GET", "/get-artifact"), ("GET", "/api/2.0/mlflow-artifacts/artifacts")]
)
def test_a_foreign_host_reaches_nothing(target, method, path, host):
    told = target.send(method, concrete(path), b"" if method == "GET" else b"{}", host=host or " ")
    assert told.status in (400, 421), (method, path, told)
    assert "access-control-allow-origin" not in told.headers


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1", "file://", "http://127.0.0.1.evil.example"],
)
@pytest.mark.parametrize(("method", "path"), WRITES[::3])
def test_a_page_elsewhere_writes_nothing(target, method, path, origin):
    told = target.send(method, concrete(path), b"{}", origin=origin)
    assert told.status == 403, (method, path, told)
    assert "access-control-allow-origin" not in told.headers
    assert target.send(method, concrete(path), b"{}", sec_fetch_site="cross-site").status == 403


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/plain; charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/jsonx",
        "application/xml",
    ],
)
@pytest.mark.parametrize(("method", "path"), [one for one in WRITES if one[0] == "POST"])
def test_json_under_another_name_is_refused_everywhere(target, method, path, kind):
    told = target.send(method, concrete(path), b'{"name":"smuggled"}', content_type=kind)
    if path.endswith("upload-artifact") and kind.startswith("application/") and "form" not in kind:
        assert told.status == 400  # a file of any type, but it names no run
    else:
        assert told.status == 415, (path, told)


def test_no_answer_invites_another_site(target):
    for method, path in (
        ("OPTIONS", "/api/2.0/mlflow/experiments/create"),
        ("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0"),
    ):
        told = target.send(method, path, origin="http://evil.example")
        assert not [name for name in told.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("packed", ["gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip", "GZIP"])
def test_a_packed_body_is_never_unpacked(target, packed):
    bomb = gzip.compress(b'{"name":"' + b"a" * (64 << 20) + b'"}')
    begun = time.monotonic()
    told = target.send("POST", "/api/2.0/mlflow/experiments/create", bomb, content_encoding=packed)
    assert told.status == 415
    assert target.put("bomb.gz", bomb, content_encoding=packed).status == 415
    assert time.monotonic() - begun < 5
    target.unharmed()


@pytest.mark.parametrize("length", ["9" * 18, "9" * 40, "9" * 5000, "-1", "1e9", "0x10", "1,2"])
def test_a_length_that_lies_is_refused(target, length):
    for path in ("/api/2.0/mlflow/runs/log-batch", f"/api/v1/runs/{target.run}/artifacts/x"):
        method = "POST" if path.endswith("batch") else "PUT"
        told = target.send(method, path, b"{}", content_length=length)
        assert told.status in (400, 413), told
    target.unharmed()


def test_a_body_that_is_two_bodies_is_refused_or_read_as_one(target):
    own = f"host: 127.0.0.1:{target.up.port}\r\n"
    inner = f"GET /api/2.0/mlflow/experiments/get?experiment_id=0 HTTP/1.1\r\n{own}\r\n"
    both = f"content-length: {len(inner) + 5}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n"
    head = f"POST /api/2.0/mlflow/experiments/create HTTP/1.1\r\n{own}content-type: application/json\r\n{both}\r\n"
    told = target.raw(f"{head}0\r\n\r\n{inner}".encode())
    assert told.status in (0, 400)
    assert b"lifecycle_stage" not in told.body
    target.unharmed()


def test_a_body_over_the_limit_is_refused_before_it_is_read(target):
    batch = json.dumps({"run_id": target.run, "params": [{"key": "k", "value": "v" * (9 << 20)}]}).encode()
    assert target.post("runs/log-batch", None).status == 400
    assert target.send("POST", "/api/2.0/mlflow/runs/log-batch", batch).status == 413
    target.unharmed()


def test_a_file_over_the_limit_is_refused_declared_or_not(tmp_path):
    with attacked(tmp_path, KEDGE_UPLOAD_LIMIT="1MB") as small:
        assert small.put("just.bin", bytes(1_000_000)).status == 200
        assert small.put("over.bin", bytes(1_000_001)).status == 413
        place = f"/api/v1/runs/{small.run}/artifacts/hidden.bin"
        own = f"host: 127.0.0.1:{small.up.port}\r\nconnection: close\r\n"
        head = f"PUT {place} HTTP/1.1\r\n{own}transfer-encoding: chunked\r\n\r\n"
        piece = b"10000\r\n" + bytes(65536) + b"\r\n"
        told = small.raw(head.encode() + piece * 20 + b"0\r\n\r\n")
        assert told.status == 413
        assert b"KEDGE_UPLOAD_LIMIT" in told.body
        assert small.files() == {"just.bin"}
        small.unharmed()


def test_many_headers_and_a_long_address_are_refused(target):
    assert target.send("GET", f"/get-artifact?path={'a' * 100_000}").status in (0, 400, 414, 431)
    assert target.send("GET", "/health", cookie="a=b; " * 30_000).status in (0, 200, 400, 431)
    query = "&".join(f"k{n}=v" for n in range(3000))
    assert target.send("GET", f"/get-artifact?{query}").status == 400
    target.unharmed()

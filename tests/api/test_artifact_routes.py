"""The native routes of artifacts: up, down, ranges, caches, listings, previews, deletion."""

import json

import polars as pl
import pytest
from tests.api.attacked import attacked

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
OCTETS = {"content_type": "application/octet-stream"}


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("routes")) as opened:
        yield opened


def at(target, path="", owner=None):
    kind = "logged-models" if (owner or "").startswith("m-") else "runs"
    return f"/api/v1/{kind}/{owner or target.run}/artifacts{f'/{path}' if path else ''}"


def test_a_file_goes_up_and_comes_down_for_runs_and_logged_models(target):
    for owner in (target.run, target.model):
        told = target.send("PUT", at(target, "a/%C3%A9%20b.bin", owner), b"0123456789", **OCTETS)
        assert told.status == 200
        assert (told.json["path"], told.json["size"]) == ("a/é b.bin", 10)
        back = target.send("GET", at(target, "a/%C3%A9%20b.bin", owner))
        assert (back.status, back.body) == (200, b"0123456789")
        assert back.headers["content-disposition"].endswith("filename*=UTF-8''%C3%A9%20b.bin")
        assert target.send("PUT", at(target, "a/%C3%A9%20b.bin", owner), b"0123456789", **OCTETS).status == 200


@pytest.mark.parametrize(
    ("span", "status", "body", "told"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=9-99", 206, b"9", "bytes 9-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=99999999999999999999-", 200, b"0123456789", None),
        ("bytes=3-1", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("", 200, b"0123456789", None),
    ],
)
def test_a_range_gives_those_bytes_or_the_whole(target, span, status, body, told):
    target.send("PUT", at(target, "ten"), b"0123456789", **OCTETS)
    back = target.send("GET", at(target, "ten"), range=span)
    assert (back.status, back.body, back.headers.get("content-range")) == (status, body, told)
    assert int(back.headers["content-length"]) == len(body)


def test_what_a_client_has_is_not_sent_again(target):
    target.send("PUT", at(target, "kept"), b"kept", **OCTETS)
    etag = target.send("GET", at(target, "kept")).headers["etag"]
    assert target.send("GET", at(target, "kept"), if_none_match=f'"x", {etag}').status == 304
    assert target.send("GET", at(target, "kept"), if_none_match='"x"').status == 200
    assert target.send("GET", at(target, "kept"), range="bytes=0-0", if_range=etag).status == 206
    assert target.send("GET", at(target, "kept"), range="bytes=0-0", if_range='"x"').status == 200
    target.send("PUT", at(target, "kept"), b"anew", **OCTETS)
    assert target.send("GET", at(target, "kept"), if_none_match=etag).body == b"anew"


def test_listings_have_pages_and_folders_can_be_taken_away(target):
    for name in ("list/a", "list/b/c", "list/d"):
        target.send("PUT", at(target, name), b"x", **OCTETS)
    first = target.send("GET", f"{at(target)}?folder=list&limit=2").json
    assert first == {"entries": [{"path": "list/a", "size": 1}, {"path": "list/b", "size": None}], "next": "list/b/"}
    rest = target.send("GET", f"{at(target)}?folder=list&page={first['next']}").json
    assert rest == {"entries": [{"path": "list/d", "size": 1}], "next": None}
    assert target.send("DELETE", at(target, "list")).json == {"removed": 3}
    assert target.send("DELETE", at(target, "list")).status == 404
    assert target.send("GET", f"{at(target)}?folder=list").json["entries"] == []


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many"])
def test_a_page_has_its_limits(target, limit):
    assert target.send("GET", f"{at(target)}?limit={limit}").status == 400


def test_faults_are_told_in_the_one_shape(target):
    assert target.send("GET", at(target, "nothing")).json["error"]["code"] == "not_found"
    assert target.send("PUT", "/api/v1/runs/nobody/artifacts/x", b"x", **OCTETS).status == 404
    target.send("PUT", at(target, "file"), b"x", **OCTETS)
    told = target.send("PUT", at(target, "file/below"), b"x", **OCTETS)
    assert (told.status, told.json["error"]["code"]) == (409, "conflict")
    target.post("runs/delete", {"run_id": target.run})
    told = target.send("PUT", at(target, "late"), b"x", **OCTETS)
    assert (told.status, told.json["error"]["code"]) == (409, "was_deleted")
    assert target.send("GET", at(target, "file")).status == 200
    target.post("runs/restore", {"run_id": target.run})


def parquet(frame):
    import io

    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def shown(target, name, data):
    assert target.send("PUT", at(target, name), data, **OCTETS).status == 200
    told = target.send("GET", f"/api/v1/runs/{target.run}/preview?path={name}")
    assert told.status == 200, told
    return told.json


TABLES = {
    "t.csv": b'a,b\n1,x\n2,"y,z"\n',
    "t.tsv": b"a\tb\n1\tx\n2\ty,z\n",
    "t.json": b'[{"a":1,"b":"x"},{"a":2,"b":"y,z"}]',
    "split.json": b'{"columns":["a","b"],"data":[[1,"x"],[2,"y,z"]]}',
    "t.parquet": parquet(pl.DataFrame({"a": [1, 2], "b": ["x", "y,z"]})),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_shown_as_one(target, name):
    told = shown(target, name, TABLES[name])
    assert (told["kind"], told["columns"], told["rows"]) == ("table", ["a", "b"], [["1", "x"], ["2", "y,z"]])
    assert told["cut"] is False


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("p.png", PNG, "image"),
        ("p.jpg", b"\xff\xd8\xff" + bytes(9), "image"),
        ("p.gif", b"GIF89a" + bytes(9), "image"),
        ("p.webp", b"RIFF\0\0\0\0WEBP" + bytes(9), "image"),
        ("notes.txt", b"text", "text"),
        ("empty", b"", "text"),
        ("one.csv", b"no table", "text"),
        ("dict.json", b'{"a": 1}', "text"),
        ("broken.json", b"{", "text"),
        ("latin.txt", b"caf\xe9 au lait", "none"),
        ("bytes", bytes(range(256)), "none"),
        ("not.png", b"text", "text"),
        ("wrong.txt", PNG, "none"),
        ("marked.txt", b"\xef\xbb\xbftext", "text"),
    ],
)
def test_what_a_file_is_is_read_from_its_bytes(target, name, data, kind):
    told = shown(target, name, data)
    assert told["kind"] == kind, told
    assert (told["media_type"] != "") == (kind == "image")
    assert (told["reason"] != "") == (kind == "none")


def test_long_texts_and_tables_are_cut(target):
    told = shown(target, "long.txt", "é".encode() * 60_000)
    assert told["cut"] is True
    assert told["text"] == "é" * 32_768
    odd = shown(target, "odd.txt", b"x" + "é".encode() * 60_000)
    assert odd["text"] == "x" + "é" * 32_767
    rows = "a,b\n" + "".join(f"{n},{'v' * 300}\n" for n in range(1000))
    told = shown(target, "long.csv", rows.encode())
    assert (len(told["rows"]), told["cut"]) == (50, True)
    assert told["rows"][3] == ["3", "v" * 200 + "..."]
    wide = shown(target, "wide.json", json.dumps([{f"c{n}": n for n in range(500)}]).encode())
    assert (len(wide["columns"]), len(wide["rows"][0]), wide["cut"]) == (50, 50, True)


def test_a_versions_files_are_those_that_were_registered(target):
    target.send("PUT", at(target, "MLmodel", target.model), b"flavors: {}", **OCTETS)
    target.send("PUT", at(target, "data/model.bin", target.model), b"as registered", **OCTETS)
    target.send(
        "PATCH", f"/api/2.0/mlflow/logged-models/{target.model}", json.dumps({"status": "LOGGED_MODEL_READY"}).encode()
    )
    target.post("registered-models/create", {"name": "given"})
    wanted = {"name": "given", "source": f"models:/{target.model}", "model_id": target.model, "run_id": target.run}
    made = target.post("model-versions/create", wanted)
    assert made.status == 200, made
    target.send("PUT", at(target, "data/model.bin", target.model), b"changed later", **OCTETS)
    query = "/model-versions/get-artifact?name=given&version=1&path="
    told = target.send("GET", f"{query}data/model.bin")
    assert (told.status, told.body) == (200, b"as registered")
    assert told.headers["content-disposition"].startswith("attachment")
    assert target.send("GET", f"{query}nothing").status == 404
    for bad in ("1.0", "-1", "9" * 30, "", "one"):
        assert target.send("GET", f"/model-versions/get-artifact?name=given&version={bad}&path=MLmodel").status in (400, 404)
    assert target.send("GET", "/model-versions/get-artifact?name=none&version=1&path=MLmodel").status == 404


def test_the_api_describes_them(target):
    paths = target.send("GET", "/api/v1/openapi.json").json["paths"]
    assert set(paths["/api/v1/runs/{owner}/artifacts/{path}"]) == {"get", "put", "delete"}
    assert "/api/v1/runs/{owner}/preview" in paths

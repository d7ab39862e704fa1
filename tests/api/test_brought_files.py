"""Files that a browser brings to the page of comparisons: read as tables or refused, compared once, and not kept."""

import gzip
import io
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from litestar.testing import TestClient

import kedge
from kedge.app import open_house
from kedge.config import bare_project, settings
from kedge.server import brought
from kedge.server.application import application
from kedge.server.door import COMPARED

HTML = {"accept": "text/html"}
PARQUET = "application/octet-stream"


def table(mean: float, rows: int = 400) -> pl.DataFrame:
    random = np.random.default_rng(int(mean))
    return pl.DataFrame({"fare": random.normal(mean, 1.0, rows), "zone": ["north", "south"] * (rows // 2)})


def written(frame: pl.DataFrame, kind: str) -> bytes:
    data = io.BytesIO()
    if kind == "parquet":
        frame.write_parquet(data)
    else:
        frame.write_csv(data, separator="\t" if kind == "tsv" else ",")
    return data.getvalue()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("KEDGE_STORE", raising=False)
        kedge.data.commit(table(20.0), "rides")
        opened = open_house(settings(folder, store=".kedge"), bare_project(folder), writer="test")
        with TestClient(application(opened), base_url="http://127.0.0.1:8400") as asking:
            yield asking
        opened.close()


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Nothing is left where files were put aside."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


def send(client, files=(), **named):
    return client.post(COMPARED, data=named, files=dict(files), headers=HTML)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_file_is_compared_with_a_version_on_either_side(client, kind):
    moved, same = (f"today.{kind}", written(table(30.0), kind)), (f"today.{kind}", written(table(20.0), kind))
    shown = send(client, {"current_file": moved}, reference="rides")
    assert shown.status_code == 200
    assert "1 of 2 columns moved: fare." in shown.text
    assert f"today.{kind}, 400 rows, against rides@v1, 400; rules: kedge." in shown.text
    assert "As JSON" not in shown.text.split("<main")[1]
    assert "None of 2 columns moved." in send(client, {"reference_file": same}, current="rides").text
    assert "None of 2 columns moved." in send(client, {"reference_file": moved, "current_file": moved}).text


def test_a_file_goes_before_a_name_and_rules_are_kept(client):
    sides = {"current_file": ("today.csv", written(table(30.0), "csv"))}
    shown = send(client, sides, reference="rides", current="nothing", rules="evidently", together="true")
    assert "rules: evidently." in shown.text
    assert "classifier" in shown.text


def test_without_a_file_one_is_led_to_the_address_of_what_is_named(client):
    empty = {"reference_file": ("", b""), "current_file": ("", b"")}
    led = client.post(
        COMPARED, data={"reference": "rides@v1", "current": "rides"}, files=empty, headers=HTML, follow_redirects=False
    )
    assert (led.status_code, led.headers["location"]) == (303, f"{COMPARED}?reference=rides%40v1&current=rides")
    assert client.get(led.headers["location"], headers=HTML).status_code == 200


class Opened:
    """A value whose unpickling would be seen."""

    def __reduce__(self):
        return (Path("unpickled").touch, ())


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("old.csv", b"", "The file old.csv is empty"),
        ("old.csv", pickle.dumps(Opened()), "is neither Parquet nor text in UTF-8"),
        ("old.parquet", pickle.dumps(Opened()), "is neither Parquet nor text in UTF-8"),
        ("old.csv", "a,b\n1,2\n".encode("utf-16"), "is neither Parquet nor text in UTF-8"),
        ("old.csv", b"a\n" + "\u00fc".encode("latin-1") * 9, "is neither Parquet nor text in UTF-8"),
        ("old.csv.gz", gzip.compress(b"a,b\n1,2\n"), "is neither Parquet nor text in UTF-8"),
        ("old.parquet", b"PAR1" + b"\1" * 40 + b"PAR1", "The file old.parquet: it cannot be read"),
        ("old.csv", b"only,a,head\n", "has no rows"),
    ],
)
def test_what_is_no_table_is_refused_and_never_unpickled(client, name, data, says):
    shown = send(client, {"reference_file": (name, data)}, current="rides")
    assert (shown.status_code, says in shown.text) == (200, True), shown.text
    assert "could not be compared" in shown.text
    assert not Path("unpickled").exists()


def test_a_name_is_only_ever_shown(client):
    hostile = "../../etc/<img src=x onerror=alert(1)>.csv"
    shown = send(client, {"reference_file": (hostile, written(table(20.0), "csv"))}, current="rides")
    assert "&lt;img src=x onerror=alert(1)&gt;.csv" in shown.text
    assert "<img" not in shown.text
    assert "etc/" not in shown.text
    assert brought.shown("C:\\rows\\today.csv") == "today.csv"
    assert brought.shown("a\u202e\n.csv") == "a.csv"
    assert brought.shown("x/") == "a file without a name"
    assert len(brought.shown("x" * 500)) == 80


def test_a_side_that_nobody_named_or_that_is_not_there_is_said(client):
    file = {"current_file": ("today.csv", written(table(30.0), "csv"))}
    assert "the reference is not named, and no file was chosen for it" in send(client, file).text.lower()
    assert "There is no dataset" in send(client, file, reference="nothing").text
    assert "There is no dataset" in send(client, file, reference="/etc/passwd.csv").text
    assert "one of kedge, evidently, nannyml" in send(client, file, reference="rides", rules="best").text


def test_what_is_too_large_is_told_on_the_page_and_a_body_at_the_door(client, monkeypatch):
    monkeypatch.setattr(brought, "FILE_AT_MOST", 2 << 20)
    large = {"current_file": ("large.csv", b"a\n" + b"1\n" * (2 << 20))}
    assert "large.csv has 4 MiB, and a page takes 2; compare it where it lies" in send(client, large, reference="rides").text
    monkeypatch.setattr("kedge.server.door.BROUGHT_LIMIT", 1 << 20)
    refused = send(client, large, reference="rides")
    assert (refused.status_code, "kedge monitor compare A B" in refused.text) == (413, True)


def test_a_form_that_brings_no_parts_is_refused(client):
    refused = client.post(COMPARED, data={"reference": "rides", "current": "rides"}, headers=HTML)
    assert refused.status_code == 400


def test_words_that_are_no_text_are_refused(client):
    body = b'--b\r\nContent-Disposition: form-data; name="reference"\r\n\r\n\xff\r\n--b--\r\n'
    form = {"content-type": "multipart/form-data; boundary=b"} | HTML
    refused = client.post(COMPARED, content=body, headers=form)
    assert (refused.status_code, "no text in UTF-8" in refused.text) == (400, True)


def test_two_comparisons_of_files_are_made_at_once_at_most(client):
    file = {"current_file": ("today.csv", written(table(30.0), "csv"))}
    with (
        brought.placed({"current": brought.BroughtFile("a.csv", io.BytesIO(b"a\n1\n"))}) as one,
        brought.placed({"current": brought.BroughtFile("b.csv", io.BytesIO(b"a\n1\n"))}),
    ):
        assert Path(one["current"].path).read_bytes() == b"a\n1\n"
        assert "Two comparisons of files are being made already" in send(client, file, reference="rides").text
    assert "1 of 2 columns moved" in send(client, file, reference="rides").text


def test_what_a_killed_server_left_goes_with_the_next_file(tmp_path):
    left, fresh = tmp_path / "kedge-brought-left", tmp_path / "kedge-brought-fresh"
    for folder in (left, fresh):
        folder.mkdir()
        (folder / "current.csv").write_bytes(b"a\n1\n")
    os.utime(left, (0, 0))
    with brought.placed({"current": brought.BroughtFile("a.csv", io.BytesIO(b"a\n1\n"))}):
        assert (left.exists(), fresh.exists()) == (False, True), "another server may be comparing the fresh one"
    shutil.rmtree(fresh)


def test_text_that_is_cut_within_a_letter_is_text():
    data = io.BytesIO(b"a\n" + "\u20ac\n".encode() * (1 << 15))
    with brought.placed({"current": brought.BroughtFile("long.csv", data)}) as found:
        assert found["current"].path.endswith("current.csv")


@pytest.mark.parametrize("path", ["/login", "/models/late/deploy", "/api/v1/comparison"])
def test_files_are_taken_by_that_page_alone(client, path):
    assert client.post(path, data={"a": "b"}, files={"x": ("x.csv", b"a")}).status_code == 415


def test_another_site_cannot_have_files_compared(client):
    file = {"current_file": ("today.csv", written(table(30.0), "csv"))}
    away = {"origin": "https://elsewhere.example"} | HTML
    assert client.post(COMPARED, data={"reference": "rides"}, files=file, headers=away).status_code == 403

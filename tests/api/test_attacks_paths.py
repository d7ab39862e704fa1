"""Attacks by path: traversal in every spelling, places that are no places, and names that reach the client's disk."""

import json
from urllib.parse import quote

import pytest
from tests.api.attacked import SECRET, attacked

# how one climbs out, as it stands in the request line
CLIMBS = [
    "..",
    "../..",
    "../../secret.txt",
    "..%2f..%2fsecret.txt",
    "%2e%2e/%2e%2e/secret.txt",
    "%2e%2e%2fsecret.txt",
    "%252e%252e/%252e%252e/secret.txt",
    "%252e%252e%252fsecret.txt",
    "%25252e%25252e%25252fsecret.txt",
    "..;/..;/secret.txt",
    "..;x=1/secret.txt",
    "..%3b/secret.txt",
    ";/../secret.txt",
    "..\\..\\secret.txt",
    "..%5c..%5csecret.txt",
    "..%255c..%255csecret.txt",
    "a/../../../../secret.txt",
    "./../secret.txt",
    ".//..//secret.txt",
    "//etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "C:/windows/win.ini",
    "C:%5cwindows%5cwin.ini",
    "file:///etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "a%00.txt",
    "%00../secret.txt",
    "a%0d%0ax-injected:%20yes",
    "%c0%ae%c0%ae/secret.txt",
    "%ff",
    "%e2%80%ae/x",
    "x" * 300,
    "/".join(["x" * 200] * 8),
    ".",
    "a/./b",
    "a//b",
]


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("paths")) as opened:
        opened.put("kept.txt", b"kept")
        yield opened
        assert opened.files() == {"kept.txt"}


def places(target, climb):
    """Every address that takes a path, with the climb in it."""
    proxy = f"/api/2.0/mlflow-artifacts/artifacts/{target.experiment}/{target.run}/artifacts/"
    queried = climb if "%" in climb else quote(climb, safe="")
    yield "GET", f"{proxy}{climb}"
    yield "PUT", f"{proxy}{climb}"
    yield "DELETE", f"{proxy}{climb}"
    yield "GET", f"/api/2.0/mlflow-artifacts/artifacts/{climb}"
    yield "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{climb}"
    yield "DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{climb}"
    yield "DELETE", f"/ajax-api/2.0/mlflow-artifacts/artifacts/{climb}"
    yield "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{target.experiment}/{climb}/artifacts/x"
    yield "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{target.experiment}/models/{target.model}/artifacts/{climb}"
    yield "GET", f"/api/2.0/mlflow-artifacts/artifacts?path={queried}"
    yield "GET", f"/api/2.0/mlflow-artifacts/artifacts?path={target.experiment}/{target.run}/artifacts/{queried}"
    yield "GET", f"/api/2.0/mlflow-artifacts/presigned/{climb}"
    yield "GET", f"/api/2.0/mlflow/artifacts/list?run_id={target.run}&path={queried}"
    yield "GET", f"/api/2.0/mlflow/artifacts/list?run_id={target.run}&page_token={queried}"
    yield "GET", f"/api/2.0/mlflow/artifacts/list?run_id={queried}"
    yield "GET", f"/get-artifact?run_id={target.run}&path={queried}"
    yield "GET", f"/get-artifact?run_uuid={queried}&path=kept.txt"
    yield "GET", f"/model-versions/get-artifact?name={queried}&version=1&path={queried}"
    yield "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={target.run}&path={queried}"
    folder = f"/api/2.0/mlflow/logged-models/{target.model}/artifacts"
    yield "GET", f"{folder}/directories?artifact_directory_path={queried}"
    yield "GET", f"{folder}/files?artifact_file_path={queried}"
    yield "GET", f"/api/v1/runs/{target.run}/artifacts/{climb}"
    yield "PUT", f"/api/v1/runs/{target.run}/artifacts/{climb}"
    yield "DELETE", f"/api/v1/runs/{target.run}/artifacts/{climb}"
    yield "GET", f"/api/v1/runs/{climb}/artifacts"
    yield "GET", f"/api/v1/runs/{target.run}/artifacts?folder={queried}"
    yield "GET", f"/api/v1/runs/{target.run}/preview?path={queried}"
    yield "GET", f"/static/{climb}"


# what may answer 200 with nothing in it: a folder that is not there is empty, an empty page token is the first page
@pytest.mark.parametrize("climb", CLIMBS)
def test_no_spelling_of_a_path_climbs_out(target, climb):
    for method, path in places(target, climb):
        kind = {"content_type": "application/octet-stream"} if method in ("PUT", "POST") else {}
        told = target.send(method, path, b"planted" if kind else b"", **kind)
        assert SECRET not in told.body, (method, path)
        assert b"root:" not in told.body, (method, path)
        assert "x-injected" not in told.headers, (method, path)
        assert 400 <= told.status < 500 or told.status == 501, (method, path, told.status, told.body[:300])
    assert target.files() == {"kept.txt"}
    target.unharmed()


@pytest.mark.parametrize("climb", ["..", "%252e%252e", "..;", "..%5c", "%2e%2e%2f"])
@pytest.mark.parametrize("step", ["create", "complete", "abort"])
def test_an_upload_in_parts_climbs_no_higher(target, climb, step):
    body = {"path": "x", "upload_id": "0" * 64, "parts": [{"part_number": 1, "etag": "e"}]}
    at = f"{target.experiment}/{target.run}/artifacts"
    for where in (f"{at}/{climb}", f"{climb}/{at}", f"{at}/{climb}/etc"):
        told = target.send("POST", f"/api/2.0/mlflow-artifacts/mpu/{step}/{where}", json.dumps(body).encode())
        assert 400 <= told.status < 500, told
    target.unharmed()


@pytest.mark.parametrize("name", ["../../x", "..\\..\\x", "/etc/cron.d/x", "C:\\windows\\x"])
def test_of_the_name_that_an_upload_brings_only_the_last_part_counts(target, name):
    place = f"/api/2.0/mlflow-artifacts/mpu/create/{target.experiment}/{target.run}/artifacts"
    begun = target.send("POST", place, json.dumps({"path": name, "num_parts": 1}).encode()).json
    address = begun["credentials"][0]["url"]
    assert address.startswith(f"http://127.0.0.1:{target.up.port}/api/2.0/mlflow-artifacts/mpu/parts/")
    part = target.send("PUT", address.partition(str(target.up.port))[2], b"sent", content_type="application/x")
    parts = [{"part_number": 1, "etag": part.headers["etag"]}]
    ended = {"path": name, "upload_id": begun["upload_id"], "parts": parts}
    assert target.send("POST", place.replace("create", "complete"), json.dumps(ended).encode()).status == 200
    assert target.files() == {"kept.txt", "x"}
    assert target.send("DELETE", f"/api/v1/runs/{target.run}/artifacts/x").status == 200
    target.unharmed()


@pytest.mark.parametrize("name", ["..", "C:\\x\\..", "a\0b", "", "a/..", "a/", "%2e%2e"])
def test_a_name_that_is_none_begins_no_upload(target, name):
    place = f"/api/2.0/mlflow-artifacts/mpu/create/{target.experiment}/{target.run}/artifacts"
    assert target.send("POST", place, json.dumps({"path": name, "num_parts": 1}).encode()).status == 400


PARTS = ["0/../1", "-1", "1e3", "10001", "99999999999999999999", "1%00", "%31%2f..", "one", "１"]


@pytest.mark.parametrize("number", PARTS)
def test_a_part_without_its_upload_is_taken_nowhere(target, number):
    for upload in ("0" * 64, "..", "%2e%2e", "x"):
        path = f"/api/2.0/mlflow-artifacts/mpu/parts/{upload}/{quote(number, safe='%/')}"
        told = target.send("PUT", path, b"planted", content_type="application/octet-stream")
        assert 400 <= told.status < 500, (path, told)
    target.unharmed()


LOCATIONS = [
    "file:///",
    "file:///etc",
    "file://localhost/etc",
    "FILE:///etc",
    "/etc",
    "../../..",
    "http://127.0.0.1:1/x",
    "http://169.254.169.254/latest/meta-data/",
    "https://example.com/x",
    "http:///#/../../../../etc",
    "http:///?/../../../../etc",
    "mlflow-artifacts:/x#/../../etc",
    "mlflow-artifacts:/x?/../../etc",
    "mlflow-artifacts:/;/../../etc",
    "mlflow-artifacts:///../../etc",
    "s3://bucket/x",
    "dbfs:/x",
    "runs:/../../x",
    "ftp://127.0.0.1/x",
    "\\\\server\\share",
    "file:///%2e%2e/%2e%2e/etc",
]


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_client_never_names_where_files_are_kept(target, location):
    name = f"located {location}"
    told = target.post("experiments/create", {"name": name, "artifact_location": location})
    if told.status == 200:
        experiment = told.json["experiment_id"]
        kept = target.send("GET", f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}").json["experiment"]
        assert kept["artifact_location"] == f"mlflow-artifacts:/{experiment}"
        made = target.post("runs/create", {"experiment_id": experiment, "start_time": 1}).json["run"]["info"]
        assert made["artifact_uri"] == f"mlflow-artifacts:/{experiment}/{made['run_id']}/artifacts"
    else:
        assert told.status == 400
        assert target.send("GET", f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(name)}").status == 404
    target.unharmed()


SOURCES = [*LOCATIONS, "models:/m-../../x", "models:/../x", "file:///proc/self/environ", "gopher://127.0.0.1/"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_model_version_has_no_source_outside_the_store(target, source):
    """Such a source is refused, or kept as words that nothing follows: its files are none."""
    target.post("registered-models/create", {"name": "sourced"})
    told = target.post("model-versions/create", {"name": "sourced", "source": source})
    if told.status == 200:
        number = told.json["model_version"]["version"]
        query = f"name=sourced&version={number}&path="
        for path in ("passwd", "etc/passwd", "environ", "..%2f..%2fetc%2fpasswd", "secret.txt"):
            read = target.send("GET", f"/model-versions/get-artifact?{query}{path}")
            assert read.status in (400, 404), read
        where = target.send("GET", f"/api/2.0/mlflow/model-versions/get-download-uri?name=sourced&version={number}")
        assert "file:" not in where.body.decode().lower()
    else:
        assert told.status in (400, 404), told
        assert told.json["error_code"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
    target.unharmed()


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_run_and_a_logged_model_name_no_place_either(target, location):
    made = target.post("runs/create", {"experiment_id": target.experiment, "start_time": 1, "artifact_uri": location})
    info = made.json["run"]["info"]
    assert info["artifact_uri"] == f"mlflow-artifacts:/{target.experiment}/{info['run_id']}/artifacts"
    wanted = {"experiment_id": target.experiment, "name": "m", "artifact_location": location, "source_run_id": target.run}
    model = target.post("logged-models", wanted).json["model"]["info"]
    assert model["artifact_uri"] == f"mlflow-artifacts:/{target.experiment}/models/{model['model_id']}/artifacts"
    tag = {"run_id": target.run, "key": "mlflow.artifactLocation", "value": location}
    assert target.post("runs/set-tag", tag).status == 200
    assert target.files() == {"kept.txt"}


def test_another_owners_experiment_is_no_way_in(target):
    other = target.post("experiments/create", {"name": "other"}).json["experiment_id"]
    for place in (
        f"{other}/{target.run}/artifacts/x",
        f"{other}/models/{target.model}/artifacts/x",
        f"{target.run}/artifacts/x",
    ):
        path = f"/api/2.0/mlflow-artifacts/artifacts/{place}"
        for method in ("GET", "PUT", "DELETE"):
            kind = {"content_type": "application/octet-stream"} if method == "PUT" else {}
            assert target.send(method, path, b"x" if kind else b"", **kind).status == 404, (method, path)


@pytest.mark.parametrize("path", ["", "0", "attacked", "..", "*", "%2a"])
def test_the_root_of_all_artifacts_is_neither_listed_nor_deleted(target, path):
    told = target.send("GET", f"/api/2.0/mlflow-artifacts/artifacts?path={path}")
    assert told.status in (200, 400, 404)
    assert b"kept.txt" not in told.body
    assert target.send("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{path}").status in (400, 403, 404)
    assert target.files() == {"kept.txt"}


def test_names_that_reach_a_clients_disk_are_plain(target):
    """A listing holds only what passed the same rule on its way in; a downloading client joins these to a folder."""
    for name in ("..", "a\\..\\b", "/x", "C:\\x", "a/../../b"):
        assert target.put(quote(name, safe="/")).status in (400, 403)
    told = target.send("GET", f"/api/2.0/mlflow-artifacts/artifacts?path={target.experiment}/{target.run}/artifacts")
    assert [one["path"] for one in told.json["files"]] == ["kept.txt"]


def test_a_header_cannot_be_written_through_a_files_name(target):
    assert target.put("a%22b;c.txt", b"quoted").status == 200
    told = target.send("GET", f"/get-artifact?run_id={target.run}&path=a%22b%3Bc.txt")
    assert told.status == 200
    assert told.headers["content-disposition"] == "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%22b%3Bc.txt"
    assert target.send("DELETE", f"/api/v1/runs/{target.run}/artifacts/a%22b%3Bc.txt").status == 200

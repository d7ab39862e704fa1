"""Secrets: a password in the store's URL and the API's token are in no error, no log, no answer, no list of processes."""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.api.attacked import attacked
from tests.contract.metastore import fresh_schema, postgresql_url

PASSWORD = "S3cr-Pa55-w0rd"
TOKEN = "kedge_" + secrets.token_urlsafe(32)
NOWHERE = f"postgresql://ada:{PASSWORD}@127.0.0.1:1/db?connect_timeout=2"


def run(folder, *words, **environment):
    """Run a command of Kedge's and give all it wrote."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("KEDGE_")}
    return subprocess.run(
        [sys.executable, "-m", "kedge", *words],
        cwd=folder,
        env={**plain, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "store",
    [
        NOWHERE,
        f"postgresql://127.0.0.1:1/db?user=ada&password={PASSWORD}&connect_timeout=2",
        f"postgresql://127.0.0.1:1/db?sslpassword={PASSWORD}&connect_timeout=many",
        f"mysql://ada:{PASSWORD}@127.0.0.1/db",
        f"postgresql://ada:{PASSWORD}@[::1:5432/db",
        f"sqlite://ada:{PASSWORD}@host/db",
        f"://{PASSWORD}@",
        f"postgresql://ada:{PASSWORD}@@127.0.0.1:port/db",
    ],
)
def test_a_store_that_cannot_be_opened_keeps_its_password(tmp_path, store):
    for done in (run(tmp_path, "up", "--port", "0", KEDGE_STORE=store), run(tmp_path, "doctor", "--store", store)):
        assert done.returncode != 0
        assert PASSWORD not in done.stdout + done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in left


def test_a_password_on_the_command_line_is_not_handed_on(tmp_path):
    """What the caller writes on a command line is his; the processes that Kedge starts have it nowhere in theirs."""
    (tmp_path / "job.py").write_text(
        "import sys, time\n"
        "from kedge.adapters.jobs import ProcessRunner\n"
        "runner = ProcessRunner(preload=())\n"
        "runner.call(time.time, seconds=30)\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(60)\n"
    )
    environment = {**os.environ, "KEDGE_STORE": NOWHERE, "KEDGE_TOKEN": TOKEN}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "job.py")], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        for child in children:
            words = " ".join(child.cmdline())
            assert PASSWORD not in words
            assert TOKEN not in words
    finally:
        parent.kill()
        parent.wait()


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    with attacked(tmp_path_factory.mktemp("secrets"), KEDGE_TOKEN=TOKEN) as opened:
        yield opened


READS = [
    "/",
    "/metrics",
    "/api/v1/openapi.json",
    "/api/v1/version",
    "/api/v1/events",
    "/api/3.0/mlflow/server-info",
    "/api/2.0/mlflow/experiments/get?experiment_id=0",
    "/api/v1/nothing",
    "/get-artifact?run_id=none&path=x",
    "/login",
]


@pytest.mark.parametrize("path", READS)
def test_no_answer_holds_the_token(locked, path):
    for presented in (f"Bearer {TOKEN}", None, f"Bearer {TOKEN}x"):
        told = locked.send("GET", path, authorization=presented)
        assert TOKEN.encode() not in told.body
        assert TOKEN not in str(told.headers)


def test_only_an_upload_in_parts_hands_the_token_back_to_who_sent_it(locked):
    place = f"/api/2.0/mlflow-artifacts/mpu/create/{locked.experiment}/{locked.run}/artifacts"
    begun = locked.send("POST", place, b'{"path":"x","num_parts":2}').json
    assert [one["headers"] for one in begun["credentials"]] == [{"Authorization": f"Bearer {TOKEN}"}] * 2
    assert locked.send("POST", place, b'{"path":"x","num_parts":2}', authorization=None).status == 401
    address = begun["credentials"][0]["url"].partition(str(locked.up.port))[2]
    octets = {"content_type": "application/octet-stream"}
    assert locked.send("PUT", address, b"x", authorization=None, **octets).status == 401
    assert locked.send("PUT", address, b"x", **octets).status == 200


def test_the_token_is_in_no_process_and_no_log(locked):
    locked.send("POST", "/login", f"secret={TOKEN}wrong&next=/".encode(), content_type="application/x-www-form-urlencoded")
    locked.send("GET", f"/get-artifact?run_id={TOKEN}&path=x")
    for process in (
        locked.up.process.pid,
        *(one.pid for one in psutil.Process(locked.up.process.pid).children(recursive=True)),
    ):
        assert TOKEN not in " ".join(psutil.Process(process).cmdline())
    assert TOKEN not in (locked.up.folder / "up.log").read_text()
    assert TOKEN.encode() not in b"".join(path.read_bytes() for path in locked.up.folder.rglob("*") if path.is_file())


def test_a_database_that_goes_away_tells_no_password(tmp_path):
    """The server runs on a PostgreSQL that refuses from some moment on: what it answers and logs names no password."""
    server = postgresql_url()
    if server is None:
        pytest.skip("no PostgreSQL here")
    from sqlalchemy import create_engine, make_url, text

    with fresh_schema(server) as url:
        role = f"kedge_test_{secrets.token_hex(4)}"
        given = make_url(url)
        admin = create_engine(given.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            schema = connection.scalar(text("SELECT current_schema()"))
            connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"))
            connection.execute(text(f'GRANT ALL ON SCHEMA "{schema}" TO {role}'))
        try:
            own = given.set(username=role, password=PASSWORD).render_as_string(hide_password=False)
            with attacked(tmp_path, KEDGE_STORE=own) as target:
                with admin.connect() as connection:
                    connection.execute(text(f"ALTER ROLE {role} NOLOGIN"))
                    connection.execute(
                        text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :r"), {"r": role}
                    )
                time.sleep(0.2)
                for path in ("/api/v1/events", "/api/2.0/mlflow/experiments/get?experiment_id=0", "/", "/metrics"):
                    told = target.send("GET", path)
                    assert told.status >= 500 or told.status == 404, (path, told)
                    assert PASSWORD.encode() not in told.body
                assert PASSWORD not in Path(target.up.folder / "up.log").read_text()
        finally:
            with admin.connect() as connection:
                connection.execute(text(f"DROP OWNED BY {role} CASCADE"))
                connection.execute(text(f"DROP ROLE {role}"))
            admin.dispose()

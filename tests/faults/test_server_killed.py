"""kill -9 of `kedge up` under the load of MLflow's protocol: each write that was answered is readable after a restart."""

from __future__ import annotations

import http.client
import json
import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from tests.mlflow.conftest import Up

from kedge.domain.ids import RunId
from kedge.records import open_records
from kedge.settings import Settings, settings

THREADS, KEYS, BATCHES = 6, 5, 12
RUNS = "/api/2.0/mlflow/runs"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


class Writer(threading.Thread):
    """One client: creates runs, logs batches and a file to each, ends them; remembers what was answered."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self.port, self.told = port, name
        self.created: dict[str, int] = {}  # run: batches that were answered
        self.files: list[tuple[str, bytes]] = []
        self.ended: set[str] = set()
        self.refused: list[tuple[int, bytes]] = []

    def run(self) -> None:
        self.line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            while not self.refused:
                self._one_run()
        except (OSError, http.client.HTTPException):
            pass  # the server was killed
        finally:
            self.line.close()

    def _one_run(self) -> None:
        made = self._post("create", {"experiment_id": "0", "start_time": 1, "run_name": self.told})
        run = made["run"]["info"]["run_id"]
        self.created[run] = 0
        for batch in range(BATCHES):
            metrics = [{"key": f"k{at}", "value": batch / 7, "timestamp": batch, "step": batch} for at in range(KEYS)]
            labels = {"params": [{"key": f"p{batch}", "value": "1"}], "tags": [{"key": "batch", "value": str(batch)}]}
            self._post("log-batch", {"run_id": run, "metrics": metrics, **labels})
            self.created[run] = batch + 1
        data = run.encode() * 500
        self._ask("PUT", f"{FILES}/0/{run}/artifacts/notes/{self.told}.bin", data, kind="application/octet-stream")
        self.files.append((run, data))
        self._post("update", {"run_id": run, "status": "FINISHED", "end_time": 9})
        self.ended.add(run)

    def _post(self, call: str, body: dict[str, object]) -> dict:
        return json.loads(self._ask("POST", f"{RUNS}/{call}", json.dumps(body).encode(), kind="application/json"))

    def _ask(self, method: str, path: str, body: bytes, *, kind: str) -> bytes:
        self.line.request(method, path, body, {"content-type": kind})
        answer = self.line.getresponse()
        read = answer.read()
        if answer.status != 200:
            self.refused.append((answer.status, read))
            raise OSError("refused")
        return read


@pytest.mark.slow
def test_what_the_server_answered_is_there_after_it_was_killed(tmp_path: Path) -> None:
    chance, writers = random.Random(7), []
    for life in range(3):
        server = Up(tmp_path)
        server.start()
        now = [Writer(server.port, f"{life}-{me}") for me in range(THREADS)]
        for writer in now:
            writer.start()
        wait_for(now)
        time.sleep(chance.random() * 0.4)
        server.kill()
        for writer in now:
            writer.join(30)
        writers += now
        assert [writer.refused for writer in now] == [[]] * THREADS
    server = Up(tmp_path)
    server.start()
    try:
        for writer in writers:
            require_readable(server, writer)
    finally:
        server.stop()
    assert sum(len(writer.ended) for writer in writers) >= THREADS
    require_nothing_by_half(tmp_path)


def wait_for(writers: list[Writer]) -> None:
    """Wait until each has ended its first run."""
    end = time.monotonic() + 60
    while not all(writer.ended for writer in writers):
        assert time.monotonic() < end, [writer.refused for writer in writers]
        time.sleep(0.01)


def require_readable(server: Up, writer: Writer) -> None:
    for run, batches in writer.created.items():
        status, found = server.ask("GET", f"{RUNS}/get?run_id={run}")
        assert status == 200
        data, info = found["run"]["data"], found["run"]["info"]
        assert batches <= len(data.get("params", [])) <= batches + 1
        for metric in data.get("metrics", []):
            assert metric["step"] >= batches - 1
            assert metric["value"] == metric["step"] / 7
        if run in writer.ended:
            assert info["status"] == "FINISHED"
    for run, data in writer.files:
        status, read = server.ask("GET", f"{FILES}/0/{run}/artifacts/notes/{writer.told}.bin")
        assert (status, read.encode()) == (200, data)


def require_nothing_by_half(folder: Path) -> None:
    """Each batch is there with all its points, its param and its tag, or not at all."""
    records = open_records(settings(folder))
    for found in records.logging.get_runs([RunId(row) for row in all_runs(records.settings)]):
        batches = len(found.run.params)
        assert found.run.tags.get("batch", "-1") == str(batches - 1)
        assert len(found.latest) == (KEYS if batches else 0)
        for one in found.latest:
            assert len(records.logging.history(found.run.id, one.key, limit=100).items) == batches
    records.close()


def all_runs(where: Settings) -> list[str]:
    with sqlite3.connect(where.folder / "kedge.db") as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = file.execute("SELECT id FROM runs").fetchall()
    file.close()
    return [row[0] for row in rows]

"""A sender killed at any moment: no alert is lost, and a receiver that keeps ids is told each of them once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kedge.domain.channels import DeliveryState
from kedge.storage.sql import open_store

ROOT = Path(__file__).parents[2]
ALERTS, KILLS = 30, 8
SENDER = """
import sys
from datetime import timedelta
from kedge.adapters.channels import channel
from kedge.adapters.clock import SystemClock
from kedge.domain.channels import AlertRules, ChannelKind, ChannelRules
from kedge.monitoring.telling import messenger
from kedge.storage.sql import open_store

messenger.LEASE_SECONDS = messenger.OWNED_SECONDS = 0.2
messenger.FIRST_RETRY = 0.05
store, rules = open_store(sys.argv[1]), ChannelRules(kind=ChannelKind.WEBHOOK, url=sys.argv[2], allow_private=True)
made = messenger.Messenger(
    alerts=store.alerts, runs=store.runs, models=store.models, deployments=store.deployments, notes=store.notes,
    first={"ops": rules}, rules=AlertRules(), channels=lambda: {"ops": channel(rules, lambda *_: "")},
    window="1d", project="flights", clock=SystemClock(), owner=sys.argv[3],
)
print("ready", flush=True)
while True:
    made.tick()
"""
RAISER = """
import sys
from datetime import UTC, datetime
from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.storage.sql import open_store

store, model = open_store(sys.argv[1]), ModelName("flights")
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    at = datetime.now(UTC)
    alert = Alert(key=str(number), model=model, kind=AlertKind.RISK, message="m", raised_at=at, subject=f"version {number}")
    event = Event(key=digest_of(number), kind=EventKind.ALERT_RAISED, at=at, subject=model, actor="kedge", message="m")
    store.watches.raise_alert(alert, event)
    print(number, flush=True)
"""


class Keeper(BaseHTTPRequestHandler):
    """Keeps each id that it took, and how often; every third request is answered late or with an error."""

    def do_POST(self) -> None:
        server: Any = self.server
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.asked += 1
        if server.asked % 5 == 0:
            self.send_response(503)
        else:
            server.took.setdefault(told["alert"]["subject"], []).append(told["id"])
            time.sleep(0.02)
            self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def receiver() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Keeper)
    server.took, server.asked = {}, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


def test_no_alert_is_lost_and_none_has_two_ids(tmp_path: Path, receiver: Any) -> None:
    url = f"sqlite:///{tmp_path / 'kedge.db'}"
    open_store(url).close()
    raiser = started(RAISER, url, str(ALERTS))
    for turn in range(KILLS):
        sender = started(SENDER, url, f"http://127.0.0.1:{receiver.server_port}/", f"sender-{turn}")
        time.sleep(0.1 + 0.07 * turn)
        killed(sender)
    assert raiser.wait(120) == 0
    assert raiser.stdout is not None
    raiser.stdout.close()
    last = started(SENDER, url, f"http://127.0.0.1:{receiver.server_port}/", "last")
    store, until = open_store(url), time.monotonic() + 120
    try:
        while time.monotonic() < until and (store.alerts.notices() or store.alerts.waiting() or len(receiver.took) < ALERTS):
            time.sleep(0.1)
        sent = store.alerts.counts().deliveries
        ended = {life.newest.subject: store.alerts.deliveries(life.id)[0] for life in store.alerts.list(limit=ALERTS + 1)}
    finally:
        killed(last)
        store.close()
    assert sent == {("ops", DeliveryState.SENT.value): ALERTS}
    assert set(receiver.took) == set(ended) == {f"version {number}" for number in range(ALERTS)}
    for subject, ids in receiver.took.items():
        assert set(ids) == {ended[subject].id}, "a second attempt bears the first one's id"
    assert datetime.now(UTC) >= max(one.ended_at for one in ended.values() if one.ended_at is not None)


def test_a_raise_killed_at_any_moment_has_its_notice_or_is_not_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kedge.db'}"
    open_store(url).close()
    for turn in range(3):
        raiser = started(RAISER, url, "100000")
        assert raiser.stdout is not None
        for _ in range(10 + 25 * turn):
            raiser.stdout.readline()
        killed(raiser)
    store = open_store(url)
    lives = {life.id for life in store.alerts.list(limit=100_000)}
    notices = [notice.life.id for _, notice in store.alerts.notices(limit=100_000)]
    events = [event for _, event in store.events.list(limit=100_000)]
    assert lives
    assert sorted(lives) == sorted(notices)
    assert (
        len(events) == len(lives) == len(store.watches.alerts(next(iter(store.alerts.list(limit=1))).model, limit=100_000))
    )
    store.close()

"""Many alerts through the outbox, with senders that are killed on the way: what came out, how often, how fast.

python -m tests.faults.outboxes STORE FILE OWNER SECONDS sends what the outbox holds to a channel that appends the ids to
FILE; another sender takes over what it has not ended SECONDS after it took it.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from kedge.adapters.clock import SystemClock
from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.channels import AlertRules, ChannelKind, ChannelRules, Message
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.domain.monitoring import Health, Window
from kedge.monitoring.telling import messenger
from kedge.storage.sql import open_store

ROOT = Path(__file__).parents[2]
AT_ONCE = 500
MODEL = ModelName("flights")


class Came(NamedTuple):
    """What came out of an outbox: how many deliveries there should be, are ended as sent, and came at least once; how often
    one came once more; the kills, and the seconds that sending took."""

    due: int
    sent: int
    came: int
    doubled: int
    kills: int
    seconds: float


class AppendChannel:
    """Appends the id of each message to a file, in one write."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def send(self, message: Message) -> str:
        """Take a message."""
        os.write(self._file, f"{message.id}\n".encode())
        return "200 ok"


def fill(url: str, count: int) -> None:
    """Raise so many alerts, each of a condition of its own, a window of them in a transaction."""
    store, start = open_store(url), datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    for first in range(0, count, AT_ONCE):
        window = Window(start + timedelta(minutes=first), start + timedelta(minutes=first + 1))
        alerts = tuple(
            Alert(key=str(one), model=MODEL, kind=AlertKind.BUSINESS, message="m", raised_at=window.end, subject=f"n{one}")
            for one in range(first, min(first + AT_ONCE, count))
        )
        standing = tuple(one.id for one in alerts)
        health = Health(
            model=MODEL, window=window, rows=1, labels=0, versions=(), blocks=(), drift=(), risk=None, loss=None,
            alerts=alerts, standing=standing,
        )  # fmt: skip
        event = Event(
            key=digest_of(first), kind=EventKind.WINDOW_MEASURED, at=window.end, subject=MODEL, actor="kedge", message="m"
        )
        store.watches.put(health, b"", event=event)
    store.close()


def started(url: str, file: Path, owner: str, *, held: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.faults.outboxes", url, str(file), owner, str(held)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"})


def drained(folder: Path, count: int, *, kills: int, limit: float) -> Came:
    """Fill an outbox, send it by two processes of which one is killed and replaced so often, and count what came."""
    url, file = f"sqlite:///{folder / 'kedge.db'}", folder / "came"
    fill(url, count)
    file.touch()
    began, killed = time.monotonic(), 0
    held = 1.0 if kills else 600.0  # who is only slow (a disk that stalls for a second) must not look as if it were killed
    senders = [started(url, file, f"sender-{place}", held=held) for place in range(2)]
    store = open_store(url)
    try:
        while time.monotonic() - began < limit:
            time.sleep(0.05)
            there = sum(store.alerts.counts().deliveries.values())
            lines = file.read_bytes().count(b"\n")
            if lines >= count and there >= count and not store.alerts.waiting(limit=1) and not store.alerts.notices(limit=1):
                break
            if killed < kills and lines >= count * (killed + 1) // (kills + 1):
                senders[killed % 2].send_signal(signal.SIGKILL)
                senders[killed % 2].wait(30)
                killed += 1
                senders[(killed - 1) % 2] = started(url, file, f"sender-{killed + 1}", held=held)
        seconds = time.monotonic() - began
        sent = sum(number for (_, state), number in store.alerts.counts().deliveries.items() if state == "sent")
    finally:
        for one in senders:
            one.send_signal(signal.SIGKILL)
            one.wait(30)
        store.close()
    counts = Counter(file.read_text().split())
    doubled = sum(number - 1 for number in counts.values())
    return Came(due=count, sent=sent, came=len(counts), doubled=doubled, kills=killed, seconds=seconds)


def send(url: str, file: str, owner: str, *, held: float) -> None:
    """Send what an outbox holds, without end."""
    messenger.LEASE_SECONDS = messenger.OWNED_SECONDS = held
    store, rules, channel = open_store(url), ChannelRules(kind=ChannelKind.LOG), AppendChannel(file)
    made = messenger.Messenger(
        alerts=store.alerts, runs=store.runs, models=store.models, deployments=store.deployments, notes=store.notes,
        first={"ops": rules}, rules=AlertRules(), channels=lambda: {"ops": channel},
        window="1d", project="flights", clock=SystemClock(), owner=owner,
    )  # fmt: skip
    while True:
        if not made.tick():
            time.sleep(0.02)


if __name__ == "__main__":
    send(*sys.argv[1:4], held=float(sys.argv[4]))

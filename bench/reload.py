"""Changes under load with two workers: reload, canary steps, shadow, rollback; workers replaced one by one; one killed.

python bench/reload.py [--requests 100000]

16 clients ask one row at a time on connections that they keep, as fast as they are answered, until so many requests are
sent. Each is counted by its client. Limit: none fails while deployments change and while SIGHUP replaces workers. A
worker that is killed takes with it those it was answering, and no more; each answer that was given is in the log once.
"""

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import psutil
from serving import INFER, ROOT, Server, free_port

from kedge.domain.records import decode_batch
from kedge.storage.journal import FileJournal

CLIENTS = 16
Disturb = Callable[[], Coroutine[None, None, None]]


class Load:
    """Clients that ask until they are told to end; each knows what was answered and what was not."""

    def __init__(self, server) -> None:
        self.server, self.answered, self.failed, self.ids = server, 0, Counter(), []
        self.done = False

    async def run(self, requests, disturb) -> float:
        """Send so many requests while `disturb` goes on; give the seconds it took."""
        begun, until = time.perf_counter(), self.answered + requests
        going = asyncio.create_task(disturb())
        await asyncio.gather(*(self._client(number, until) for number in range(CLIENTS)))
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going
        return time.perf_counter() - begun

    async def _client(self, number, until) -> None:
        body, headers = self.server.body("row")
        reader = writer = None
        count = 0
        while self.answered < until:
            count += 1
            name = f"{os.getpid()}-{number}-{until}-{count}"
            sent = b'{"id":"' + name.encode() + b'",' + body[1:]
            head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(sent)}\r\n"
            head += "".join(f"{key}: {value}\r\n" for key, value in headers.items()) + "\r\n"
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
                writer.write(head.encode() + sent)
                said = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(said.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
                status = int(said.split(b" ", 2)[1])
                if status == 200:
                    self.answered += 1
                    self.ids.append(name)
                else:
                    self.failed[status] += 1
                if b"connection: close" in said:
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed[type(error).__name__] += 1
                writer = None
        if writer is not None:
            writer.close()


def switching(folder) -> Disturb:
    """Change the deployment three times a second."""

    async def disturb() -> None:
        words = [sys.executable, str(ROOT / "bench/serving_switch.py"), str(folder)]
        switch = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
        try:
            while line := await switch.stdout.readline():
                disturb.changes = int(line)
        finally:
            switch.terminate()
            await switch.wait()

    disturb.changes = 0
    return disturb


def signalling(server, number) -> Disturb:
    """Have workers replaced again and again: by SIGHUP to the supervisor, or by SIGKILL to one of them."""

    async def disturb() -> None:
        while True:
            await asyncio.sleep(2)
            supervisor = psutil.Process(server.process.pid)
            target = supervisor if number == signal.SIGHUP else supervisor.children()[0]
            target.send_signal(number)
            disturb.changes += 1

    disturb.changes = 0
    return disturb


def main() -> int:
    """Measure and print, figure beside limit."""
    options = argparse.ArgumentParser()
    options.add_argument("--requests", type=int, default=100_000)
    requests = options.parse_args().requests
    with tempfile.TemporaryDirectory(prefix="kedge-reload-") as home:
        folder, port = Path(home) / "project", free_port()
        make = [sys.executable, str(ROOT / "bench/serving_project.py"), str(folder)]
        subprocess.run(make, check=True, stdout=sys.stderr)
        words = [sys.executable, "-m", "kedge", "serve", str(folder), "--port", str(port), "--workers", "2"]
        server = Server("kedge", [*words, "--store", str(folder / ".kedge")], folder=folder, port=port)
        server.start()
        print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; 2 workers")
        load = Load(server)
        try:
            held = disturbed(load, requests)
        finally:
            server.stop()
        return 0 if logged(load, folder) and held else 1


def disturbed(load, requests) -> bool:
    """Load the server while each kind of change goes on; say whether no more failed than may."""
    server, held = load.server, True
    for what, disturb, limit in (
        ("reload, canary, shadow, rollback", switching(server.folder), 0),
        ("SIGHUP: workers replaced", signalling(server, signal.SIGHUP), 0),
        ("SIGKILL: a worker lost", signalling(server, signal.SIGKILL), CLIENTS),
    ):
        before = sum(load.failed.values())
        seconds = asyncio.run(load.run(requests, disturb))
        failed = sum(load.failed.values()) - before
        allowed = limit * disturb.changes
        held = held and failed <= allowed
        told = f"{failed} failed of {requests:,} (limit {allowed})  {requests / seconds:,.0f}/s  {disturb.changes} changes"
        print(f"{what:34} {told}  {'ok' if failed <= allowed else 'OVER'}")
    supervisor = psutil.Process(server.process.pid)
    held_by = [process.memory_full_info().pss >> 20 for process in (supervisor, *supervisor.children())]
    print(f"memory (PSS, MiB): supervisor {held_by[0]}, workers {held_by[1:]}")
    return held


def logged(load, folder) -> bool:
    """Say whether each answer is in the log once."""
    found = Counter(decode_batch(data).request for _, data in FileJournal(folder / ".kedge/predictions", "bench").scan())
    lost, twice = set(load.ids) - set(found), sum(count > 1 for count in found.values())
    print(f"log: {len(load.ids):,} answers, {len(lost)} not in it, {twice} in it twice  {'OVER' if lost or twice else 'ok'}")
    if load.failed:
        print(f"what failed: {dict(load.failed)}")
    return not lost and not twice


if __name__ == "__main__":
    sys.exit(main())

"""A supervised data plane in miniature: a real supervisor, real workers and a real log, around an application that can do
what a model may do to its process. `python -m tests.faults.serving_workers FOLDER WORKERS [LIMIT=VALUE ...]`."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from kedge.serving.door.connection import Connection
from kedge.serving.ending import Ending
from kedge.serving.exposition import exposition
from kedge.serving.listening import listen, url_of
from kedge.serving.metrics import Metrics
from kedge.serving.supervisor import REFUSED, Supervisor
from kedge.serving.worker import Bounds, answer
from kedge.storage.journal import FileJournal


class Application:
    """Logs the path of each request, then answers with the process that did; some paths are bad for it."""

    def __init__(self, metrics: Metrics, journal: FileJournal) -> None:
        self.metrics, self.journal = metrics, journal
        self.counted = metrics.model("m").version(1, "champion")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"]
        match path.split("/")[1]:
            case "die":
                os._exit(3)
            case "loop":
                while True:
                    pass
            case "hang":  # in a thread, as a model's call may be: the loop goes on
                self.metrics.segment.called = time.monotonic()
                await asyncio.sleep(1000)
            case "eat":
                held = []
                while True:
                    held.append(bytearray(8 << 20))
            case "gulp":
                bytearray(64 << 30)
            case "slow":
                await asyncio.sleep(0.5)
        body = str(os.getpid()).encode()
        if path == "/metrics":
            body = exposition(self.metrics)[1]
        elif path.startswith(("/ask", "/slow")):
            self.journal.append(path.encode())
            self.counted.requests[200].add()
        head = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})


def main(folder: Path, workers: int, **more: float) -> int:
    """Supervise until told to end."""
    listener, parent = listen("127.0.0.1", 0), os.getpid()
    refuse, crash = more.pop("refuse", 0), more.pop("crash", 0)
    bounds = Bounds(**{**more, "memory": int(more.get("memory", 0))})

    def begin(metrics: Metrics) -> None:
        if refuse:
            sys.exit(REFUSED)
        if crash and (folder / "crash").exists():
            raise ValueError("a bad start")
        journal = FileJournal(folder, f"serve-{os.getpid()}")
        with Ending.by_signals(supervised=True) as ending:
            app = Application(metrics, journal)
            answer(
                app,
                listener,
                metrics=metrics,
                bounds=bounds,
                ending=ending,
                ready=lambda: None,
                supervisor=parent,
                options={"http": Connection},
            )
        journal.close()

    def ready() -> None:
        sys.stdout.write(f"{url_of(listener)}\n")
        sys.stdout.flush()

    return Supervisor(listener, workers, begin=begin, bounds=bounds, ready=ready).run()


if __name__ == "__main__":
    limits = {name: float(value) for name, _, value in (word.partition("=") for word in sys.argv[3:])}
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), **limits))

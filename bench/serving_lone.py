"""One caller alone, within the process: where its microseconds go, and what the prediction log adds to them.

python bench/serving_lone.py [--requests 50000] [--project FOLDER] [--binary]

The server's own connection on a transport that keeps what is written: all that a request costs but the kernel's part of
the network. Log on and off in alternating blocks of 2,000 requests, as a machine that others use is never the same for
long; then the stages, as medians, without what marking them costs. `bench/serving.py` asks the same from outside.
"""

import argparse
import asyncio
import gc
import json
import os
import struct
import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import numpy as np  # noqa: E402
import uvicorn  # noqa: E402
import uvloop  # noqa: E402
from bench.serving_project import make  # noqa: E402
from uvicorn.server import ServerState  # noqa: E402

from kedge.app import open_house  # noqa: E402
from kedge.config import read_project, settings  # noqa: E402
from kedge.serving.answering import Finish  # noqa: E402
from kedge.serving.batch import Queue  # noqa: E402
from kedge.serving.door.application import HttpDoor  # noqa: E402
from kedge.serving.door.connection import Connection  # noqa: E402
from kedge.serving.host import Host, host_of  # noqa: E402
from kedge.serving.loader import Loaded  # noqa: E402
from kedge.serving.log import PredictionLog  # noqa: E402
from kedge.serving.server import limits_of  # noqa: E402
from kedge.storage import segments  # noqa: E402

BLOCK = 2000
WIDTH = 20


class Kept(asyncio.Transport):
    """A transport that keeps the last thing written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""

    def write(self, data: Any) -> None:
        self.written = data

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        """Go on: nobody is read from."""


def request(*, binary: bool) -> bytes:
    """Write the request of one row."""
    row = [(place * 104729 % 2003) / 500 - 2 for place in range(WIDTH)]
    said: dict[str, Any] = {"name": "x", "shape": [1, WIDTH], "datatype": "FP64"}
    if binary:
        data = struct.pack(f"<{WIDTH}d", *row)
        more = {
            "inputs": [said | {"parameters": {"binary_data_size": len(data)}}],
            "parameters": {"binary_data_output": True},
        }
        head = json.dumps(more).encode()
        body, kind = head + data, b"application/octet-stream\r\nInference-Header-Content-Length: %d" % len(head)
    else:
        body, kind = json.dumps({"inputs": [said | {"data": row}]}).encode(), b"application/json"
    lines = (b"POST /v2/models/bench/infer HTTP/1.1", b"Host: localhost", b"Content-Type: %b" % kind)
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", body))


class Marks:
    """When each stage of one request ended."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def cost(self) -> float:
        """Tell how many us a mark costs."""
        idle = SimpleNamespace(plain=lambda: None, marked=lambda: None)
        self.before(idle, "marked", "")
        plain, marked = (min(timeit.repeat(call, number=1000, repeat=20)) * 1e3 for call in (idle.plain, idle.marked))
        return marked - plain

    def set(self, stage: str) -> None:
        self.seen.append((stage, perf_counter()))

    def before(self, owner: Any, name: str, stage: str) -> None:
        """Have a stage end where a function begins."""
        plain = getattr(owner, name)

        def marked(*args: Any, **more: Any) -> Any:
            self.set(stage)
            return plain(*args, **more)

        setattr(owner, name, marked)

    def around(self, owner: Any, name: str, stages: tuple[str, str]) -> None:
        """Have one stage end where a function begins, and another where it ends."""
        plain = getattr(owner, name)

        def marked(*args: Any, **more: Any) -> Any:
            self.set(stages[0])
            given = plain(*args, **more)
            self.set(stages[1])
            return given

        setattr(owner, name, marked)


async def staged(ask: Callable[[], None], wire: Kept, *, door: HttpDoor, times: int) -> None:
    """Print what each stage takes."""
    marks = Marks()
    marks.before(door, "begin", "the head is known")
    marks.before(door, "ask", "the body is read")
    marks.before(Queue, "put", "rows checked, id, time")
    marks.around(Loaded, "answer", ("on the way to the model", "the model's call"))
    marks.before(Finish, "__call__", "the answer checked")
    marks.before(PredictionLog, "append_all", "record made")
    segments.os = SimpleNamespace(**vars(os))  # type: ignore[attr-defined]
    marks.around(segments.os, "write", ("record encoded, framed", "record written: write(2)"))
    marks.before(Finish, "_tell", "on the way back from the log")
    marks.before(door, "end", "answer made and told")
    marks.before(wire, "write", "answer encoded, head and body")
    marks.before(Finish, "_count", "returned to the loop")
    found = []
    for _ in range(times):
        marks.seen = [("", perf_counter())]
        ask()
        await asyncio.sleep(0)
        marks.set("counted: metrics")
        found.append(marks.seen)
    stages = [stage for stage, _ in found[-1]]
    taken = np.diff([[at for _, at in each] for each in found if [stage for stage, _ in each] == stages], axis=1) * 1e6
    mark = marks.cost()
    for stage, each in zip(stages[1:], taken.T, strict=True):
        print(f"{stage:34}{max(0.0, np.median(each) - mark):6.1f} us")
    sent = stages.index("answer encoded, head and body")
    print(f"{'until the answer is written':34}{np.median(taken[:, :sent].sum(axis=1)) - sent * mark:6.1f} us")


async def logged(ask: Callable[[], None], host: Host, *, times: int) -> dict[int, dict[str, float]]:
    """Find what the log adds, at the median and at the 99th percentile, in us: `more` by pairs of blocks, half of which lie
    within `low` and `high`."""
    took: dict[bool, list[float]] = {True: [], False: []}
    for block in range(2 * -(-times // BLOCK)):
        on = block % 2 == 0
        if on:
            vars(host.log).pop("append_all", None)
        else:
            vars(host.log)["append_all"] = lambda batches: True
        for _ in range(BLOCK):
            began = perf_counter()
            ask()
            took[on].append(perf_counter() - began)
            await asyncio.sleep(0)
    vars(host.log).pop("append_all", None)
    found = {}
    for share in (50, 99):
        by = [np.percentile(np.array(each).reshape(-1, BLOCK), share, axis=1) * 1e6 for each in took.values()]
        figures = [
            *(np.percentile(each, share) * 1e6 for each in took.values()),
            *np.percentile(by[0] - by[1], (25, 50, 75)),
        ]
        found[share] = dict(zip(("on", "off", "low", "more", "high"), map(float, figures), strict=True))
    return found


async def measure(host: Host, *, binary: bool, times: int, as_json: bool) -> None:
    """Ask by one connection, and print what was found; as JSON, the log's 99th percentile alone."""
    door = HttpDoor(host)
    config = uvicorn.Config(door, lifespan="off", log_config=None, access_log=False, date_header=False, server_header=False)
    config.load()
    wire, connection = Kept(), Connection(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(wire)
    asked = request(binary=binary)
    for _ in range(100):
        connection.data_received(asked)
        await asyncio.sleep(0.005)  # the first way is the long one
    if not wire.written.startswith(b"HTTP/1.1 200"):
        raise SystemExit(wire.written.decode())
    gc.collect()
    gc.freeze()

    def ask() -> None:
        connection.data_received(asked)

    found = await logged(ask, host, times=times)
    if as_json:
        print(json.dumps(found[99]))
        return
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; one row, {'binary' if binary else 'JSON'}; {times} a side"
    )
    for share, each in found.items():
        print(
            f"p{share}: log on {each['on']:.1f}, off {each['off']:.1f}, {each['on'] - each['off']:+.1f} us;"
            f" by pairs of blocks {each['more']:+.1f} (half of them {each['low']:+.1f} to {each['high']:+.1f})"
        )
    await staged(ask, wire, door=door, times=min(times, 20_000))


def main() -> None:
    """Make the benchmark's project unless one is given, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = asked.project or Path(name) / "project"
        if asked.project is None:
            make(folder)
        spec = read_project(folder)
        house = open_house(settings(folder, store=str(folder / ".kedge")), spec, writer="lone")
        host = host_of(house, limits=limits_of(spec.serving))
        host.planes[0].refresh()
        host.log.start()
        try:
            uvloop.run(measure(host, binary=asked.binary, times=asked.requests, as_json=asked.json))
        finally:
            host.log.stop()
            house.close()


if __name__ == "__main__":
    main()

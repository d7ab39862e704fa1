"""`kedge serve`: the data plane of one project, in one process or several."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO

import msgspec
import typer

from kedge.app import open_reports
from kedge.cli.opening import HERE, Folder, Store, opened
from kedge.config import read_serving, settings
from kedge.domain.predictions import Ack
from kedge.domain.project import ServingRules
from kedge.domain.sizes import bytes_of
from kedge.errors import ConfigError, KedgeError
from kedge.log_keeper import kept_small
from kedge.ports import PlaneReports
from kedge.security.redact import redact
from kedge.serving.ending import Ending
from kedge.serving.listening import listen, require_free, require_token, url_of
from kedge.serving.metrics import Metrics
from kedge.serving.pinning import pin_threads
from kedge.serving.reporting import reporting
from kedge.serving.supervisor import REFUSED, Supervisor
from kedge.serving.worker import Bounds


def command(
    folder: Folder = HERE,
    store: Store = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8500,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes that answer; else serving.workers of kedge.toml.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory that one of them may take, such as 2GiB; else serving.memory.")
    ] = None,
    grpc_port: Annotated[int | None, typer.Option(min=1, max=65535, help="The port of the gRPC door; else none.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model to serve; repeat it. Else all that are deployed.")] = None,
    ack: Annotated[Ack | None, typer.Option(help="What an answer waits for; else predictions.ack of kedge.toml.")] = None,
    replay_clock: Annotated[
        bool, typer.Option("--replay-clock", help="Requests say what time it is (replays only).")
    ] = False,
    while_input: Annotated[bool, typer.Option("--while-input", help="End when standard input closes.")] = False,
) -> None:
    """Serve the deployed model over the Open Inference Protocol v2."""
    try:
        bytes_of(memory or "1B")
    except ValueError as error:
        raise typer.BadParameter(f"--memory: {error}") from None
    if not folder.is_dir():
        raise ConfigError(f"the folder {folder} does not exist; name a project's folder, or run this in one")
    name, rules = read_serving(folder)
    asked = {"workers": workers, "memory": memory, "grpc_port": grpc_port}
    rules = msgspec.structs.replace(rules, **{key: value for key, value in asked.items() if value is not None})
    token = settings(folder, store=store).token
    pin_threads(max(1, min(rules.threads, _cores() // rules.workers)))
    require_token(host, token or None)
    if rules.grpc_port:
        require_free(host, rules.grpc_port)
    with listen(host, port) as listener:
        tell = _Told(sys.stdout, tuple(dict.fromkeys(filter(None, (name, *(model or ()))))), url_of(listener), rules)
        plane = _Plane(folder, store, listener, rules, model or None, ack, replay_clock)
        if rules.workers > 1:
            sys.exit(_supervised(plane, ready=tell, while_input=while_input))
        if while_input:
            threading.Thread(target=_end_with_input, daemon=True).start()
        plane.answer(Metrics(), ready=tell)


def _supervised(plane: "_Plane", *, ready: Callable[[], None], while_input: bool) -> int:
    _import_what_workers_need()
    parent = os.getpid()

    def begin(metrics: Metrics) -> None:
        try:
            plane.answer(metrics, supervisor=parent)
        except KedgeError as error:
            sys.stderr.write(f"error: {redact(str(error))}\n")
            sys.exit(REFUSED)

    bounds = Bounds.of(plane.rules)
    supervisor = Supervisor(
        plane.listener, plane.rules.workers, begin=begin, bounds=bounds, ready=ready, reports=plane.reports()
    )
    return supervisor.run(while_open=0 if while_input else None)


@dataclass(frozen=True)
class _Plane:
    """What is served, and how."""

    folder: Path
    store: str | None
    listener: socket.socket
    rules: ServingRules
    only: Sequence[str] | None
    ack: Ack | None
    replay_clock: bool

    def reports(self) -> PlaneReports | None:
        """Open what takes this data plane's reports of itself; None for a replay, which has no time of its own."""
        where = settings(self.folder, store=self.store)
        return None if self.replay_clock else open_reports(where, writer=f"plane-{os.getpid()}")

    def _reporting(self, metrics: Metrics, *, alone: bool) -> AbstractContextManager[None]:
        """Tell of itself meanwhile, where no supervisor does."""
        reports = self.reports() if alone else None
        return reporting(metrics, reports) if reports is not None else nullcontext()

    def answer(self, metrics: Metrics, *, ready: Callable[[], None] = lambda: None, supervisor: int = 0) -> None:
        """Answer from this process until told to end."""
        from kedge.serving.server import serve_on  # here: a supervisor loads no model and needs none of this

        with (
            Ending.by_signals(supervised=bool(supervisor)) as ending,
            opened(self.folder, self.store, writer=f"serve-{os.getpid()}", bare=True) as house,
            kept_small(house),
            self._reporting(metrics, alone=not supervisor),
        ):
            if missing := sorted({*(self.only or ())} - {*house.meta.deployments.names()}):
                sys.stderr.write(f"not deployed, and answered once it is (kedge deploy): {', '.join(missing)}\n")
            serve_on(
                self.listener,
                house,
                rules=self.rules,
                ending=ending,
                metrics=metrics,
                only=self.only,
                ack=self.ack,
                replay_clock=self.replay_clock,
                token=house.settings.token or None,
                ready=ready,
                supervisor=supervisor,
            )


@dataclass(frozen=True)
class _Told:
    """Says what is served where: the only line on standard output, whatever the project's own code prints."""

    out: TextIO
    models: Sequence[str]
    url: str
    rules: ServingRules

    def __call__(self) -> None:
        rules = self.rules
        by = f" with {rules.workers} workers" if rules.workers > 1 else ""
        grpc = f" (gRPC on port {rules.grpc_port})" if rules.grpc_port else ""
        what = ", ".join(self.models) or "every deployed model"
        self.out.write(f"kedge serves {what}{by}{grpc} at {self.url}\n")
        self.out.flush()


def _import_what_workers_need() -> None:
    """Import, before the first fork, what every worker imports: they share its memory and start sooner. No frames and no
    models: Polars starts threads when it is imported, and none may run while a process is forked."""
    import numpy  # noqa: F401
    import uvloop  # noqa: F401
    from uvicorn.protocols.http import httptools_impl  # noqa: F401


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_input() -> None:
    """Wait for the end of standard input (the parent is gone), then ask this process to drain and end."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

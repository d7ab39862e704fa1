"""`kedge replay`: a data plane in a process of its own, a rehearsal of other policies in another, the loop in this one."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import typer

from kedge.app import open_house
from kedge.cli.opening import HERE, Folder, Json, Store, print_json
from kedge.cli.replay_view import Screen, print_report
from kedge.client.inference import InferenceClient
from kedge.config import Settings, read_project, settings
from kedge.domain.project import ProjectSpec
from kedge.errors import ConfigError, KedgeError, PortInUse
from kedge.replay import rehearsal
from kedge.replay.clock import SetClock
from kedge.replay.over_http import OverHttp
from kedge.replay.play import play
from kedge.replay.report import Report, document, report
from kedge.replay.score import track
from kedge.replay.timeline import lay_out

ENDING_SECONDS = 40.0  # a data plane gives its requests in flight 30


def command(
    folder: Folder = HERE,
    store: Store = None,
    as_json: Json = False,
    leave: Annotated[bool, typer.Option("--exit", help="End when the replay has ended, instead of showing the UI.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw the store's folder away and start over.")] = False,
    compare: Annotated[bool, typer.Option(help="Rehearse never, monthly and other prices beside.")] = True,
    port: Annotated[int, typer.Option(help="The UI's port.")] = 8400,
) -> None:
    """Play a project's past through its loop as if it were live, then show it."""
    if not leave:
        _require_free(port)
    where, spec = settings(folder, store=store), read_project(folder)
    if fresh:
        _throw_away(where)
    try:
        with redirect_stdout(sys.stderr):  # what a project's code prints is not part of the report
            made = replay(where, spec, compare=compare)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what is done is kept: the same command, without --fresh, goes on from there\n")
        raise
    if as_json:
        print_json(document(made))
    else:
        print_report(made)
    if not leave:
        from kedge.cli.up import show

        show(where, spec, port=port)


def replay(where: Settings, spec: ProjectSpec, *, compare: bool) -> Report:
    """Play the project and, beside it, the policies it is compared with; give the report."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # live loop, data plane and rehearsal share the cores
    started = time.perf_counter()
    clock = SetClock(datetime.now(UTC))
    house = open_house(where, spec, writer="replay", clock=clock)
    try:
        with Screen() as screen, _rehearsing(where, spec, wanted=compare) as rehearsing:
            screen.say(f"reading {spec.data.source}")
            timeline = lay_out(spec, house.data.rows(spec))
            with _data_plane(where) as url:
                answering = OverHttp(house, clock, timeline=timeline, client=InferenceClient(url))
                screen.start(len(timeline.windows), house)
                play(house, clock, timeline, answering, shown=screen.window)
            screen.live_done()
            rehearsing.wait(screen)
        tracks = {spec.retraining.policy: track(house, spec, policy=spec.retraining.policy)}
        for other in rehearsal.rehearsals(spec):
            kept = rehearsal.found(house, other)
            if kept is not None:
                tracks[other.name] = kept
    finally:
        house.close()
    used = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    return report(spec, tracks, seconds=time.perf_counter() - started, cpu_seconds=used)


class _Rehearsing:
    """The process that rehearses the other policies."""

    def __init__(self, where: Settings, spec: ProjectSpec) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_rehearse, args=(where, spec, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def wait(self, screen: Screen) -> None:
        """Show its progress until it ends. Raises KedgeError with its reason if it failed."""
        failure = ""
        while True:
            try:
                told = self._pipe.recv()
            except EOFError:
                break
            if isinstance(told, str):
                failure = told
            else:
                screen.rehearsal(*told)
        self._process.join()
        if failure or self._process.exitcode:
            raise KedgeError(f"the rehearsal of other policies failed: {failure or f'exit {self._process.exitcode}'}")

    def stop(self) -> None:
        """End it."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


class _NoRehearsing:
    def wait(self, screen: Screen) -> None:
        """Have nothing to wait for."""


@contextmanager
def _rehearsing(where: Settings, spec: ProjectSpec, *, wanted: bool) -> Iterator[_Rehearsing | _NoRehearsing]:
    if not wanted:
        yield _NoRehearsing()
        return
    process = _Rehearsing(where, spec)
    try:
        yield process
    finally:
        process.stop()


def _rehearse(where: Settings, spec: ProjectSpec, pipe: Connection) -> None:
    """Run the rehearsals in their own process; a closed pipe means that the replay is gone."""
    try:
        rehearsal.run(where, spec, lambda name, done, windows: pipe.send((name, done, windows)))
    except KedgeError as error:
        pipe.send(str(error))
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)


@contextmanager
def _data_plane(where: Settings) -> Iterator[str]:
    """Run a data plane on a free port for as long as this process holds its standard input."""
    words = ["serve", str(where.project), "--store", where.store, "--port", "0", "--replay-clock", "--while-input"]
    # its standard output carries one line, the URL: what a project's code prints goes to standard error
    process = subprocess.Popen(
        [sys.executable, "-m", "kedge", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both were asked for above
    well = False
    try:
        line = process.stdout.readline()
        if not line:
            raise KedgeError(f"the data plane did not start (exit {process.wait()}); its message stands above")
        with _blamed_on(process):
            yield line[line.index("http://") :].strip()
        well = True
    finally:
        with nullcontext() if well else suppress(KedgeError):  # what went wrong before is the news
            end(process)


def end(process: subprocess.Popen[str], *, seconds: float = ENDING_SECONDS) -> None:
    """End a data plane by closing its standard input, and wait for it. KedgeError where it had to be killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise KedgeError(
            f"the data plane (process {process.pid}) had not ended {seconds:g} s after it was asked to, and was killed; "
            "its answers are all kept: run the same command again, and it goes on from there"
        ) from None


@contextmanager
def _blamed_on(process: subprocess.Popen[str]) -> Iterator[None]:
    """Where a data plane has ended by itself, say so instead of what it did not answer."""
    try:
        yield
    except KedgeError as error:
        if (code := process.poll()) is None:
            raise
        raise KedgeError(
            f"the data plane ended in the middle of the replay (exit {code}); what was answered is kept: "
            "run the same command again, and it goes on from there"
        ) from error


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise PortInUse(
                f"port {port} on 127.0.0.1 is in use; choose another with --port, or leave with --exit"
            ) from None


def _throw_away(where: Settings) -> None:
    """Delete the store's folder, but only if it is one."""
    if "://" in where.store:
        raise ConfigError("--fresh deletes a store that is a folder; empty the database yourself, or use another --store")
    folder = Path(where.store)
    if folder.exists() and any(folder.iterdir()) and not (folder / "kedge.db").is_file():
        raise ConfigError(f"{folder} does not look like a Kedge store (no kedge.db in it); nothing was deleted")
    shutil.rmtree(folder, ignore_errors=True)

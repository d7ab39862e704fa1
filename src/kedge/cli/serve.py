"""`kedge serve`: the data plane of one project."""

import os
import signal
import sys
import threading
from functools import partial
from typing import Annotated, TextIO

import typer

from kedge.cli.opening import HERE, Folder, Store, opened
from kedge.serving.server import serve


def command(
    folder: Folder = HERE,
    store: Store = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8500,
    replay_clock: Annotated[
        bool, typer.Option("--replay-clock", help="Requests say what time it is (replays only).")
    ] = False,
    while_input: Annotated[bool, typer.Option("--while-input", help="End when standard input closes.")] = False,
) -> None:
    """Serve the deployed model over the Open Inference Protocol v2."""
    if while_input:
        threading.Thread(target=_end_with_input, daemon=True).start()
    out = sys.stdout
    with opened(folder, store, writer=f"serve-{os.getpid()}") as house:
        token = house.settings.token or None
        ready = partial(_tell, out, house.spec.name)
        serve(house, host=host, port=port, replay_clock=replay_clock, token=token, ready=ready)


def _tell(out: TextIO, model: str, url: str) -> None:
    """Say where the model is served: the only line on standard output, whatever the project's own code prints."""
    out.write(f"kedge serves {model} at {url}\n")
    out.flush()


def _end_with_input() -> None:
    """Wait for the end of standard input (the parent is gone), then ask this process to drain and end."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

"""Starts the data plane of one project: one process that answers, or one that starts several (`supervisor.py`)."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kedge.rollout.split import sticky_column
from kedge.serving.ending import Ending
from kedge.serving.follow import Follower
from kedge.serving.listening import listen, require_token, url_of
from kedge.serving.metrics import Metrics
from kedge.serving.plane import Plane
from kedge.serving.route import Application
from kedge.serving.worker import Limits, answer
from kedge.version import installed

if TYPE_CHECKING:
    from kedge.app import House


def application(plane: Plane, *, token: str | None = None) -> Application:
    """Make the ASGI application of a plane."""
    return Application(plane, token=token, version=installed())


def plane_of(house: "House", *, replay_clock: bool = False, metrics: Metrics | None = None) -> Plane:
    """Make the plane of a house's project."""
    spec = house.spec
    service = house.features.service(spec)
    return Plane(
        model=spec.name,
        service=service,
        sticky=sticky_column(spec, service),
        deployments=house.meta.deployments,
        models=house.meta.models,
        registry=house.registry,
        reader=house.features.reader(service),
        evaluation=house.evaluation,
        journal=house.predictions,
        clock=house.clock,
        replay_clock=replay_clock,
        metrics=metrics,
    )


def serve(
    house: "House",
    *,
    host: str = "127.0.0.1",
    port: int = 8500,
    replay_clock: bool = False,
    token: str | None = None,
    limits: Limits | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a house's project from this process until SIGTERM or SIGINT, then finish what is in flight and sync the log.

    Tells its URL once it answers (to `ready`, else as one line on standard output). Port 0 takes a free one. Raises
    PortInUse; ConfigError for a host that cannot be used, or one that is not loopback without a token.
    """
    require_token(host, token)
    with listen(host, port) as listener, Ending.by_signals() as ending:
        tell = ready or _print_ready(house)
        serve_on(
            listener,
            house,
            ending=ending,
            metrics=Metrics(),
            limits=limits or Limits(),
            replay_clock=replay_clock,
            token=token,
            ready=lambda: tell(url_of(listener)),
        )


def serve_on(
    listener: socket.socket,
    house: "House",
    *,
    ending: Ending,
    metrics: Metrics,
    limits: Limits,
    replay_clock: bool = False,
    token: str | None = None,
    ready: Callable[[], None] = lambda: None,
    supervisor: int = 0,
) -> None:
    """Serve a house's project on a socket that listens already: what one worker does, or the only process there is."""
    # Read by OpenMP when the first model is loaded; who has set it knows better.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    plane = plane_of(house, replay_clock=replay_clock, metrics=metrics)
    app = application(plane, token=token)
    with _awake(plane):
        answer(app, listener, metrics=metrics, limits=limits, ending=ending, ready=ready, supervisor=supervisor)


@contextmanager
def _awake(plane: Plane) -> Iterator[None]:
    """Follow the deployment and keep the log synced meanwhile."""
    follower = Follower(plane)
    follower.start()
    plane.log.start()
    try:
        yield
    finally:
        follower.stop()
        plane.log.stop()


def _print_ready(house: "House") -> Callable[[str], None]:
    def tell(url: str) -> None:
        sys.stdout.write(f"kedge serves {house.spec.name} at {url}\n")
        sys.stdout.flush()

    return tell

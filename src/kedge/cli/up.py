"""`kedge up`: the control plane of one project, API and UI. In a folder without a project it keeps what clients log."""

import errno
import socket
import sys
from typing import Annotated

import typer
import uvicorn

from kedge.app import open_house
from kedge.cli.opening import HERE, Folder, Store
from kedge.config import PROJECT_FILE, Settings, bare_project, project_or_none, settings
from kedge.controller import Controller
from kedge.domain.project import ProjectSpec
from kedge.errors import ConfigError, PortInUse
from kedge.log_keeper import kept_small
from kedge.loop_keeper import kept_closed
from kedge.security.hosts import is_loopback
from kedge.server.early import Early
from kedge.teller import AlertTeller


def command(
    folder: Folder = HERE,
    store: Store = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port.")] = 8400,
) -> None:
    """Start the control plane: the native API, the MLflow protocol and the UI."""
    spec = project_or_none(folder)
    if spec is None:
        spec = bare_project(folder)
        what = f"{PROJECT_FILE} declares no loop" if (folder / PROJECT_FILE).exists() else f"no {PROJECT_FILE}"
        sys.stderr.write(f"{what} in {folder.resolve()}: logs are kept, models are watched, nothing is trained\n")
    show(settings(folder, store=store), spec, host=host, port=port)


def show(where: Settings, spec: ProjectSpec, *, host: str = "127.0.0.1", port: int = 8400) -> None:
    """Serve a project's API and pages until interrupted."""
    if not is_loopback(host) and not where.token:
        raise ConfigError(f"--host {host} is open to others: set KEDGE_TOKEN first, or stay on 127.0.0.1")
    _require_free(host, port)
    house = open_house(where, spec, writer="up")
    controller, teller = Controller(house), AlertTeller(house)
    try:
        house.artifacts.sweep()
        controller.start()
        teller.start()
        sys.stderr.write(f"the UI and MLflow's clients are served on http://{host}:{port} (Ctrl-C ends it)\n")
        served = Early(house)
        with kept_small(house), kept_closed(house):
            uvicorn.run(served, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    except SystemExit:
        raise PortInUse(f"port {port} on {host} is in use; choose another with --port") from None
    finally:
        controller.stop()
        teller.stop()
        house.close()


def _require_free(host: str, port: int) -> None:
    """Check that nobody listens there, before anything is opened or promised. Raises PortInUse, ConfigError."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"port {port} on {host} is in use; choose another with --port") from None
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose others with --host, --port"
        ) from None

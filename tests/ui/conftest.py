"""A served control plane for the session, a real Chromium for each file."""

import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import uvicorn
from tests.ui.backtested import keep_backtest
from tests.ui.filled import FilledHouse, year
from tests.ui.seed import MODEL, START, Year
from tests.ui.tracked import write_runs, write_versions

from kedge.server.application import application
from kedge.storage.sql import open_store
from kedge.tracking.search import runs_query

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = " <img src=x onerror=alert(1)>\"'&\u202eRTL\u202c \U0001f6a2 " + "x" * 300


def chromium() -> str | None:
    named = os.environ.get("KEDGE_CHROMIUM")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    return named or next((path for path in found if path), None)


@contextmanager
def served(house):
    """Serve a house on a free port of this machine."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(application(house), log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(5)
    listening.close()


@pytest.fixture(scope="session")
def site():
    with served(FilledHouse(year())) as address:
        yield address


@pytest.fixture(scope="session")
def hostile_site():
    meta = open_store("sqlite://")
    Year(meta, hostile=HOSTILE).write(START.replace(month=5, day=9))
    house = FilledHouse(meta, at=START.replace(month=5, day=9, hour=5), hostile=HOSTILE)
    write_runs(house.logging, house.artifacts, count=6, hostile=HOSTILE)
    keep_backtest(meta, MODEL, start=START, at=START.replace(month=5), hostile=HOSTILE)
    with served(house) as address:
        yield address


@pytest.fixture(scope="session")
def tracked():
    """Serve a store with an experiment of many runs; gives the address, the experiment and the house."""
    house = FilledHouse(open_store("sqlite://"))
    home = write_runs(house.logging, house.artifacts)
    write_versions(house.catalog, house.logging.find_runs(runs_query("", experiments=[home], limit=1)).items[0])
    with served(house) as address:
        yield SimpleNamespace(site=address, home=home, house=house)


@pytest.fixture(scope="session")
def empty_site():
    with served(FilledHouse(open_store("sqlite://"))) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """Open Chromium for one file of tests: its event loop would stand in the way of other files' own."""
    path = chromium()
    if path is None:
        pytest.skip("NO CHROMIUM: the pages are not tested; install one, or name it with KEDGE_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="NO PLAYWRIGHT: the pages are not tested")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def contexts(browser):
    """Give a browsing context for a width and a colour scheme, kept for the file."""
    kept = {}

    def context(width, scheme="light", **more):
        key = (width, scheme, *sorted(more.items()))
        if key not in kept:
            kept[key] = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        return kept[key]

    yield context
    for one in kept.values():
        one.close()

"""The stores that the contract suite runs against: SQLite in memory, SQLite on disk, PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract import buckets
from tests.contract.buckets import bucket_url, s3_endpoint  # noqa: F401 - fixtures
from tests.contract.metastore import MISSING, fresh_schema, postgresql_url

from kedge.storage.sql import SqlStore, open_store


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty store."""
    yield from _url(request.param, tmp_path)


@pytest.fixture(params=["sqlite-file", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty store that several processes can open."""
    yield from _url(request.param, tmp_path)


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    """Give an empty store."""
    opened = open_store(store_url)
    yield opened
    opened.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested."""
    if any(buckets.MISSING in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.section("S3 WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.write_line(buckets.MISSING, red=True, bold=True)
    if any(MISSING in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.section("POSTGRESQL WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.write_line(MISSING, red=True, bold=True)


def _url(kind: str, folder: Path) -> Iterator[str]:
    match kind:
        case "sqlite-memory":
            yield "sqlite://"
        case "sqlite-file":
            yield f"sqlite:///{folder / 'kedge.db'}"
        case _:
            if (server := postgresql_url()) is None:
                pytest.skip(MISSING)
            with fresh_schema(server) as url:
                yield url

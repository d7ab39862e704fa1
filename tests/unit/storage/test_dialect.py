"""What drivers' errors mean."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import make_url

from kedge.errors import KedgeError, StoreBroken, StoreFull
from kedge.storage.sql.dialect import _translate


@pytest.mark.parametrize(
    ("attributes", "meaning"),
    [
        ({"sqlite_errorname": "SQLITE_FULL"}, StoreFull),
        ({"sqlite_errorname": "SQLITE_IOERR_SHMSIZE"}, StoreFull),
        ({"sqlstate": "53100"}, StoreFull),
        ({"sqlite_errorname": "SQLITE_CORRUPT"}, StoreBroken),
        ({"sqlite_errorname": "SQLITE_NOTADB"}, StoreBroken),
        ({"sqlite_errorname": "SQLITE_BUSY"}, None),
        ({"sqlite_errorname": "SQLITE_IOERR_READ"}, None),
        ({"sqlstate": "40001"}, None),
        ({}, None),
    ],
)
def test_only_a_full_disk_and_broken_bytes_have_a_meaning(
    attributes: dict[str, Any], meaning: type[KedgeError] | None
) -> None:
    error = sqlite3.OperationalError("driver's words")
    vars(error).update(attributes)
    engine = SimpleNamespace(url=make_url("postgresql://me:secret@host/kedge"))
    found = _translate(SimpleNamespace(original_exception=error, engine=engine))  # type: ignore[arg-type]
    assert (found and type(found)) == meaning
    assert "secret" not in str(found)


def test_an_error_before_there_is_an_engine_has_its_meaning_too() -> None:
    error = sqlite3.OperationalError("full")
    vars(error)["sqlite_errorname"] = "SQLITE_FULL"
    found = _translate(SimpleNamespace(original_exception=error, engine=None))  # type: ignore[arg-type]
    assert isinstance(found, StoreFull)

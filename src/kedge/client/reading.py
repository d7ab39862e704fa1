"""Reads back what runs measured, out of the store or from a control plane."""

import sys
from array import array
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from kedge.client.process import PROCESS
from kedge.client.remote import RemoteDelivery, place_of
from kedge.client.run import ActiveRun
from kedge.domain.ids import RunId
from kedge.errors import ConfigError
from kedge.settings import Settings, settings

_AT_ONCE = 100_000


class History(NamedTuple):
    """What a run measured under a key, in the order of time: milliseconds since 1970, steps, values."""

    at: "array[int]"
    steps: "array[int]"
    values: "array[float]"


def history(run: ActiveRun | str, key: str, *, store: str | None = None, url: str | None = None) -> History:
    """Read all points of a metric as columns. What this process has logged is brought there first. Raises NotFound."""
    if url and store:
        raise ConfigError("a history is read from a control plane (url) or a store, not from both; give one")
    found = run.settings if isinstance(run, ActiveRun) else settings(Path.cwd(), store=store, server=url)
    PROCESS.settle(found)
    id = RunId(run.id if isinstance(run, ActiveRun) else run)
    return _from_server(found, id, key=key) if found.server else _from_store(found, id, key=key)


def _from_server(where: Settings, run: RunId, *, key: str) -> History:
    columns = History(array("q"), array("q"), array("d"))
    connection, page = RemoteDelivery(where.server, token=where.token), ""
    try:
        while True:
            asked = urlencode({"key": key, "limit": _AT_ONCE, "page": page})
            told = connection.call("GET", f"{place_of(run)}/history?{asked}")
            for name, column in columns._asdict().items():
                some = array(column.typecode, told[name])
                if sys.byteorder != "little":
                    some.byteswap()
                column.extend(some)
            page = told["next"]
            if not page:
                return columns
    finally:
        connection.close()


def _from_store(where: Settings, run: RunId, *, key: str) -> History:
    from kedge.records import open_records

    columns, page = History(array("q"), array("q"), array("d")), ""
    records = open_records(where, make=False)
    try:
        while True:
            found = records.logging.history(run, key, limit=_AT_ONCE, page=page)
            columns.at.fromlist([point[0] for point in found.items])
            columns.steps.fromlist([point[1] for point in found.items])
            columns.values.fromlist([point[2] for point in found.items])
            page = found.next
            if not page:
                return columns
    finally:
        records.close()

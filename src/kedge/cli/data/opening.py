"""What the commands of `kedge data` need: the records of the store that this folder belongs to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kedge.records import Records, open_records, records_if_any
from kedge.settings import project_root, settings


@contextmanager
def recorded(store: str | None, *, make: bool = False) -> Iterator[Records]:
    """Open the records of the store, and close them at the end. Only who writes a first version is to `make` a store."""
    records = open_records(settings(project_root(Path()), store=store), make=make)
    try:
        yield records
    finally:
        records.close()


@contextmanager
def recorded_if_any(store: str | None) -> Iterator[Records]:
    """Open the records of the store if there is one, else none: a question about a file needs no store, and makes none."""
    with records_if_any(settings(project_root(Path()), store=store)) as records:
        yield records

"""What the commands of `kedge data` need: the records of the store that this folder belongs to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kedge.records import Records, open_records
from kedge.settings import project_root, settings


@contextmanager
def recorded(store: str | None) -> Iterator[Records]:
    """Open the records of the store, and close them at the end."""
    records = open_records(settings(project_root(Path()), store=store))
    try:
        yield records
    finally:
        records.close()

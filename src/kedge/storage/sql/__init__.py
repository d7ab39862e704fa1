"""All SQL: one module per aggregate. What needs no more than plain statements (`embedded.py`) imports no library for it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.storage.sql.store import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kedge.storage.sql import store

    return getattr(store, name)

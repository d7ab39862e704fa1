"""All SQL: one module per aggregate."""

from kedge.storage.sql.store import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]

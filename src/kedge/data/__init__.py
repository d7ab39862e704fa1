"""The data room: sources and frames become immutable, validated dataset versions.

It is also the door for scripts: `kedge.data.commit(frame, "flights")`. Its verbs are loaded when they are first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.client.datasets import (
        append,
        commit,
        commit_delta,
        compact,
        delete,
        diff,
        erase,
        profile,
        read,
        scan,
        suggest,
        tag,
        validate,
        versions,
    )
    from kedge.data import expect

__all__ = [
    "append",
    "commit",
    "commit_delta",
    "compact",
    "delete",
    "diff",
    "erase",
    "expect",
    "profile",
    "read",
    "scan",
    "suggest",
    "tag",
    "validate",
    "versions",
]


def __getattr__(name: str) -> object:
    """Load the verbs of the door: the room below it knows nothing of them."""
    if name not in __all__:
        raise AttributeError(f"module 'kedge.data' has no attribute {name!r}")
    if name == "expect":
        import kedge.data.expect as module

        return module
    from kedge.client import datasets

    found = globals()[name] = getattr(datasets, name)
    return found


def __dir__() -> list[str]:
    """List the verbs of the door."""
    return sorted(__all__)

"""The monitoring room: windows of predictions, drift, late labels, risk and alerts.

It is also the door for scripts: `kedge.monitoring.compare(reference, current)`. Its verbs are loaded when first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.client.comparing import compare, merge, profile

__all__ = ["compare", "merge", "profile"]


def __getattr__(name: str) -> object:
    """Load the verbs of the door: the room below it knows nothing of them."""
    if name not in __all__:
        raise AttributeError(f"module 'kedge.monitoring' has no attribute {name!r}")
    from kedge.client import comparing

    found = globals()[name] = getattr(comparing, name)
    return found


def __dir__() -> list[str]:
    """List the verbs of the door."""
    return sorted(__all__)

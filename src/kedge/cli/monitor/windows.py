"""What was logged as a side of a comparison: `predictions:MODEL@FROM..TO`, times in UTC, and `reference:MODEL@vN`."""

from collections.abc import Sequence

from kedge.cli.opening import HERE, opened
from kedge.monitoring.comparing.room import NamedRows


def logged(sides: Sequence[str], store: str | None) -> list[str | NamedRows]:
    """Read those of two sides that were logged. Raises RequestInvalid, NotFound."""
    with opened(HERE, store, writer="predictions", bare=True, make=False) as house:
        return house.sides.read(sides)

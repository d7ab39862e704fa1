"""Time, as the machine tells it. A replay sets its own: `replay/clock.py`."""

from datetime import UTC, datetime


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Tell the time, UTC."""
        return datetime.now(UTC)

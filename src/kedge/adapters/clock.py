"""Time: the system's, or whatever a replay says it is."""

from datetime import UTC, datetime


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Tell the time, UTC."""
        return datetime.now(UTC)


class SetClock:
    """A clock that stands still until its holder sets it."""

    def __init__(self, at: datetime) -> None:
        self.set(at)

    def now(self) -> datetime:
        """Tell the time that was set last, UTC."""
        return self._at

    def set(self, at: datetime) -> None:
        """Set the time. Raises ValueError for one without a time zone."""
        if at.tzinfo is None:
            raise ValueError(f"{at} has no time zone; a clock is set in UTC")
        self._at = at.astimezone(UTC)

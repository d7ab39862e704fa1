"""A clock that is set by its holder: time in a replay is the time of the rows."""

from datetime import datetime


class SetClock:
    """Tells the time it was last set to. Never goes by itself."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Tell the time, UTC."""
        return self._at

    def set(self, at: datetime) -> None:
        """Set the time."""
        self._at = at

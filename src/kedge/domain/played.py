"""A past that was played: what its windows showed stands in the store, nobody is told of it, and it stays as it was."""

from datetime import datetime, timedelta

from kedge.domain.ids import ModelName

PAST_WINDOWS = 3
"""What ended more windows ago is past; what is newer is live, whatever was played before it."""


def played_note(model: ModelName) -> str:
    """Name the note that a replay of a model's past leaves."""
    return f"replay:{model}"


def is_past(at: datetime, *, now: datetime, window: timedelta) -> bool:
    """Say whether a moment of a model whose past was played belongs to that past."""
    return now - at > PAST_WINDOWS * window

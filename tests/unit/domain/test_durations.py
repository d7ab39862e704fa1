"""Durations as people read them in a sentence."""

import pytest

from kedge.domain.durations import roughly


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 minute"),
        (89 * 60, "89 minutes"),
        (90 * 60, "2 hours"),
        (35 * 3600, "35 hours"),
        (40 * 3600, "2 days"),
        (95 * 86400, "95 days"),
    ],
)
def test_a_duration_is_said_in_whole_days_hours_or_minutes(seconds: float, said: str) -> None:
    assert roughly(seconds) == said

"""Many alerts at once through the outbox: each is delivered, and none twice but by a kill, then under the same id."""

import pytest
from tests.faults.outboxes import drained

COUNT = 600


@pytest.mark.parametrize("kills", [0, 3])
def test_many_deliveries_are_not_lost_and_not_doubled(tmp_path, kills) -> None:
    came = drained(tmp_path, COUNT, kills=kills, limit=240)
    assert (came.came, came.sent, came.kills) == (COUNT, COUNT, kills)
    assert came.doubled <= kills, "two senders never send the same but after a kill"

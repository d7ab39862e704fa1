"""Switches the benchmark's deployment until it is ended: reload, canary, shadow, rollback. Run by `bench/serving.py`."""

import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kedge.app import open_house
from kedge.config import read_project, settings
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_of
from kedge.domain.rollout import Strategy

TURNS = (
    {"champion": 2, "challenger": None, "share": 0.0},
    {"champion": 2, "challenger": 1, "share": 0.05, "strategy": Strategy.CANARY},
    {"champion": 2, "challenger": 1, "share": 0.25, "strategy": Strategy.CANARY},
    {"champion": 2, "challenger": None, "share": 0.0},
    {"champion": 2, "challenger": 1, "share": 1.0, "strategy": Strategy.SHADOW},
    {"champion": 1, "challenger": None, "share": 0.0},
)


def main() -> None:
    """Write a revision each third of a second, and say so."""
    folder = Path(sys.argv[1])
    house = open_house(settings(folder, store=str(folder / ".kedge")), read_project(folder), writer="switch")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    turn = 0
    while True:
        newest = house.meta.deployments.find(house.spec.name)
        now = datetime.now(UTC)
        told = Event(
            key=digest_of("switch", newest.revision),
            kind=EventKind.ROLLOUT_STARTED,
            at=now,
            subject=house.spec.name,
            actor="policy:bench",
            message="a switch",
        )
        made = msgspec.structs.replace(
            newest, revision=newest.revision + 1, since=now, salt="bench", **TURNS[turn % len(TURNS)]
        )
        house.meta.deployments.put(made, told)
        print(made.revision, flush=True)
        turn += 1
        time.sleep(0.34)


if __name__ == "__main__":
    main()

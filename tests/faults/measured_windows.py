"""Measure one window with quality, groups and operations, and die by SIGKILL in the middle of one of them.

python -m tests.faults.measured_windows FOLDER DAY [ROOM N]

ROOM is a folder of the monitoring room ("quality", "groups", "operations", "drift"): the process dies when the N-th of its
functions is called; with N = 0 it lives, and prints how many were called. "put" dies before (1) or after (2) the write.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import msgspec
from tests.faults.late_windows import dying, opened
from tests.unit.monitoring.world import SPEC, with_rules

from kedge.domain.evaluation import GateRules
from kedge.domain.operations import OperationsRules

WATCHED = msgspec.structs.replace(
    with_rules(
        SPEC,
        groups=("carrier",),
        slices=("carrier",),
        fairness={"demographic_parity": 0.3},
        operations=OperationsRules(p95="50ms", errors="1%"),
    ),
    gate=GateRules(min_group=5),
)


class Counted:
    """Counts the calls into a room, and dies at one of them."""

    def __init__(self, room: str, last: int) -> None:
        self.part, self.last, self.calls = f"{os.sep}kedge{os.sep}monitoring{os.sep}{room}{os.sep}", last, 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and self.part in frame.f_code.co_filename:
            self.calls += 1
            if self.calls == self.last:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    here = opened(Path(sys.argv[1]), spec=WATCHED)
    monitoring = here.monitoring()
    room, last = (sys.argv[3], int(sys.argv[4])) if sys.argv[3:] else ("", 0)
    if room == "put":
        dying(here, ("before", "after")[last - 1])
    counted = Counted(room, last)
    if room not in ("", "put"):
        sys.setprofile(counted)
    here.measure(int(sys.argv[2]), monitoring)
    sys.setprofile(None)
    print(counted.calls)

"""Play the small project and die by SIGKILL just before or after the n-th call of one of the loop's steps.

python -m tests.faults.killed FOLDER ROOM METHOD N before|after [run]

With `run` the project is not played, but turned once by hand, as `kedge run` does.
"""

import os
import signal
import sys
from pathlib import Path

from tests.loop.small import played

from kedge.cli.run import command as run
from kedge.data.room import Data
from kedge.evaluation.room import Evaluation
from kedge.features.room import Features
from kedge.monitoring.references import References
from kedge.monitoring.room import Monitoring
from kedge.pipelines.room import Pipelines
from kedge.registry.room import Registry
from kedge.retraining.room import Retraining
from kedge.rollout.room import Rollout

KINDS = (Data, Evaluation, Features, Monitoring, Pipelines, References, Registry, Retraining, Rollout)
ROOMS = {kind.__name__: kind for kind in KINDS}


def arm(room: str, method: str, calls: int, when: str) -> None:
    """Replace a room's method by one that dies at its n-th call."""
    kind, left = ROOMS[room], [calls]
    real = getattr(kind, method)

    def dying(*args, **named):
        left[0] -= 1
        if left[0] == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **named)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(kind, method, dying)


if __name__ == "__main__":
    arm(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    (run if sys.argv[6:] else played)(Path(sys.argv[1]))

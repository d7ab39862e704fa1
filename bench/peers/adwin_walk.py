"""Walk ADWIN (river's own, its defaults) through row losses: retrain where it finds a change in the champion's error.

python adwin_walk.py LOSSES.npy STEPS.npy FIRST DELAY classes|values      prints the steps that began with a new model
"""

import json
import math
import sys

import numpy as np
from river.drift import ADWIN


def main() -> None:
    """Walk, and print."""
    losses, step = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
    first, delay, classes = int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "classes"
    steps = int(step[-1]) + 1 - first
    borders = np.searchsorted(step, first + np.arange(steps + 1))
    champion, trained, detector = 0, [], ADWIN()
    for now in range(steps):
        known = now - delay
        if known < champion or known < 0:
            continue
        rows = np.asarray(losses[champion, borders[known] : borders[known + 1]], dtype=float)
        changed = False
        for value in (rows > math.log(2) if classes else rows / 4).astype(float).tolist():
            detector.update(value)
            changed = changed or detector.drift_detected
        if changed and now + 1 < steps and now + 1 - delay > champion:
            champion, detector = now + 1 - delay, ADWIN()
            trained.append(now + 1)
    print(json.dumps(trained))


if __name__ == "__main__":
    main()

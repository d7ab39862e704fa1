"""One ADWIN of river on each feature, fed the streams of bench/alarms.py row by row: which windows alarm.

    python bench/peers/alarms_river.py < JOBS

Standard input is a JSON list of [stream, reference rows, windows, rows, seed, first alone]; standard output one JSON line
for each: the numbers of the windows in which any feature's detector was set off. The reference is fed first, and what it
sets off is not counted.
"""

import json
import sys
from pathlib import Path

import numpy as np
from river.drift import ADWIN

sys.path.insert(0, str(Path(__file__).parent.parent))

from alarm_streams import STREAMS


def main() -> None:
    """Answer each job."""
    for name, reference_rows, windows, rows, seed, first in json.load(sys.stdin):
        stream = STREAMS[name]
        random = np.random.default_rng(seed)
        detectors = {}
        for column, values in stream.reference(random, reference_rows).items():
            detectors[column] = ADWIN()
            for value in values.tolist():
                detectors[column].update(value)
        heard = []
        for number in range(1, windows + 1):
            rang = False
            for column, values in stream.window(random, rows, number).items():
                detector = detectors[column]
                for value in values.tolist():
                    detector.update(value)
                    rang = rang or detector.drift_detected
            if rang:
                heard.append(number)
            if heard and first:
                break
        print(json.dumps(heard), flush=True)


main()

"""whylogs beside Kedge's mergeable profile, in an environment of its own: profile N rows of 25 columns, merge two.

One JSON document on standard output.
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
import whylogs  # noqa: E402
from drift_frames import columns  # noqa: E402


def speed(rows: int) -> dict[str, float]:
    """Time one profile of all rows, and the merge of two profiles of 10,000."""
    frame = pd.DataFrame(columns(rows, seed=0))
    began = time.perf_counter()
    whylogs.log(frame)
    seconds = time.perf_counter() - began
    views = [whylogs.log(frame.head(10_000)).view() for _ in range(2)]
    began = time.perf_counter()
    views[0].merge(views[1])
    return {"seconds": seconds, "merge": time.perf_counter() - began}


if __name__ == "__main__":
    print(json.dumps(speed(int(sys.argv[2]))))

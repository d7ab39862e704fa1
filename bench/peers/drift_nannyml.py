"""NannyML beside Kedge's drift report, in an environment of its own: univariate drift by its defaults, chunks of 5,000.

`speed N` times fit and calculate on N rows of each side and prints which columns alarmed in any chunk. One JSON document.
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import nannyml  # noqa: E402
import pandas as pd  # noqa: E402
from drift_frames import columns  # noqa: E402


def speed(rows: int) -> dict[str, object]:
    """Time fit and calculate; give each column's greatest distance, its limit and whether it alarmed."""
    reference, current = (pd.DataFrame(columns(rows, seed=seed, shift=shift)) for seed, shift in ((0, 0.0), (1, 0.2)))
    calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference.columns), chunk_size=max(rows // 10, 1))
    began = time.perf_counter()
    calculator.fit(reference)
    fitted = time.perf_counter()
    result = calculator.calculate(current)
    seconds = time.perf_counter() - fitted
    frame = result.filter(period="analysis").to_df()
    found = {}
    for name in reference.columns:
        of = frame[(name, "jensen_shannon")]
        found[name] = [float(of["value"].max()), float(of["upper_threshold"].iloc[0]), bool(of["alert"].any())]
    return {"fit": fitted - began, "seconds": seconds, "columns": found}


if __name__ == "__main__":
    print(json.dumps(speed(int(sys.argv[2]))))

"""Evidently's own verdict on columns, to check that bench/alarms.py asks by the same rule.

    python bench/peers/alarms_evidently.py < JOBS

Standard input is a JSON list of [stream, reference rows, rows, number of the window, seed]; standard output one JSON line
for each: by column whether its drift was found by the preset's defaults.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent))
warnings.simplefilter("ignore")

from alarm_streams import STREAMS  # noqa: E402
from evidently import Report  # noqa: E402
from evidently.metrics import ValueDrift  # noqa: E402


def main() -> None:
    """Answer each job."""
    for name, reference_rows, rows, number, seed in json.load(sys.stdin):
        stream, random = STREAMS[name], np.random.default_rng(seed)
        reference = pd.DataFrame(stream.reference(random, reference_rows))
        current = pd.DataFrame(stream.window(random, rows, number))
        found = Report([ValueDrift(column=column) for column in current.columns]).run(current, reference).dict()
        verdicts = {}
        for metric in found["metrics"]:
            config = metric["config"]
            by_p_value = "p_value" in config["method"] or "p_value" in metric["metric_name"]
            value, threshold = float(metric["value"]), float(config["threshold"])
            verdicts[config["column"]] = value < threshold if by_p_value else value >= threshold
        print(json.dumps(verdicts), flush=True)


main()

"""Evidently beside Kedge's drift report, in an environment of its own.

`speed N` times its DataDriftPreset on N rows of each side and prints its verdicts; `figures` prints what each of its tests
gives for the small pairs, which tests hold Kedge against. One JSON document on standard output.
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
from drift_frames import columns, pairs  # noqa: E402

NUMBERS = [
    "ks",
    "wasserstein",
    "psi",
    "kl_div",
    "jensenshannon",
    "hellinger",
    "anderson",
    "cramer_von_mises",
    "t_test",
    "mannw",
    "ed",
    "es",
]
LABELS = ["chisquare", "z", "psi", "kl_div", "jensenshannon", "hellinger", "g_test", "TVD"]


def figures() -> dict[str, dict[str, float]]:
    """Ask every test by name of every pair that it is for."""
    from evidently.legacy.calculations import stattests  # noqa: F401 - registers the tests
    from evidently.legacy.calculations.stattests.registry import get_stattest
    from evidently.legacy.core import ColumnType

    found: dict[str, dict[str, float]] = {}
    for pair, (reference, current) in pairs().items():
        kind = ColumnType.Categorical if pair in ("labels", "two") else ColumnType.Numerical
        names = [*LABELS, *(["fisher_exact"] if pair == "two" else [])] if kind is ColumnType.Categorical else NUMBERS
        found[pair] = {}
        for name in names:
            sides = [pd.Series(side) for side in (reference, current)]
            try:
                done = get_stattest(sides[0], sides[1], kind, name)(sides[0].copy(), sides[1].copy(), kind, None)
                found[pair][name] = float(done.drift_score)
            except ValueError:
                continue
    return found


def speed(rows: int) -> dict[str, object]:
    """Time the preset, once warm; give its verdict of each column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    sides = [pd.DataFrame(columns(rows, seed=seed, shift=shift)) for seed, shift in ((0, 0.0), (1, 0.2))]
    labels = [name for name in sides[0] if name.startswith("c")]
    definition = DataDefinition(
        numerical_columns=[name for name in sides[0] if name not in labels], categorical_columns=labels
    )
    small = [Dataset.from_pandas(side.head(200), data_definition=definition) for side in sides]
    Report([DataDriftPreset()]).run(small[1], small[0])
    data = [Dataset.from_pandas(side, data_definition=definition) for side in sides]
    began = time.perf_counter()
    done = Report([DataDriftPreset()]).run(data[1], data[0]).dict()
    seconds = time.perf_counter() - began
    moved = {}
    for metric in done["metrics"]:
        config = metric.get("config", {})
        if "column" in config and "threshold" in config:
            low = "p_value" in str(config.get("method", "")).lower()
            value = float(metric["value"])
            moved[config["column"]] = value < config["threshold"] if low else value >= config["threshold"]
    return {"seconds": seconds, "moved": moved}


if __name__ == "__main__":
    print(json.dumps(figures() if sys.argv[1] == "figures" else speed(int(sys.argv[2]))))

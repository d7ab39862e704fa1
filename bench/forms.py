"""What answers a table: scikit-learn, treelite's interpreter, ONNX with float64 trees; times and parity beside one another.

python bench/forms.py        100 trees on 20 columns, one thread; microseconds a call, the best of several rounds
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import platform
import time

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.evaluation.parity import ToExamine, examine, tolerance_of
from kedge.job import FORMATS, FORMS

ROWS = (1, 16, 100, 1600)
ROUNDS = 5


def best(call, rounds: int) -> float:
    """Time a call: microseconds, the best mean of several rounds."""
    call()
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(rounds):
            call()
        found.append((time.perf_counter() - start) / rounds)
    return min(found) * 1e6


def main() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, 20))
    y = x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=len(x)) > 0
    x[random.random(x.shape) < 0.02] = np.nan
    model = HistGradientBoostingClassifier(max_iter=100, random_state=0, early_stopping=False).fit(x, y)
    inputs = tuple(Column(name=f"x{place}", type=ColumnType.FLOAT) for place in range(x.shape[1]))
    signature = Signature(inputs=inputs, task=Task.CLASSIFICATION, output="y")
    kept = next(each for each in FORMATS if each.accepts(model))
    files = kept.dump(model)
    asked = ToExamine(format=kept.name, files=files, signature=signature, rows=x[:20], tolerance=tolerance_of(kept.name))
    answering = {"scikit-learn": kept.load(files, signature)}
    print(f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}\n")
    print("form          rows compared   greatest difference   bytes")
    for form in FORMS:
        found = examine(asked, formats=FORMATS, forms=[form]).compared
        if found is None or found.fault:
            print(f"{form.name:<14}{found.fault if found else 'its library is not installed'}")
            continue
        answering[form.name] = form.load(found.files, columns=x.shape[1])
        size = sum(map(len, found.files.values()))
        print(f"{form.name:<14}{found.rows:>13,}{found.difference:>22.3g}{size:>8,}")
    print(f"\n{'us a call':<14}" + "".join(f"{rows:>9,} rows" for rows in ROWS))
    for name, predictor in answering.items():
        # other rows in each call: on the same ones the processor would learn each branch by heart
        times = []
        for rows in ROWS:
            batches = [np.ascontiguousarray(x[at : at + rows]) for at in range(0, min(len(x), 200 * rows), rows)]
            turn = iter(range(10**9))
            call = lambda: predictor.predict(batches[next(turn) % len(batches)])  # noqa: B023, E731
            times.append(best(call, rounds=max(5, 20_000 // (rows * 10 + 100))))
        print(f"{name:<14}" + "".join(f"{each:>14,.1f}" for each in times))


if __name__ == "__main__":
    main()

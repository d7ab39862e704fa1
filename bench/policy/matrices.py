"""Loss matrices: one model per step and choice of rows, scored on every later row once, kept on disk.

    losses.npy   (models, rows) float32, NaN before a model's first step: model i has seen rows up to a day before step
                 FIRST + i (noaa: a week)
A file is made under another name and renamed: a run that was killed goes on with the next matrix.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from bench.policy.streams import ROOT, Stream, stream

FIRST = 8
EARLIEST = 2
HALF_LIFE = 10.0
ROWS = ("all", "exp")
HELD_DAYS = {"noaa": 7}


def home() -> Path:
    """Say where matrices are kept."""
    return Path(os.environ.get("KEDGE_BENCH_MATRICES", ROOT / ".peers" / "policies"))


def matrix(made: Stream, rows: str, *, seed: int, told=lambda done, models: None) -> np.ndarray:
    """Read or make a stream's row losses: (models, rows) float32."""
    path = home() / f"{made.name.replace(' ', '-')}-{rows}-{seed}.npy"
    if path.is_file():
        return np.load(path, mmap_mode="r")
    path.parent.mkdir(parents=True, exist_ok=True)
    losses = np.full((made.steps - FIRST, len(made.y)), np.nan, dtype=np.float32)
    for place in range(made.steps - FIRST):
        start = int(np.searchsorted(made.step, FIRST + place))
        losses[place, start:] = made.losses(_trained(made, FIRST + place, rows=rows, seed=seed)(made.x[start:]), start)
        told(place + 1, len(losses))
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.save(file, losses)
    part.rename(path)
    return losses


def history(made: Stream, rows: str, *, seed: int) -> np.ndarray:
    """Read or make the losses of the models before the first, on what came before it: (FIRST - EARLIEST, rows before)."""
    path = home() / f"{made.name.replace(' ', '-')}-{rows}-{seed}-history.npy"
    if path.is_file():
        return np.load(path)
    end = int(np.searchsorted(made.step, FIRST))
    losses = np.full((FIRST - EARLIEST, end), np.nan, dtype=np.float32)
    for place in range(FIRST - EARLIEST):
        start = int(np.searchsorted(made.step, EARLIEST + place))
        answers = _trained(made, EARLIEST + place, rows=rows, seed=seed)(made.x[start:end])
        losses[place, start:] = made.losses(answers, start)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, losses)
    return losses


def _trained(made: Stream, at: int, *, rows: str, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Train on what is known at a step's begin."""
    import lightgbm

    held = HELD_DAYS.get(made.name.partition(" ")[0], 1) // made.block_days
    upto = int(np.searchsorted(made.block, (at * made.step_days) // made.block_days - held))
    ages = at - (made.block[:upto] + 1) * made.block_days / made.step_days
    weight = 0.5 ** (ages / float(rows[3:] or HALF_LIFE)) if rows.startswith("exp") else None
    settings = {
        "objective": "binary" if made.classes else "regression",
        "num_leaves": 31,
        "num_threads": 1,
        "seed": seed,
        "feature_fraction": 0.8,
        "verbose": -1,
        "deterministic": True,
        "force_row_wise": True,
    }
    data = lightgbm.Dataset(
        made.x[:upto], made.y[:upto], weight=weight, categorical_feature=list(made.categorical) or "auto"
    )
    booster = lightgbm.train(settings, data, num_boost_round=made.trees)
    return lambda x: booster.predict(x, num_threads=1)


def main() -> None:
    """Make the matrices that are named: python bench/policy/matrices.py STREAM:ROWS:SEED ..."""
    streams: dict[str, Stream] = {}
    for word in sys.argv[1:]:
        name, rows, seed = word.split(":")
        name = name.replace("-", " ")
        if name not in streams:
            streams = {name: stream(name)}
        begun = time.perf_counter()
        made = matrix(streams[name], rows, seed=int(seed))
        print(f"{word}: {made.shape[0]} models, {made.shape[1]:,} rows, {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()

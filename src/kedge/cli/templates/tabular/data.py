"""Example rows: hourly readings of 20 machines for half a year. What makes a machine fail changes in the fourth month."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl

HOURS, MACHINES = 24 * 180, 20


def readings() -> pl.DataFrame:
    """Give one row per machine and hour; `failed` says whether it failed within the next day."""
    random = np.random.default_rng(0)
    rows = HOURS * 2
    hour = np.sort(random.integers(0, HOURS, rows))
    heat, load = random.normal(60, 8, rows), random.uniform(0, 1, rows)
    age = random.integers(1, 15, rows)
    late = hour > 24 * 100
    risk = np.where(late, 0.25 * (age - 7) + 2 * (load - 0.5), 0.12 * (heat - 60) + 2 * (load - 0.5)) - 1
    return pl.DataFrame(
        {
            "reading": [f"r{number}" for number in range(rows)],
            "read_at": [datetime(2024, 1, 1) + timedelta(hours=int(value)) for value in hour],
            "machine": [f"m{number:02d}" for number in random.integers(0, MACHINES, rows)],
            "heat": heat,
            "load": load,
            "age": age,
            "failed": random.uniform(size=rows) < 1 / (1 + np.exp(-risk)),
        }
    )

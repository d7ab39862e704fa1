"""Example rows: readings of 20 machines for four months. After 60 days they run hotter, and something else breaks them."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl

HOURS, MACHINES = 24 * 120, 20


def readings() -> pl.DataFrame:
    """Give two readings per hour, each of one machine; `failed` says whether it failed within the next day."""
    random = np.random.default_rng(0)
    rows = HOURS * 2
    hour = np.sort(random.integers(0, HOURS, rows))
    late = hour > 24 * 60
    heat, load = random.normal(60, 8, rows) + 6 * late, random.uniform(0, 1, rows)
    age = random.integers(1, 15, rows)
    risk = np.where(late, 0.5 * (age - 7), 0.25 * (heat - 60)) + 3 * (load - 0.5) - 1
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

"""A small project whose concept moves from day 20 to day 50: 60 days, 60 rows a day, labels a day late."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kedge.adapters.jobs import InlineRunner
from kedge.app import House, open_house
from kedge.config import read_project, settings
from kedge.replay.clock import SetClock
from kedge.replay.play import play
from kedge.replay.rehearsal import InProcess, _by_window
from kedge.replay.score import Track, track
from kedge.replay.timeline import lay_out

DATA = """
from datetime import datetime, timedelta
import numpy as np
import polars as pl

def rows():
    random = np.random.default_rng(7)
    day = np.repeat(np.arange(60), 60)
    a, b = random.normal(size=len(day)), random.normal(size=len(day))
    new = np.clip((day - 20) / 30, 0, 1)
    odds = 2 * (1 - new) * a + 2 * new * b
    return pl.DataFrame({
        "id": [f"r{i}" for i in range(len(day))],
        "at": [datetime(2024, 1, 1) + timedelta(days=int(d), minutes=int(i) % 60 * 20) for i, d in enumerate(day)],
        "a": a, "b": b,
        "site": random.choice(["north", "south"], size=len(day)),
        "bad": random.uniform(size=len(day)) < 1 / (1 + np.exp(-odds)),
    })
"""

TRAIN = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.impute import SimpleImputer

def fit(data):
    model = make_pipeline(SimpleImputer(), LogisticRegression())
    return model.fit(data.x, data.y, logisticregression__sample_weight=data.weight)
"""

PROJECT = """
[project]
name = "small"
[data]
source = "data.py:rows"
key = "id"
time = "at"
label = "bad"
label_delay = "1d"
[training]
pipeline = "train.py:fit"
half_life = 2
[gate]
min_group = 20
checks = [{ beats = "baseline" }, { not_worse_than = "champion" }]
[rollout]
steps = ["50%", "100%"]
hold = "1d"
sticky = "id"
[retraining]
price = { loss = 1.0, retrain = 5.0 }
min_labels = 50
cooldown = "1d"
[replay]
live_from = 2024-01-22
tick = "1d"
"""


def write(folder: Path, *, project: str = PROJECT, data: str = DATA, train: str = TRAIN) -> Path:
    """Write the project's files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kedge.toml").write_text(project)
    (folder / "data.py").write_text(data)
    (folder / "train.py").write_text(train)
    return folder


def opened(folder: Path, *, store: str | None = None, in_process: bool = True) -> tuple[House, SetClock]:
    """Open its house on a set clock, with trainings in this process or in a worker."""
    clock = SetClock(datetime(2024, 1, 1, tzinfo=UTC))
    house = open_house(settings(folder, store=store), read_project(folder), writer="test", clock=clock)
    return replace(house, jobs=InlineRunner()) if in_process else house, clock


def played(folder: Path, *, store: str | None = None, in_process: bool = True) -> Track:
    """Play it to the end, answering in this process, and sum up."""
    house, clock = opened(folder, store=store, in_process=in_process)
    try:
        timeline = lay_out(_by_window(house.spec), house.data.rows(house.spec))
        play(house, clock, timeline, InProcess(house, timeline))
        return track(house, house.spec, policy=house.spec.retraining.policy)
    finally:
        house.close()

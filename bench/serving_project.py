"""The model that every server of `bench/serving.py` answers with: gradient boosting of 100 trees on 20 columns.

Made once into a folder: a Kedge project whose loop has turned (so the version is registered, compiled and deployed), the
same estimator as a file for the peers, and the same compiled form for the raw ASGI program.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import joblib
import msgspec

from kedge.app import House, open_house
from kedge.config import read_project, settings
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import RunId, digest_of
from kedge.domain.registry import ModelVersion, Servable
from kedge.domain.retraining import Retrain
from kedge.loop import turn

COLUMNS = [f"c{place:02d}" for place in range(20)]
PROJECT = """
[project]
name = "bench"

[data]
source = "data.py:rows"
time = "at"
label = "y"
label_time = "at"

[training]
pipeline = "train.py:pipeline"

[gate]
metric = "log_loss"
checks = [{ beats = "baseline" }]
"""
DATA = """
from datetime import datetime, timedelta, UTC

import numpy as np
import polars as pl


def rows() -> pl.DataFrame:
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, 20))
    y = (x[:, 0] * x[:, 1] + x[:, 2] + random.normal(size=len(x)) * 0.5 > 0).astype(np.int64)
    at = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=5 * row) for row in range(len(x))]
    return pl.DataFrame({f"c{place:02d}": x[:, place] for place in range(20)}).with_columns(y=pl.Series(y), at=pl.Series(at))
"""
TRAIN = """
from sklearn.ensemble import HistGradientBoostingClassifier

from kedge import TrainingData


def pipeline(data: TrainingData) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0)
    return model.fit(data.x, data.y)
"""


class _Late:
    """A clock that stands after the newest row."""

    def now(self) -> datetime:
        return datetime(2026, 6, 1, tzinfo=UTC)


def make(folder: Path) -> None:
    """Write the project, turn its loop, and leave beside it what the other servers load."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("kedge.toml", PROJECT), ("data.py", DATA), ("train.py", TRAIN)):
        (folder / name).write_text(text)
    spec = read_project(folder)
    house = open_house(settings(folder, store=str(folder / ".kedge")), spec, writer="bench", clock=_Late())
    try:
        turn(house, spec, Retrain("the benchmark's model", "policy:bench"))
        version = house.registry.champion(spec.name)
        if version is None:
            raise SystemExit("the benchmark's model was not registered")
        servable = house.registry.servable(version.model, version.number)
        predictor = house.loader.find(version)
        _again(house, version, servable)
        joblib.dump(_estimator(predictor), folder / "model.joblib")
        for name, data in house.blobs.get_tree(servable.parity.digest).items():
            (folder / f"compiled-{name}").write_bytes(data)
        (folder / "about.json").write_text(json.dumps({"form": servable.form, "number": version.number}))
    finally:
        house.close()


def _again(house: House, version: ModelVersion, servable: Servable) -> None:
    """Register the same files as version 2, so that there is something to switch to."""
    told = Event(
        key=digest_of("bench", 2),
        kind=EventKind.MODEL_REGISTERED,
        at=version.registered_at,
        subject=version.model,
        actor="policy:bench",
        message="Version 2 of bench registered",
    )
    other = msgspec.structs.replace(version, number=2, run=RunId("bench-2"))
    house.meta.models.add(other, told, servable=msgspec.structs.replace(servable, number=2))


def _estimator(predictor: object) -> object:
    """Find the scikit-learn estimator inside what a format loaded."""
    for value in vars(predictor).values():
        if hasattr(value, "predict_proba"):
            return value
    raise SystemExit(f"{predictor!r} holds no estimator")


if __name__ == "__main__":
    make(Path(sys.argv[1]))

"""Small stand-ins for the outside world, shared by the tests of evaluation, registry and rollout."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.ids import Digest, ModelName, RunId, digest_of
from kedge.domain.project import DataRules, ProjectSpec
from kedge.domain.registry import Candidate, Signature
from kedge.errors import NotFound
from kedge.features.frame import TrainingFrame

UPTO = datetime(2013, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Clock:
    time: datetime = UPTO

    def now(self) -> datetime:
        return self.time


@dataclass
class Blobs:
    """Content-addressed bytes in memory."""

    kept: dict = field(default_factory=dict)

    def put(self, data: bytes) -> Digest:
        name = Digest(hashlib.blake2b(data, digest_size=32).hexdigest())
        self.kept[name] = data
        return name

    def get(self, digest: Digest) -> bytes:
        if digest not in self.kept:
            raise NotFound(digest)
        return self.kept[digest]

    def put_tree(self, files: dict) -> Digest:
        name = digest_of("tree", {name: files[name].hex() for name in sorted(files)})
        self.kept[name] = dict(files)
        return name

    def get_tree(self, digest: Digest) -> dict:
        return self.get(digest)


class Tables:
    """Parquet by Polars."""

    def encode(self, frame: pl.DataFrame) -> bytes:
        out = io.BytesIO()
        frame.write_parquet(out)
        return out.getvalue()

    def decode(self, data: bytes, columns=None) -> pl.DataFrame:
        return pl.read_parquet(io.BytesIO(data), columns=columns)


class ToyModel:
    def __init__(self, scale: float, shift: float, loss: float) -> None:
        self.scale, self.shift, self.loss = scale, shift, loss

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        return self.scale * matrix[:, 0] + self.shift


class ToyFormat:
    """Answers scale * x + shift; counts how often a model was loaded."""

    name = "toy"
    loads = 0

    def load(self, files, signature) -> ToyModel:
        self.loads += 1
        return ToyModel(**json.loads(files["toy.json"]))


def candidate(
    blobs, scale=1.0, shift=0.0, *, run="run-1", task=Task.CLASSIFICATION, upto=UPTO - 7 * DAY, column="p", kind="toy"
):
    return Candidate(
        run=RunId(run),
        digest=blobs.put_tree({"toy.json": json.dumps({"scale": scale, "shift": shift, "loss": 0.0}).encode()}),
        format=kind,
        signature=Signature(inputs=(Column(name=column, type=ColumnType.FLOAT),), task=task, output="late", positive="1"),
        trained_upto=upto,
        cpu_seconds=2.0,
    )


def spec(**rooms) -> ProjectSpec:
    data = rooms.pop("data", DataRules(source="data.py:rows", time="at", label="late"))
    return ProjectSpec(name=ModelName("flights"), data=data, **rooms)


def frame(rows: pl.DataFrame, *, task=Task.CLASSIFICATION, step=7 * DAY) -> TrainingFrame:
    return TrainingFrame(
        rows=rows,
        columns=("p",),
        time="at",
        label="late",
        key="",
        task=task,
        versions=(Digest("d1"), Digest("d2")),
        service="delay",
        service_digest=Digest("s"),
        upto=UPTO,
        step=step,
    )


def flights(per_day=100, days=7, seed=0) -> pl.DataFrame:
    """Rows whose column `p` is the true probability of `late`."""
    rng = np.random.default_rng(seed)
    count = per_day * days
    p = rng.beta(1, 3, count)
    back = np.repeat(np.arange(days), per_day)
    known = [
        UPTO - DAY * int(day) - timedelta(minutes=int(minute))
        for day, minute in zip(back, rng.integers(0, 1400, count), strict=True)
    ]
    return pl.DataFrame(
        {
            "p": p,
            "late": (rng.random(count) < p).astype(np.int8),
            "carrier": rng.choice(["AA", "UA", "YV"], count, p=[0.49, 0.49, 0.02]),
            "origin": rng.choice(["EWR", "JFK"], count),
            "known_at__": pl.Series(known, dtype=pl.Datetime("us", "UTC")),
            "at": pl.Series(known, dtype=pl.Datetime("us", "UTC")),
        }
    ).sort("known_at__")

"""Runs as weeks of work leave them: an experiment of many runs, nested ones, one that runs, files of every kind."""

import math
import random
from datetime import UTC, datetime, timedelta

from kedge.domain.ids import ExperimentId, RunId
from kedge.domain.tracking import DatasetInput, Metric, ModelOutput, RunStatus
from kedge.registry.catalog import Catalog, Offered
from kedge.tracking.artifacts import Artifacts
from kedge.tracking.logging import Logging

BEGAN = datetime(2013, 12, 20, 9, tzinfo=UTC)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000010000000100802000000909168360000001c49444154289163fc"
    "cf401a60a2433d0d8c6a18d53000490c0020a20100c3a8a8f30000000049454e44ae426082"
)
COLOURS, BIRDS = ("brisk", "calm", "keen", "still", "bold"), ("heron", "otter", "wren")
STATES = (RunStatus.FINISHED,) * 9 + (RunStatus.FAILED, RunStatus.KILLED)


def points(key: str, *, steps: int, began: datetime, start: float, end: float, chance: random.Random) -> list[Metric]:
    first = int(began.timestamp() * 1000)
    return [
        Metric(
            key=key,
            value=end + (start - end) * math.exp(-4 * step / max(1, steps - 1)) + chance.gauss(0, 0.01),
            at=first + 900 * step,
            step=step,
        )
        for step in range(steps)
    ]


def write_versions(catalog: Catalog, run: RunId) -> None:
    """Register two versions of a model of a run, and move its champion."""
    catalog.create("hours", actor="person:ada", description="Hours of delay", tags={"team": "flights"})
    for _ in range(2):
        catalog.register("hours", Offered(source=f"runs:/{run}/model", run=run), actor="person:ada")
    catalog.set_alias("hours", "champion", number=1, actor="person:ada", reason="the first of all")
    catalog.set_alias("hours", "champion", number=2, actor="person:bob", reason="better on the newest month")
    catalog.move_stage("hours", 1, stage="Archived", actor="person:bob", reason="replaced")


def write_runs(logging: Logging, artifacts: Artifacts, *, count: int = 60, hostile: str = "") -> ExperimentId:
    """Write an experiment of many runs; give its id."""
    chance = random.Random(7)
    team = {"mlflow.note.content": f"Delay of departures, by the hour.{hostile}", "team": f"flights{hostile}"}
    home = logging.create_experiment(f"delay of flights{hostile[:300]}", tags=team).id
    empty = logging.create_experiment("an idea")
    assert empty.id != home
    parent = None
    for index in range(count):
        began = BEGAN + timedelta(hours=3 * index)
        nested = {"mlflow.parentRunId": parent} if parent and index % 6 in (2, 3) else {}
        run = logging.create_run(
            home,
            name=f"{COLOURS[index % 5]}-{BIRDS[index % 3]}-{index}{hostile}",
            started_at=began,
            user="ada",
            tags={
                "team": f"flights{hostile}",
                "mlflow.source.name": "train.py",
                "kedge.command": "python train.py --seed 7",
                **nested,
            },
        ).id
        _log(logging, run, index, began=began, chance=chance, hostile=hostile)
        if index % 6 == 1:
            parent = run
        if index < count - 1:
            state = STATES[index % len(STATES)]
            logging.update_run(run, status=state, ended_at=began + timedelta(minutes=7 + index % 50))
        else:
            _whole(logging, artifacts, run, began=began, chance=chance, hostile=hostile)
    return home


def _log(logging: Logging, run: RunId, index: int, *, began: datetime, chance: random.Random, hostile: str) -> None:
    steps = 40 + 5 * (index % 7)
    better = 0.3 + 0.004 * (index % 50)
    logging.log(
        run,
        metrics=[
            *points("loss", steps=steps, began=began, start=1.1, end=better, chance=chance),
            *points("val/accuracy", steps=steps, began=began, start=0.5, end=1 - better / 2, chance=chance),
            Metric(key="f1", value=1 - better, at=int(began.timestamp() * 1000)),
            Metric(key=f"broken{hostile[:100]}", value=math.nan, at=int(began.timestamp() * 1000)),
        ],
        params={
            "lr": f"{(0.1, 0.03, 0.01)[index % 3]}",
            "trees": str(100 * (1 + index % 5)),
            "model": ("tree", "forest", "boost")[index % 3],
            f"note{hostile[:100]}": f"as planned{hostile}",
        },
    )


def _whole(
    logging: Logging, artifacts: Artifacts, run: RunId, *, began: datetime, chance: random.Random, hostile: str
) -> None:
    """Give one run all that a run can have."""
    for key in ("system/cpu_percent", "system/memory_mb", "system/disk_percent"):
        logging.log(run, metrics=points(key, steps=120, began=began, start=20, end=60, chance=chance))
    logging.log(run, metrics=points("long", steps=5000, began=began, start=3, end=1, chance=chance))
    logging.log_inputs(
        run,
        datasets=[
            DatasetInput(
                name=f"flights{hostile}",
                digest="8f1d3c",
                source_type="local",
                source='{"uri": "flights.csv"}',
                tags={"mlflow.data.context": "training"},
            )
        ],
    )
    home = logging.get_run(run).run.experiment
    model = logging.create_model(home, name=f"boosted{hostile}"[:200], run=run, model_type="sklearn")
    logging.log_outputs(run, [ModelOutput(model=model.id, step=39)])
    files = {
        "environment/packages.txt": b"numpy==2.1.0\npolars==1.9.0\n",
        "source/diff.patch": b"diff --git a/train.py b/train.py\n@@ -1,2 +1,2 @@\n-rate = 0.1\n+rate = 0.03\n context\n",
        "plots/roc.png": PNG,
        "report.html": b"<script>alert(1)</script><h1>report</h1>",
        "table.csv": b"name,value\na,1\nb,2\n",
        "config.json": b'{"lr": 0.03, "deep": {"a": [1, 2, 3]}}',
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "model/model.bin": bytes(range(256)) * 40,
    }
    for path, data in files.items():
        artifacts.put(run, path, pieces=[data])

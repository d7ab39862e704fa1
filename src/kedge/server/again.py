"""Compute one answer again, in a process of its own: the control plane itself loads no model and no table."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from kedge.app import open_house
from kedge.config import read_project, settings
from kedge.domain.ids import PredictionId
from kedge.errors import KedgeError
from kedge.ports import JobFailed
from kedge.server.house import House
from kedge.server.reading.why import Again

_SECONDS = 60.0


def again(house: House, prediction: PredictionId) -> Again:
    """Compute an answer again, in the form and batch it was served in. A failure is told, not raised."""
    where = house.settings
    result, _ = house.jobs.call(replay_job, str(where.project), where.store, prediction, seconds=_SECONDS)
    if isinstance(result, JobFailed):
        return Again(again=None, logged=None, equal=False, batch_rows=0, failed=result.reason)
    return msgspec.convert(result, Again)


def replay_job(project: str, store: str, prediction: PredictionId) -> dict[str, Any]:
    """Run in the job's process: open the house there and recompute."""
    folder = Path(project)
    house = open_house(settings(folder, store=store), read_project(folder), writer="replay-one")
    try:
        logged = house.lineage.get(prediction)
        model = house.registry.servable(logged.batch.model, logged.batch.versions[logged.row])
        done = house.evaluation.recompute(model, logged.batch, row=logged.row, call=partial(house.lineage.call, logged))
        return {"again": done.again, "logged": done.logged, "equal": done.equal, "batch_rows": done.batch_rows}
    except KedgeError as error:
        return {"again": None, "logged": None, "equal": False, "batch_rows": 0, "failed": str(error)}
    finally:
        house.close()

"""Answer one request by a deployment: part its rows by version, call each version once, keep what was not used apart.

    CANARY, BLUE_GREEN   an entity whose hash lies under the share is answered by the challenger
    SHADOW               the champion answers all rows; the challenger answers a copy, kept in `shadow`
A challenger that fails harms nobody: its rows go to the champion with the champion's own, and the failure is kept in
`errors`. A champion that fails raises: that is the request door's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kedge.domain.features import FeatureService
from kedge.domain.ids import RequestId, prediction_id
from kedge.domain.monitoring import Value
from kedge.domain.project import ProjectSpec
from kedge.domain.rollout import Deployment, Strategy, takes_challenger
from kedge.errors import FAILURES
from kedge.features.join import key_text

Columns = Mapping[str, Sequence[Value]]
Score = Callable[[int, Columns], NDArray[np.float64]]


@dataclass(slots=True)
class Answer:
    """A request's answers: by row the version and the output; the calls (version, rows) in order; by version the answers
    that were not used; by row why the challenger failed."""

    versions: list[int]
    outputs: list[float]
    batches: list[tuple[int, list[int]]] = field(default_factory=list)
    shadow: dict[int, list[float]] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)


def sticky_column(spec: ProjectSpec, service: FeatureService) -> str:
    """Name the column whose value decides who answers a row: as the project says, else the key where requests carry it.

    Empty: each row of each request is on its own.
    """
    carried = (*service.entities(), *service.request)
    return spec.rollout.sticky or (spec.data.key if spec.data.key in carried else "")


def entities_of(request: RequestId, values: Sequence[object]) -> list[str]:
    """Name what each row is split by: its value of the sticky column as text, or the prediction where it has none."""
    return [key_text(value) or prediction_id(request, row) for row, value in enumerate(values)]


def answer(deployment: Deployment, served: Columns, *, entities: Sequence[str], score: Score) -> Answer:
    """Answer rows: `served` has the model's columns, one value a row, `entities` what each row is split by."""
    count = len(entities)
    answers = Answer([deployment.champion] * count, [float("nan")] * count)
    everyone = list(range(count))
    if not everyone:
        return answers
    challenger = deployment.challenger
    tried = [row for row in everyone if takes_challenger(deployment, entities[row])]
    failed = _try(answers, challenger, rows=tried, served=served, score=score) if challenger is not None and tried else []
    left = sorted({*everyone} - {*tried} | {*failed})
    if left:
        _take(answers, deployment.champion, rows=left, outputs=score(deployment.champion, _rows(served, left, count=count)))
    if challenger is not None and deployment.strategy is Strategy.SHADOW:
        _copy(answers, challenger, rows=everyone, served=served, score=score)
    return answers


def _try(answers: Answer, challenger: int, *, rows: list[int], served: Columns, score: Score) -> list[int]:
    """Let the challenger answer its rows; give those that it failed on."""
    outputs = _attempt(answers, challenger, rows=rows, served=served, score=score)
    if outputs is None:
        return rows
    _take(answers, challenger, rows=rows, outputs=outputs)
    return [row for row in rows if row in answers.errors]


def _copy(answers: Answer, challenger: int, *, rows: list[int], served: Columns, score: Score) -> None:
    """Let the challenger answer a copy of all rows, unused."""
    outputs = _attempt(answers, challenger, rows=rows, served=served, score=score)
    if outputs is not None:
        answers.shadow[challenger] = outputs.tolist()
        answers.batches.append((challenger, rows))


def _attempt(
    answers: Answer, challenger: int, *, rows: list[int], served: Columns, score: Score
) -> NDArray[np.float64] | None:
    """Call the challenger; where it fails, on all rows or on some, keep why for each. None where it failed on all."""
    try:
        outputs = score(challenger, _rows(served, rows, count=len(answers.versions)))
        if outputs.shape != (len(rows),):
            raise ValueError(f"{len(rows)} rows were answered with shape {outputs.shape}")
    except FAILURES as error:
        answers.errors.update(dict.fromkeys(rows, f"version {challenger} failed: {type(error).__name__}: {error}"))
        return None
    if not np.isfinite(outputs).all():
        bad = [row for row, good in zip(rows, np.isfinite(outputs).tolist(), strict=True) if not good]
        answers.errors.update(dict.fromkeys(bad, f"version {challenger} answered a value that is not finite"))
    return outputs


def _take(answers: Answer, version: int, *, rows: list[int], outputs: NDArray[np.float64]) -> None:
    """Use a version's answers for its rows."""
    answers.batches.append((version, rows))
    for row, output in zip(rows, outputs.tolist(), strict=True):
        answers.versions[row] = version
        answers.outputs[row] = output


def _rows(served: Columns, rows: list[int], *, count: int) -> Columns:
    """Take some of the rows; all of them are passed on as they are."""
    return served if len(rows) == count else {name: [values[row] for row in rows] for name, values in served.items()}

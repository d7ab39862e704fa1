"""Prediction skew between training and serving, by a sample of each window's answers.

    features as served -> the same values by the point-in-time join?
    features as served -> the version's reference form -> the same answer?
A row alone may come too late, so what alarms is evidence: a bet that more than 1 % of the sampled rows are skewed
(`skewed.py`), with the declared run length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from kedge.domain.features import ParityReport
from kedge.domain.monitoring import PredictionBatch, Value
from kedge.domain.project import ProjectSpec
from kedge.domain.records import decode_batch
from kedge.domain.registry import ModelVersion
from kedge.domain.rows import taken
from kedge.domain.skew import Skew, SkewedAnswer, SkewedValue
from kedge.errors import KedgeError, SourceFailed
from kedge.monitoring.quality.skewed import TOLERANCE, SkewState
from kedge.monitoring.truth.join_labels import Answered

MOST_ROWS = 100
MOST_REQUESTS = 20
EXAMPLES = 10
SAME = 1e-6
"""The greatest difference of two answers, relative above 1, that is none: other batches give other last bits."""

Score = Callable[[ModelVersion, Mapping[str, list[Value]]], np.ndarray]
Versions = Callable[[int], ModelVersion | None]


class Rejoining(Protocol):
    """Joins served rows again; `features.parity.Parity` fits it."""

    def compare_batches(self, spec: ProjectSpec, batches: Sequence[PredictionBatch]) -> ParityReport:
        """Compare what requests were served with what the join gives. Raises SourceFailed."""
        ...


def sample_of(answers: Sequence[Answered]) -> list[PredictionBatch]:
    """Take at most 100 rows of at most 20 requests, evenly over the window."""
    asked = [one for one in answers if one.versions]
    chosen = [asked[place] for place in np.linspace(0, len(asked) - 1, min(len(asked), MOST_REQUESTS)).astype(int)]
    each = max(1, MOST_ROWS // max(1, len(chosen)))
    batches = [decode_batch(one.payload) for one in chosen]
    return [batch if len(batch.versions) <= each else taken(batch, range(each)) for batch in batches]


def skew_of(
    spec: ProjectSpec,
    batches: Sequence[PredictionBatch],
    *,
    parity: Rejoining,
    versions: Versions,
    score: Score,
    state: SkewState,
) -> Skew | None:
    """Replay a sample of a window's answers, and bet on the share that is skewed. None where nothing could be compared.

    A model that no loop makes (without a source) has no join to be held against: its answers alone are asked again."""
    found = _answers(batches, versions=versions, score=score)
    try:
        report = parity.compare_batches(spec, batches) if spec.data.source else ParityReport(rows=0, values=0)
        found = msgspec.structs.replace(
            found,
            rows=report.rows,
            skewed=report.skewed,
            columns=report.by_column,
            mismatches=tuple(
                SkewedValue(prediction=one.prediction, column=one.column, served=one.served, joined=one.joined)
                for one in report.mismatches[:EXAMPLES]
            ),
        )
    except SourceFailed as error:
        said = f"skew: the features could not be joined again: {error}"
        found = msgspec.structs.replace(found, notes=(*found.notes, said))
    if not found.rows and not found.answers:
        return found if found.notes else None
    evidence = state.bet(found.share)
    limit = float(spec.monitoring.run_length)
    if evidence >= limit:
        state.logs = []
    return msgspec.structs.replace(found, evidence=evidence, limit=limit, tolerance=TOLERANCE)


def _answers(batches: Sequence[PredictionBatch], *, versions: Versions, score: Score) -> Skew:
    """Ask the reference forms again about the features as they were served."""
    compared, changed = 0, 0
    examples: list[SkewedAnswer] = []
    notes: list[str] = []
    for number in sorted({version for batch in batches for version in batch.versions}):
        model = versions(number)
        if model is None:
            continue
        names = [column.name for column in model.signature.inputs]
        for batch in batches:
            places = [place for place, version in enumerate(batch.versions) if version == number]
            if not places or batch.hidden or not set(names) <= batch.features.keys():
                continue
            columns: dict[str, list[Value]] = {name: [batch.features[name][place] for place in places] for name in names}
            try:
                again = score(model, columns)
            except KedgeError as error:  # its files are gone: what cannot be asked is not compared
                notes.append(f"skew: version {number} could not be asked again: {error}")
                break
            logged = np.array([batch.outputs[place] for place in places], dtype=np.float64)
            known = np.isfinite(logged)
            apart = ~np.isclose(again, logged, rtol=SAME, atol=SAME) & known
            compared, changed = compared + int(known.sum()), changed + int(apart.sum())
            examples += [
                SkewedAnswer(
                    prediction=batch.prediction(places[index]),
                    version=number,
                    answered=float(logged[index]),
                    again=float(again[index]),
                )
                for index in np.flatnonzero(apart)[: EXAMPLES - len(examples)].tolist()
            ]
    return Skew(answers=compared, changed=changed, examples=tuple(examples), notes=tuple(notes))

"""The gate's rows as its candidate answered them: the loss that was accepted, and what else they teach about a version.

A version that no gate has seen is taught by labelled rows of its time instead, which it answers itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kedge.domain.data import KNOWN_AT
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import Candidate, ModelVersion
from kedge.evaluation.metrics import loss_name, loss_rows
from kedge.evaluation.room import Evaluation
from kedge.monitoring.drift.reference import day_numbers
from kedge.monitoring.quality.at_gate import AtGate, learn_at_gate
from kedge.monitoring.quality.risk import Accepted, accept

if TYPE_CHECKING:
    import polars as pl

    from kedge.features.frame import TrainingFrame


class AskedAtGate(NamedTuple):
    """The gate's rows, the answers of the candidate (which has not seen them), and the facts. Days are those in which rows
    became known, where nothing else numbers them."""

    candidate: Candidate | ModelVersion
    rows: pl.DataFrame
    answers: np.ndarray
    facts: np.ndarray
    numbered: np.ndarray | None = None

    @property
    def days(self) -> np.ndarray:
        """Number the day of each row."""
        return self.numbered if self.numbered is not None else day_numbers(self.rows[KNOWN_AT])

    def accepted(self, spec: ProjectSpec) -> Accepted | None:
        """Give the loss that was accepted, by days."""
        known = np.isfinite(self.facts) & np.isfinite(self.answers)
        metric = loss_name(spec.gate.metric, spec.data.task)
        losses = loss_rows(metric, self.facts[known], p=self.answers[known], threshold=spec.gate.threshold)
        return accept(metric, losses, days=self.days[known])

    def taught(self, spec: ProjectSpec, version: ModelVersion, *, evaluation: Evaluation) -> AtGate | None:
        """Learn what the rows teach about a version; None where they are too few."""
        return learn_at_gate(
            version.signature,
            self.rows,
            version=version.number,
            metric=loss_name(spec.gate.metric, version.signature.task),
            threshold=spec.gate.threshold,
            facts=self.facts,
            answers=self.answers,
            days=self.days,
            answer=lambda rows: evaluation.score(self.candidate, rows),
        )


def ask_at_gate(candidate: Candidate | None, frame: TrainingFrame, *, evaluation: Evaluation) -> AskedAtGate | None:
    """Score the newest step's rows by the candidate, which has not seen them; None where it is gone: the registered refit
    has seen them."""
    newest = frame.newest()
    if candidate is None or not len(newest):
        return None
    return AskedAtGate(candidate, newest.rows, evaluation.score(candidate, newest.rows), newest.y())

"""Causes on demand: for any measured window, from the prediction log."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from kedge.domain.causes import Causes
from kedge.domain.durations import EPOCH, span_of
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Health
from kedge.domain.project import ProjectSpec
from kedge.errors import NotFound
from kedge.evaluation.metrics import Vector, loss_name
from kedge.monitoring.answer_log import AnswerLog, PredictionQuery
from kedge.monitoring.causes.explain import LabelledRows, causes_of
from kedge.monitoring.quality.losses import row_losses
from kedge.monitoring.references import References
from kedge.ports import Watches
from kedge.registry.room import Registry

PREFIX = "feature_"
NEWEST = 100
"""Among so many of the newest windows the newest with rows is looked for."""


class Explaining:
    """Says what moved and why it matters, when asked."""

    def __init__(self, *, answers: AnswerLog, references: References, registry: Registry, watches: Watches) -> None:
        self._answers, self._references, self._registry, self._watches = answers, references, registry, watches

    def explain(self, spec: ProjectSpec, window: str = "", *, windows: int = 7) -> Causes:
        """Explain a measured window (the newest in which rows came, unless named by its id or its start): the answers of
        the champion in it and the windows before it, `windows` in all, whose truth is known. Raises NotFound."""
        health = self._window(spec.name, window)
        if health.champion is None:
            raise NotFound(f"nothing was deployed in window {health.window.id}, so there is nothing to explain")
        champion = self._registry.find(spec.name, health.champion)
        if champion is None:
            raise NotFound(f"version {health.champion} of {spec.name!r} is gone, so its answers cannot be explained")
        length = span_of(spec.monitoring.window)
        rows = self._answers.select(
            PredictionQuery(
                model=spec.name,
                version=champion.number,
                since=health.window.end - windows * length,
                until=health.window.end,
                where="truth IS NOT NULL",
            )
        )
        return causes_of(
            _labelled(spec, rows.sort("answered_at", "id")),
            champion,
            gate=self._references.at_gate(spec.name, champion.number),
            drift=health.drift,
            window=length,
            min_group=spec.gate.min_group,
            end=health.window.end,
        )

    def _window(self, model: ModelName, named: str) -> Health:
        measured = self._watches.list(model, limit=100_000 if named else NEWEST)
        found = [one for one in measured if (one.window.id.startswith(named) if named else one.rows)]
        if not named:  # a silence explains nothing: the window before it does
            found = found or list(measured[-1:])
        if not found:
            which = f"window {named!r} was" if named else "no window was"
            raise NotFound(
                f"{which} {'not ' if named else ''}measured for {model!r}; list them with: kedge monitor show {model}"
            )
        return found[-1]


def _labelled(spec: ProjectSpec, rows: pl.DataFrame) -> LabelledRows:
    columns = {name.removeprefix(PREFIX): rows[name].to_list() for name in rows.columns if name.startswith(PREFIX)}
    answers: Vector = rows["output"].to_numpy() if len(rows) else np.zeros(0)
    facts: Vector = rows["truth"].to_numpy() if len(rows) else np.zeros(0)
    metric = loss_name(spec.gate.metric, spec.data.task)
    losses = row_losses(metric, facts, answers=answers, threshold=spec.gate.threshold)
    at = [(moment - EPOCH) / timedelta(seconds=1) for moment in rows["answered_at"]] if len(rows) else []
    return LabelledRows(columns=columns, losses=losses, at=np.array(at), ids=rows["id"].to_list() if len(rows) else [])

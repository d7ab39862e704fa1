"""From answered requests to their callers: one write to the log for all of them, then the answers, then the counters."""

import asyncio
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

import numpy as np

from kedge.domain.ids import ModelName, prediction_id
from kedge.domain.monitoring import Matrix, PredictionBatch
from kedge.domain.predictions import Ack
from kedge.domain.rollout import Strategy
from kedge.serving.batch import Group
from kedge.serving.loader import Active
from kedge.serving.log import PredictionLog
from kedge.serving.metrics import ModelMetrics, VersionMetrics
from kedge.serving.recent import Recent
from kedge.serving.waiting import Waiting
from kedge.serving.wire.questions import InferResponse, Tensor, Wanted

_KEPT = 256


class Finish:
    """Logs, answers and counts what a model answered. In the loop's thread."""

    def __init__(self, model: ModelName, *, log: PredictionLog, metrics: ModelMetrics, recent: Recent) -> None:
        self._model, self._log, self._metrics, self._recent = model, log, metrics, recent
        self._numbers: dict[tuple[int, int], Tensor] = {}
        self._syncing: set[asyncio.Future[None]] = set()

    def __call__(self, group: Group) -> None:
        """Finish requests that went through the model together, some of which may have failed."""
        good, records = [], []
        for asked in group:
            if asked.future.done():
                continue
            if asked.error is not None:
                if asked.exact is not None:
                    self._recent.release(asked.exact, asked.told)
                asked.future.set_exception(asked.error)
                continue
            good.append(asked)
            if not asked.probe:
                records.append(self._record(asked))
        began = monotonic()
        logged = bool(records) and self._log.append_all(records)
        if logged and self._log.ack is Ack.SYNCED:
            task = asyncio.ensure_future(self._tell_synced(good, began))
            self._syncing.add(task)
            task.add_done_callback(lambda task: self._synced(task, good))
        elif good:
            self._tell(good, logged=logged, began=began)

    async def _tell_synced(self, group: Sequence[Waiting], began: float) -> None:
        """Give answers when their records survive a power cut; a sync serves all who wait for it."""
        logged = await self._log.acknowledged()
        left = [asked for asked in group if not asked.future.done()]  # the others' callers are gone
        if left:
            self._tell(left, logged=logged, began=began)

    def _synced(self, task: "asyncio.Future[None]", group: Sequence[Waiting]) -> None:
        """Let nobody wait for ever whose answer could not be told."""
        self._syncing.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            for asked in group:
                asked.future.set_exception(error)

    def _tell(self, group: Sequence[Waiting], *, logged: bool, began: float) -> None:
        ended = monotonic()
        for asked in group:
            counted = self._counted(asked)
            answer = self._answer(asked, counted, logged=logged and not asked.probe)
            asked.future.set_result(answer)
            if asked.exact is not None and logged and asked.question.version is None:
                self._recent.keep(asked.exact, asked.told, answer=answer)
        self._count(group, logged=ended - began, now=ended)

    def _record(self, asked: Waiting) -> PredictionBatch:
        """Make the record of an answer for the prediction log."""
        active, version, waited = asked.active, asked.version, asked.began - asked.arrived - asked.features_seconds
        return PredictionBatch(
            request=asked.name,
            model=self._model,
            at=asked.at,
            revision=asked.deployment.revision,
            service=active.service,
            entities=asked.entities,
            versions=[version] * asked.count if version is not None else asked.versions,
            features=asked.features,
            matrix=None if asked.matrix is None else Matrix(active.inputs.names, asked.matrix),
            as_of=asked.as_of,
            outputs=asked.outputs,
            batches=asked.batches,
            shadow=asked.shadow,
            errors=asked.errors,
            seconds={"queue": waited, "features": asked.features_seconds, "predict": asked.ended - asked.began},
            inputs=asked.inputs,
            calls=asked.calls,
            roles=active.roles,
            forms=active.forms,
            variant=asked.question.variant or "",
        )

    def _answer(self, asked: Waiting, counted: VersionMetrics, *, logged: bool) -> InferResponse:
        """Write an answer. `model_version` is that of all rows where they share one, else the champion's."""
        active, shape, version = asked.active, (asked.count,), asked.version
        if version is None and len(set(asked.versions)) == 1:
            version = asked.versions[0]
        parameters = active.parameters
        if not logged or asked.name != asked.told:
            parameters = {**parameters, **({} if logged else {"logged": False})}
            if asked.name != asked.told:
                parameters["request"] = asked.name
        outputs = []
        for name in _names(asked.question.outputs, active):
            if name == "version":
                outputs.append(self._versions(asked, version))
            elif name == "prediction_id":
                ids = np.array([prediction_id(asked.name, row) for row in range(asked.count)], object)
                outputs.append(Tensor(name, "BYTES", shape, ids))
            else:
                outputs.append(Tensor(name, "FP64", shape, asked.outputs))
        return InferResponse(
            model=self._model,
            version=str(asked.deployment.champion if version is None else version),
            id=asked.told,
            parameters=parameters,
            outputs=outputs,
            serialized=counted.stages["serialize"].observe,
        )

    def _versions(self, asked: Waiting, version: int | None) -> Tensor:
        """Say which version answered each row. The usual ones are kept: making an array costs more than the rest."""
        count = asked.count
        if version is None:
            return Tensor("version", "INT64", (count,), np.array(asked.versions, np.int64))
        known = self._numbers.get((version, count))
        if known is None:
            known = Tensor("version", "INT64", (count,), np.full(count, version, np.int64))
            if len(self._numbers) >= _KEPT:
                self._numbers.clear()
            if count <= _KEPT:
                self._numbers[version, count] = known
        return known

    def _count(self, group: Sequence[Waiting], *, logged: float, now: float) -> None:
        """Count answered requests: what they share at once for all, their own times one by one."""
        self._metrics.batch(rows=sum([asked.count for asked in group]))
        predict = group[0].ended - group[0].began
        tally: dict[Any, list[int]] = {}
        for asked in group:
            counted = self._counted(asked)
            stages = counted.stages
            received = asked.question.received or asked.arrived
            stages["total"].observe(now - received)
            stages["parse"].observe(asked.arrived - received)
            stages["queue"].observe(asked.began - asked.arrived - asked.features_seconds)
            if asked.features_seconds:
                stages["features"].observe(asked.features_seconds)
            if asked.notes is not None:
                _note(asked, written=now - logged, logged=now)
            sums = tally.setdefault(counted, [0, 0])
            sums[0] += 1
            sums[1] += asked.count
            if asked.errors and (challenger := asked.deployment.challenger) is not None:
                role = "shadow" if asked.deployment.strategy is Strategy.SHADOW else "challenger"
                self._metrics.version(challenger, role).row_errors.add(len(asked.errors))
        for counted, (requests, rows) in tally.items():
            counted.requests[200].add(requests)
            counted.rows.add(rows)
            counted.stages["predict"].observe(predict, times=requests)
            counted.stages["log"].observe(logged, times=requests)

    def _counted(self, asked: Waiting) -> VersionMetrics:
        """Give the counters of a request: of the version that answered it, or of both that did."""
        if asked.version is not None:
            return self._metrics.version(asked.version, asked.active.roles[asked.version])
        versions = set(asked.versions)
        if len(versions) > 1:
            return self._metrics.version(asked.deployment.champion, "mixed")
        version = versions.pop()
        return self._metrics.version(version, asked.active.roles[version])


def _note(asked: Waiting, *, written: float, logged: float) -> None:
    """Note when each stage began and ended."""
    notes, version = asked.notes, asked.deployment.champion if asked.version is None else asked.version
    if notes is not None:
        looked_up = asked.arrived + asked.features_seconds
        notes.attributes = {"kedge.model": asked.active.deployment.model, "kedge.version": str(version)}
        notes.attributes |= {"kedge.rows": asked.count, "kedge.request": asked.told}
        notes.stages = [("features", asked.arrived, looked_up), ("queue", looked_up, asked.began)]
        notes.stages += [("predict", asked.began, asked.ended), ("log", written, logged)]


def _names(wanted: Sequence[Wanted] | None, active: Active) -> Iterable[str]:
    """Name the outputs to give, in order."""
    return dict.fromkeys(each.name for each in wanted) if wanted else active.usual

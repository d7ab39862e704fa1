"""From answered requests to their callers: one write to the log for all of them, then the answers, then the counters."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from kedge.domain.holdout import HOLDOUT, NOT_RANDOM, PROPENSITY, coin, is_held, propensity
from kedge.domain.ids import ModelName, prediction_id
from kedge.domain.monitoring import COPIED, Matrix, PredictionBatch
from kedge.domain.predictions import Ack
from kedge.domain.rollout import Strategy
from kedge.domain.stencils import LikeRecord, Loggable, Stencil, batch_of
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

    def __init__(
        self,
        model: ModelName,
        *,
        log: PredictionLog,
        metrics: ModelMetrics,
        recent: Recent,
        shadow: Callable[[Sequence[Waiting]], None],
        holdout: float = 0.0,
    ) -> None:
        self._holdout, self._shadow = holdout, shadow
        self._model, self._log, self._metrics, self._recent = model, log, metrics, recent
        self._numbers: dict[tuple[int, int], Tensor] = {}
        self._stencils: dict[tuple[int, int], Stencil] = {}
        self._stencils_of: Active | None = None
        self._syncing: set[asyncio.Future[None]] = set()

    def __call__(self, group: Group) -> None:
        """Finish requests that went through the model together, some of which may have failed."""
        good, records = [], []
        for asked in group:
            if not asked.future.waits:
                continue
            if asked.error is not None:
                if asked.exact is not None:
                    self._recent.release(asked.exact, asked.told)
                asked.future.set_exception(asked.error)
                continue
            good.append(asked)
            if self._holdout and self._draws(asked):
                asked.coins = self._coins(asked)
            if not asked.probe:
                record = self._record(asked)
                records.append(record)
                if asked.deployment.challenger is not None and asked.deployment.strategy is Strategy.SHADOW:
                    asked.record = record
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
        left = [asked for asked in group if asked.future.waits]  # the others' callers are gone
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
        ended, by = monotonic(), []
        for asked in group:
            counted = self._counted(asked)
            by.append(counted)
            answer = self._answer(asked, counted, logged=logged and not asked.probe)
            if asked.notes is not None:  # read by whoever tells of the request, as soon as it is answered
                _note(asked, written=began, logged=ended)
            asked.future.set_result(answer)
            if asked.exact is not None and logged and asked.question.version is None:
                self._recent.keep(asked.exact, asked.told, answer=answer)
        # After the answers have left: who waits for one does not wait for the counting, nor for a shadow.
        count = partial(self._count, group, by, logged=ended - began, now=ended)
        loop = asyncio.get_running_loop()
        loop.call_soon(count)
        if logged and (copies := [_copy(asked) for asked in group if asked.record is not None]):
            loop.call_soon(self._shadow, copies)

    def copied(self, group: Sequence[Waiting]) -> None:
        """Log and count what a version in shadow answered to copies."""
        records = [_copied(asked) for asked in group]
        if not self._log.append_all(records):
            self._metrics.left_out.add(sum(asked.count for asked in group))
        for asked in group:
            counted = self._metrics.version(asked.deployment.challenger or 0, COPIED)
            counted.row_errors.add(len(asked.errors))
            counted.stages["predict"].observe(asked.trial_seconds or 0.0)

    def _record(self, asked: Waiting) -> Loggable:
        """Make the record of an answer for the prediction log: like those before it where one version gave it all."""
        waited = asked.began - asked.arrived - asked.features_seconds
        seconds = {"queue": waited, "features": asked.features_seconds, "predict": asked.predict_seconds}
        if asked.trial_seconds is not None:
            seconds["challenger"] = asked.trial_seconds
        version, matrix = asked.version, asked.matrix
        apart = asked.errors or asked.question.variant or self._holdout
        if version is None or matrix is None or apart or asked.count > _KEPT:
            return self._batch(asked, seconds)
        if asked.active is not self._stencils_of:
            self._stencils, self._stencils_of = {}, asked.active
        stencil = self._stencils.get((version, asked.count))
        if stencil is None:
            stencil = self._stencils[version, asked.count] = Stencil(self._batch(asked, seconds))
        return LikeRecord(stencil, asked.name, asked.at, asked.outputs, seconds, asked.entities, matrix, asked.calls)

    def _batch(self, asked: Waiting, seconds: dict[str, float]) -> PredictionBatch:
        """Make the whole record of an answer."""
        active, version, batches = asked.active, asked.version, asked.batches
        if version is not None:
            batches = [(version, [*range(asked.count)]), *batches]
        return PredictionBatch(
            request=asked.name,
            model=self._model,
            at=asked.at,
            revision=asked.deployment.revision,
            service=active.service,
            entities=asked.entities,
            versions=[version] * asked.count if version is not None else asked.versions,
            features=asked.features,
            as_of=asked.as_of,
            outputs=asked.outputs,
            batches=batches,
            seconds=seconds,
            forms=active.forms,
            roles=active.roles,
            matrix=None if asked.matrix is None else Matrix(active.inputs.names, asked.matrix),
            calls=asked.calls,
            errors=asked.errors,
            inputs=asked.inputs,
            variant=asked.question.variant or "",
            tensors=self._drawn(asked) if self._holdout else {},
        )

    def _draws(self, asked: Waiting) -> bool:
        """Say whether the hold-out is drawn: who asks for a version or a side of a trial gets what was asked for."""
        question = asked.question
        return not asked.probe and question.version is None and not question.variant

    def _coins(self, asked: Waiting) -> dict[int, float]:
        """Draw what is served at random: a coin for each row whose entity is in the hold-out."""
        ids = [prediction_id(asked.name, row) for row in range(asked.count)]
        entities = asked.entities or ids
        return {row: coin(ids[row]) for row, entity in enumerate(entities) if is_held(entity, self._holdout)}

    def _drawn(self, asked: Waiting) -> dict[str, Any]:
        """Give what the log keeps of the hold-out: what was served at random, and how probable each answer was. The model's
        own answers stand in `outputs`."""
        if not self._draws(asked):
            return {}
        rows = range(asked.count)
        return {
            HOLDOUT: [asked.coins.get(row, NOT_RANDOM) for row in rows],
            PROPENSITY: [propensity(self._holdout, random=row in asked.coins) for row in rows],
        }

    def _answer(self, asked: Waiting, counted: VersionMetrics, *, logged: bool) -> InferResponse:
        """Write an answer. `model_version` is that of all rows where they share one, else the champion's."""
        active, shape, version = asked.active, (asked.count,), asked.version
        if version is None and len({*asked.versions}) == 1:
            version = asked.versions[0]
        parameters = {**active.parameters, "holdout": len(asked.coins)} if asked.coins else active.parameters
        if not logged or asked.name != asked.told:
            parameters = {**parameters, **({} if logged else {"logged": False})}
            if asked.name != asked.told:
                parameters["request"] = asked.name
        outputs = []
        for name in _named(asked.question.outputs) if asked.question.outputs else active.usual:
            if name == "version":
                outputs.append(self._versions(asked, version))
            elif name == "prediction_id":
                ids = np.array([prediction_id(asked.name, row) for row in range(asked.count)], object)
                outputs.append(Tensor(name, "BYTES", shape, ids))
            else:
                outputs.append(Tensor(name, "FP64", shape, _served(asked) if asked.coins else asked.outputs))
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

    def _count(self, group: Sequence[Waiting], by: Sequence[VersionMetrics], *, logged: float, now: float) -> None:
        """Count answered requests `by` who answered: what they share at once for all, their own times one by one."""
        self._metrics.batch(rows=sum([asked.count for asked in group]))
        tally: dict[Any, list[int]] = {}
        for asked, counted in zip(group, by, strict=True):
            stages = counted.stages
            received = asked.question.received or asked.arrived
            stages["total"].observe(now - received)
            stages["parse"].observe(asked.arrived - received)
            stages["queue"].observe(asked.began - asked.arrived - asked.features_seconds)
            if asked.features_seconds:
                stages["features"].observe(asked.features_seconds)
            stages["predict"].observe(asked.predict_seconds)
            sums = tally.setdefault(counted, [0, 0])
            sums[0] += 1
            sums[1] += asked.count
            if asked.errors:
                self._count_errors(asked)
        for counted, (requests, rows) in tally.items():
            counted.requests[200].add(requests)
            counted.rows.add(rows)
            counted.stages["log"].observe(logged, times=requests)

    def _count_errors(self, asked: Waiting) -> None:
        """Count the rows that the version on trial failed on."""
        if (challenger := asked.deployment.challenger) is not None:
            self._metrics.version(challenger, "challenger").row_errors.add(len(asked.errors))

    def _counted(self, asked: Waiting) -> VersionMetrics:
        """Give the counters of a request: of the version that answered it, or of both that did."""
        if asked.version is not None:
            return self._metrics.version(asked.version, asked.active.roles[asked.version])
        versions = set(asked.versions)
        if len(versions) > 1:
            return self._metrics.version(asked.deployment.champion, "mixed")
        version = versions.pop()
        return self._metrics.version(version, asked.active.roles[version])


def _copy(asked: Waiting) -> Waiting:
    """Make what a version in shadow is to answer: the same rows, with nothing become of them yet."""
    return msgspec.structs.replace(asked, calls={}, batches=[], errors={}, began=0.0, predict_seconds=0.0)


def _copied(asked: Waiting) -> PredictionBatch:
    """Say the record of an answer again, with what a version in shadow made of its copy."""
    assert asked.record is not None  # noqa: S101 - only what has one is copied
    record = batch_of(asked.record)
    return msgspec.structs.replace(
        record,
        shadow=asked.shadow,
        errors=asked.errors,
        batches=[*record.batches, *asked.batches],
        calls={**record.calls, **asked.calls},
        seconds={**record.seconds, "challenger": asked.trial_seconds or 0.0},
        variant=COPIED,
    )


def _note(asked: Waiting, *, written: float, logged: float) -> None:
    """Note when each stage began and ended."""
    notes, version = asked.notes, asked.deployment.champion if asked.version is None else asked.version
    if notes is not None:
        looked_up = asked.arrived + asked.features_seconds
        notes.attributes = {"kedge.model": asked.active.deployment.model, "kedge.version": str(version)}
        notes.attributes |= {"kedge.rows": asked.count, "kedge.request": asked.told}
        notes.stages = [("features", asked.arrived, looked_up), ("queue", looked_up, asked.began)]
        notes.stages += [("predict", asked.began, asked.began + asked.predict_seconds), ("log", written, logged)]


def _named(wanted: Sequence[Wanted]) -> Iterable[str]:
    """Name the outputs that are asked for, in order."""
    return dict.fromkeys(each.name for each in wanted)


def _served(asked: Waiting) -> Any:
    """Give what the caller gets where the hold-out is served: the model's answers, and coins in their places."""
    served = np.array(asked.outputs, dtype=np.float64)
    served[[*asked.coins]] = [*asked.coins.values()]
    return served

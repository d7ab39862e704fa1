"""The answer path of one model: check, look features up, wait for the model, log, answer.

    question -> rows -> features (online store) -> queue -> model call (split by version) -> journal -> answers
The event loop's own thread walks it; only a model call that is slow has a thread of its own (`batch.py`). Loading happens
in another thread, and its result is swapped in by one assignment.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Protocol

import msgspec
from polars.exceptions import PolarsError

from kedge.domain.features import FeatureService
from kedge.domain.ids import ModelName, RequestId
from kedge.domain.rollout import Deployment
from kedge.errors import FAILURES, KedgeError, NotFound, NothingDeployed, RequestInvalid
from kedge.features.online import Served
from kedge.ports import Clock, Deployments
from kedge.rollout import split
from kedge.serving import calls
from kedge.serving.answering import Finish
from kedge.serving.batch import Queue
from kedge.serving.inputs import Columns, ModelRows
from kedge.serving.loader import Active, RevisionLoader
from kedge.serving.log import PredictionLog
from kedge.serving.metrics import Metrics
from kedge.serving.pending import Pending
from kedge.serving.recent import Recent
from kedge.serving.shadow import Shadow
from kedge.serving.tensors import TensorCalls
from kedge.serving.tracing import NOTES
from kedge.serving.waiting import Waiting
from kedge.serving.wire.limits import VARIANTS
from kedge.serving.wire.questions import InferRequest, InferResponse, Wanted

_log = logging.getLogger("kedge.serving")
_EXTRAS = 4
"""How many versions stay loaded that were asked for by their number and that no revision names."""


class Reader(Protocol):
    """The part of the features room that completes a request's columns."""

    def read(self, columns: Columns, at: datetime) -> Served:
        """Look features up as of a time and derive what the service derives."""
        ...


@dataclass(frozen=True)
class Limits:
    """How much may wait and how long. `queue` requests may wait for a model; a call takes up to `call_rows` rows;
    `patience` is how many seconds a caller waits that names no deadline; `models_bytes` what loaded models may take
    (None: no limit), `bake_seconds` how long a version stays loaded after its last revision; `holdout` is the share of the
    project's own entities that is served at random."""

    queue: int = 1024
    call_rows: int = 2048
    patience: float = 30.0
    models_bytes: int | None = None
    bake_seconds: float = 3600.0
    holdout: float = 0.0


DEFAULTS = Limits()


class Plane:
    """Answers for one model: holds what is active, follows its deployment, logs what it answers."""

    def __init__(
        self,
        *,
        model: ModelName,
        service: FeatureService | None,
        sticky: str,
        deployments: Deployments,
        loader: RevisionLoader,
        reader: Reader | None,
        log: PredictionLog,
        metrics: Metrics,
        calling: Callable[[bool], None],
        clock: Clock,
        replay_clock: bool,
        limits: Limits,
        new_id: Callable[[], str],
        lazy: bool,
    ) -> None:
        self.model, self.log, self.metrics = model, log, metrics.model(model)
        self._sticky, self._reader, self._loader = sticky, reader, loader
        self._reads = frozenset((*service.entities(), *service.request)) if service else frozenset()
        self._unread = tuple(name for name in sorted(self._reads) if service and name not in service.columns())
        self._deployments, self._clock, self._replay_clock, self.new_id = deployments, clock, replay_clock, new_id
        self._limits, self._lazy = limits, lazy
        self._loading = threading.Lock()
        self._recent = Recent()
        self._active: Active | None = None
        self._extras: dict[int, Active] = {}
        self._wanted = 0
        self.used = monotonic()
        self._finish = Finish(
            model,
            log=log,
            metrics=self.metrics,
            recent=self._recent,
            shadow=self._copy,
            holdout=0.0 if lazy else limits.holdout,
        )
        left_out = self.metrics.left_out.add
        self._shadow = Shadow[Waiting](
            model,
            call=partial(calls.copied, new_id=new_id),
            done=self._finish.copied,
            left_out=left_out,
            most_rows=limits.call_rows,
        )
        self._queue = Queue(
            model,
            call=partial(calls.answer, new_id=new_id),
            finish=self._finish,
            most=limits.queue,
            most_rows=limits.call_rows,
            called=calling,
            gone=self.metrics.gone.add,
        )
        self._tensors = TensorCalls(
            log=log,
            metrics=self.metrics,
            most=limits.queue,
            most_copied=limits.call_rows,
            patience=limits.patience,
            called=calling,
        )
        metrics.sampled(self._sample)

    @property
    def active(self) -> Active | None:
        """Tell what answers now."""
        return self._active

    @property
    def follows(self) -> bool:
        """Say whether newer revisions are to be loaded: of the project's own model, and of others that are loaded."""
        return self._active is not None or not self._lazy

    @property
    def wanted(self) -> int:
        """Tell the newest revision that was tried: above the active one where it could not be loaded."""
        return self._wanted

    @property
    def weight(self) -> int:
        """Sum the sizes of what is loaded, in bytes."""
        return self._loader.weight

    @property
    def spare(self) -> bool:
        """Say whether nobody waits for this model and nothing of it is on trial: then it may be unloaded."""
        active, waiting = self._active, self._queue.pending + self._tensors.pending
        return not waiting and (active is None or active.deployment.challenger is None)

    def lacks(self, number: int | None) -> bool:
        """Say whether what answers a question has to be loaded first. The project's own model follows its deployment."""
        active = self._active
        if active is None:
            return self._lazy
        return number is not None and number not in active.versions and number not in self._extras

    def require(self, number: int | None = None) -> Active:
        """Give what answers now, or the version of a number. Raises NothingDeployed; NotFound for one that is not loaded."""
        active = self._active
        if active is None:
            raise NothingDeployed(f"no version of {self.model!r} is deployed yet")
        if number is None or number in active.versions:
            return active
        if (extra := self._extras.get(number)) is not None:
            return extra
        served = ", ".join(map(str, sorted(active.versions)))
        raise NotFound(f"version {number} of {self.model!r} is not served; served are: {served}")

    def refresh(self, *, skip: int | None = None) -> int | None:
        """Have the newest revision loaded and swapped in, and give its number; None where nothing is deployed.

        Raises what loading raises, and what was active stays so. Revision `skip` is not tried.
        """
        with self._loading:
            newest, active = self._deployments.find(self.model), self._active
            if newest is None:
                return None
            if newest.revision != skip and (active is None or active.deployment.revision != newest.revision):
                self._wanted = newest.revision
                self.metrics.revision_wanted.set(newest.revision)
                try:
                    self._active = self._loader.load(newest)
                except KedgeError:
                    self.metrics.load_failures.add()
                    raise
                self.metrics.revision.set(newest.revision)
                self.metrics.trial_share.set(newest.share)
                _log.info("revision %d of %s is active", newest.revision, self.model)
            self._loader.drop(keep=self._needed())
            return newest.revision

    def load(self, number: int) -> Active:
        """Load a version that no deployment names, for those who ask for it by its number. Raises as `refresh` does."""
        with self._loading:
            active = self.require()
            alone = msgspec.structs.replace(active.deployment, champion=number, challenger=None)
            extra = self._loader.load(alone, named=False)
            last = [*self._extras.items()][1 - _EXTRAS :]
            self._extras = {**dict(last), number: extra}
            return extra

    def unload(self, *, all: bool) -> int:
        """Let go of the versions that no revision names, or of `all`; give the bytes that their files had."""
        with self._loading:
            before = self.weight
            self._extras = {}
            if all:
                self._active = None
            self._loader.drop(keep=self._needed(), everything=True)
            return before - self.weight

    async def settled(self, seconds: float) -> bool:
        """Wait until what was copied to a version in shadow is logged, no longer than so many seconds; say whether it is."""
        both = await asyncio.gather(self._shadow.settled(seconds), self._tensors.settled(seconds))
        return all(both)

    def _copy(self, copies: Sequence[Waiting]) -> None:
        self._shadow.put(copies)

    def _sample(self) -> None:
        self.metrics.queue.set(self._queue.pending)
        self.metrics.holds(self._loader.weights, loads=self._loader.loads, unloads=self._loader.unloads)

    def _needed(self) -> set[int]:
        return {*(self._active.versions if self._active else ()), *self._extras}

    def ask(self, question: InferRequest) -> "Pending | asyncio.Task[InferResponse]":
        """Answer a question. Raises RequestInvalid, ModelRefused, NotFound, NothingDeployed, Overloaded."""
        arrived = self.used = monotonic()
        active = self._active
        if active is None or question.version is not None:
            active = self.require(question.version)
        future, exact = Pending(), None
        if question.id is None:
            told = self.new_id()
            name = RequestId(told)
        else:
            told = question.id
            exact, name = self._recent.name(told, question.body or b"", beside=_beside(question))
            if question.version is None and (known := self._recent.find(exact)) is not None:
                self.metrics.repeated.add()
                future.set_result(known)
                return future
        if active.champion.tensors is not None:
            if exact is not None:
                self._recent.claim(exact, told)
            return asyncio.ensure_future(self._ask_tensors(question, active, named=(told, name), exact=exact))
        asked = self._asked(question, active, told=told, name=name, exact=exact, future=future, arrived=arrived)
        self._queue.put(asked)
        if exact is not None:
            self._recent.claim(exact, told)
        return future

    async def _ask_tensors(
        self, question: InferRequest, active: Active, *, named: tuple[str, RequestId], exact: RequestId | None
    ) -> InferResponse:
        deployment, probe = active.deployment, active.beside
        try:
            if question.version is not None or question.variant is not None:
                deployment, probe = _chosen(question, active)
            at = self._time(question)
            answer = await self._tensors.ask(question, active, deployment=deployment, named=named, at=at, probe=probe)
        except KedgeError:
            if exact is not None:
                self._recent.release(exact, named[0])
            raise
        if exact is not None and question.version is None and "logged" not in answer.parameters:
            self._recent.keep(exact, named[0], answer=answer)
        return answer

    def _asked(
        self,
        question: InferRequest,
        active: Active,
        *,
        told: str,
        name: RequestId,
        exact: RequestId | None,
        future: Pending,
        arrived: float,
    ) -> Waiting:
        """Check a question, and complete its rows."""
        deployment, probe = active.deployment, False
        if question.version is not None or question.variant is not None:
            deployment, probe = _chosen(question, active)
        if question.outputs is not None:
            _require_outputs(question.outputs, active)
        rows = active.inputs.rows(question.inputs)
        entities: list[str] = []  # where each row is on its own and nothing is split
        if rows.keys is not None or question.entity is not None or deployment.challenger is not None:
            entities = _entities(name, rows, given=question.entity)
        asked = Waiting(
            question=question,
            active=active,
            deployment=deployment,
            probe=probe,
            told=told,
            name=name,
            exact=exact,
            at=self._time(question) if question.parameters or self._replay_clock else self._clock.now(),
            count=rows.count,
            future=future,
            arrived=arrived,
            deadline=question.deadline or arrived + self._limits.patience,
            matrix=rows.matrix,
            entities=entities,
            notes=NOTES.get(),
        )
        if rows.matrix is None:
            self._complete(asked, rows.columns)
        return asked

    def _time(self, question: InferRequest) -> datetime:
        """Tell the time that a request's answer holds for: now, or in a replay what the request says."""
        at = question.parameters.get("at")
        if not self._replay_clock:
            if at is not None:
                raise RequestInvalid("parameter 'at' is for replays only; this server answers for the present")
            return self._clock.now()
        try:
            time = msgspec.convert(at, datetime)
        except msgspec.ValidationError as error:
            raise RequestInvalid(f"a replay's request says its time in parameter 'at' (ISO 8601): {error}") from error
        if time.tzinfo is None:
            raise RequestInvalid(f"parameter 'at' needs its offset from UTC, such as {time.isoformat()}Z")
        return time.astimezone(UTC)

    def _complete(self, asked: Waiting, columns: Columns) -> None:
        """Look up what the request does not bring."""
        began = monotonic()
        if self._reader is None:
            inputs = asked.active.inputs
            asked.features = {name: columns[name] for name in (*inputs.types, *inputs.optional) if name in columns}
        else:
            read = {name: values for name, values in columns.items() if name in self._reads}
            try:
                served = self._reader.read(read, asked.at)
            except OSError:
                raise  # a store that cannot be read is our fault, not the caller's
            except (*FAILURES, PolarsError) as error:
                raise calls.refused("the feature service failed on these rows", error) from error
            asked.features, asked.as_of = served.features, served.as_of
            asked.inputs = {each: columns[each] for each in self._unread}
        asked.features_seconds = monotonic() - began


def _beside(question: InferRequest) -> bytes:
    """Give what a request says beside its body of who is to answer it; nothing where it says nothing."""
    said = (question.version, question.variant, question.entity)
    return b"" if said == (None, None, None) else repr(said).encode("utf-8", "surrogatepass")


def _chosen(question: InferRequest, active: Active) -> tuple[Deployment, bool]:
    """Take the split away from a request that asks for one version; say whether it is outside the deployment."""
    deployment = active.deployment
    number = question.version
    probe = active.beside or (number is not None and deployment.challenger is not None)
    if question.variant is not None:
        if question.variant not in VARIANTS:
            raise RequestInvalid(f"variant {question.variant!r} is not one of {', '.join(VARIANTS)}")
        number = deployment.champion if question.variant == "champion" else deployment.challenger
        if number is None:
            raise RequestInvalid(f"variant 'challenger': no version of {deployment.model!r} is on trial now")
    return msgspec.structs.replace(deployment, champion=number, challenger=None), probe


def _entities(name: RequestId, rows: ModelRows, *, given: str | None) -> list[str]:
    """Name what each row's traffic is split by."""
    if given is not None:
        return [given] * rows.count
    return split.entities_of(name, rows.keys if rows.keys is not None else [None] * rows.count)


def _require_outputs(wanted: Sequence[Wanted], active: Active) -> None:
    known = _known(active)
    if unknown := {each.name for each in wanted} - known.keys():
        raise RequestInvalid(f"unknown output {', '.join(sorted(unknown))}; there are {', '.join(known)}")


def _known(active: Active) -> dict[str, None]:
    """Name the outputs there are, in order."""
    return dict.fromkeys((active.champion.table.output, "version", "prediction_id"))

"""The answer path: parse, look features up, split the traffic, predict, log, answer. One model, one process.

    body -> columns -> features (online store) -> split (champion, challenger) -> journal -> answer
The event loop's own thread walks it from start to end, so that two requests never interleave: what was answered last
needs no lock. A worker thread would add its hop (0.1 ms beside 1.7 ms for 50 rows of gradient boosting) and win nothing.
Loading happens in another thread, and its result is swapped in by one assignment.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import msgspec
from polars.exceptions import PolarsError

from kedge.domain.features import FeatureService
from kedge.domain.ids import ModelName, RequestId, prediction_id
from kedge.domain.monitoring import PredictionBatch, Value
from kedge.domain.registry import ModelVersion
from kedge.domain.rollout import Deployment
from kedge.errors import KedgeError, ModelRefused, NotFound, NothingDeployed, RequestInvalid
from kedge.features.online import Served
from kedge.ports import Clock, Deployments, Journal, Models
from kedge.rollout import split
from kedge.serving.inputs import Columns
from kedge.serving.loader import Active, RevisionLoader, Verifier
from kedge.serving.log import PredictionLog
from kedge.serving.metrics import STAGES, Metrics
from kedge.serving.protocol import Output, Request, Response, encode, read_request
from kedge.serving.recent import Recent

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger("kedge.serving")


class Scorer(Protocol):
    """The part of the evaluation room that answers rows."""

    def score(self, model: ModelVersion, columns: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """Answer columns with a version: float64 (n,)."""
        ...


class Reader(Protocol):
    """The part of the features room that completes a request's columns."""

    def read(self, columns: Columns, at: datetime) -> Served:
        """Look features up as of a time and derive what the service derives."""
        ...


class Plane:
    """Answers for one model: holds what is active, follows its deployment, logs what it answers."""

    def __init__(
        self,
        *,
        model: ModelName,
        service: FeatureService,
        sticky: str,
        deployments: Deployments,
        models: Models,
        registry: Verifier,
        reader: Reader,
        evaluation: Scorer,
        journal: Journal,
        clock: Clock,
        replay_clock: bool = False,
        metrics: Metrics | None = None,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self.model, self.metrics, self.log = model, metrics or Metrics(), PredictionLog(journal)
        self.counts = self.metrics.model(model)
        self.metrics.sampled(self._sample)
        self.metrics.watch_log(self.log)
        self._sticky, self._reads = sticky, frozenset((*service.entities(), *service.request))
        self._unread = tuple(name for name in sorted(self._reads) if name not in service.columns())
        self._service, self._reader, self._evaluation = service.name, reader, evaluation
        self._deployments, self._clock, self._replay_clock, self.new_id = deployments, clock, replay_clock, new_id
        self._loader = RevisionLoader(models=models, registry=registry, service=service, sticky=sticky)
        self._loading = threading.Lock()
        self._recent = Recent()
        self._active: Active | None = None
        self._wanted = 0

    @property
    def active(self) -> Active | None:
        """Tell what answers now."""
        return self._active

    @property
    def wanted(self) -> int:
        """Tell the newest revision that was tried: above the active one where it could not be loaded."""
        return self._wanted

    def require(self, number: int | None = None) -> Active:
        """Give what answers now. Raises NothingDeployed; NotFound where a version asked for by number is not loaded."""
        active = self._active
        if active is None:
            raise NothingDeployed(f"no version of {self.model!r} is deployed yet")
        if number is not None and number not in active.versions:
            served = ", ".join(map(str, sorted(active.versions)))
            raise NotFound(f"version {number} of {self.model!r} is not served; served are: {served}")
        return active

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
                try:
                    self._active = self._loader.load(newest)
                except KedgeError:
                    self.counts.load_failures.add()
                    raise
                self.counts.loads.add()
                _log.info("revision %d of %s is active", newest.revision, self.model)
            return newest.revision

    def infer(self, body: bytes, number: int | None = None) -> bytes:
        """Answer one request's body. A request that names a version while another is on trial is outside the split: it
        is answered, not logged, and says so. Raises RequestInvalid, ModelRefused, NotFound, NothingDeployed."""
        active = self.require(number)
        times = _Stages()
        request = read_request(body)
        told = request.id or self.new_id()
        exact, name = self._recent.name(told, body)
        if request.id and number is None and (known := self._recent.find(exact)) is not None:
            self.counts.repeated.add()
            return known
        deployment = active.deployment
        probe = number is not None and deployment.challenger is not None
        if probe:
            deployment = msgspec.structs.replace(deployment, champion=number, challenger=None)
        batch = self._answer(name, request, active=active, deployment=deployment, times=times)
        logged = not probe and self.log.append(batch)
        times.end("log")
        answer = encode(self._render(told, request, active=active, batch=batch, logged=logged))
        times.end("serialize")
        if request.id and number is None and logged:
            self._recent.keep(exact, told, answer=answer)
        self._count(deployment, batch, times=times)
        return answer

    def _answer(
        self, name: RequestId, request: Request, *, active: Active, deployment: Deployment, times: "_Stages"
    ) -> PredictionBatch:
        """Walk from a request to the record of its answer."""
        at = self._time(request)
        columns = active.inputs.columns(request.inputs)
        wanted = {each.name for each in request.outputs or ()}
        if unknown := wanted - _outputs(active).keys():
            raise RequestInvalid(f"unknown output {', '.join(sorted(unknown))}; there are {', '.join(_outputs(active))}")
        entities = self._entities(name, columns)
        times.end("parse")
        served = self._look_up(columns, at)
        times.end("features")
        answers = self._split(deployment, active.versions, features=served.features, entities=entities)
        times.end("predict")
        return PredictionBatch(
            request=name,
            model=self.model,
            at=at,
            revision=deployment.revision,
            service=self._service,
            entities=entities,
            versions=answers.versions,
            features=served.features,
            as_of=served.as_of,
            outputs=answers.outputs,
            batches=answers.batches,
            shadow=answers.shadow,
            errors=answers.errors,
            seconds=times.seconds.copy(),
            inputs={each: columns[each] for each in self._unread},
        )

    def _time(self, request: Request) -> datetime:
        """Tell the time that a request's answer holds for: now, or in a replay what the request says."""
        at = (request.parameters or {}).get("at")
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

    def _entities(self, name: RequestId, columns: Columns) -> list[str]:
        """Name what each row's traffic is split by: the sticky column's value, or the prediction where it has none."""
        rows = len(next(iter(columns.values())))
        return split.entities_of(name, columns[self._sticky] if self._sticky else [None] * rows)

    def _look_up(self, columns: Columns, at: datetime) -> Served:
        read = {name: values for name, values in columns.items() if name in self._reads}
        try:
            return self._reader.read(read, at)
        except OSError:
            raise  # a store that cannot be read is our fault, not the caller's
        except (*split.FAILURES, PolarsError) as error:
            raise _refused("the feature service failed on these rows", error) from error

    def _split(
        self,
        deployment: Deployment,
        versions: Mapping[int, ModelVersion],
        *,
        features: Mapping[str, list[Value]],
        entities: list[str],
    ) -> split.Answer:
        try:
            answers = split.answer(
                deployment,
                features,
                entities=entities,
                score=lambda version, rows: self._evaluation.score(versions[version], rows),
            )
        except split.FAILURES as error:
            raise _refused("the model failed on these rows", error) from error
        if not all(map(isfinite, answers.outputs)):
            row = next(row for row, output in enumerate(answers.outputs) if not isfinite(output))
            raise ModelRefused(f"the model's answer to row {row} is not a finite number")
        return answers

    def _render(self, told: str, request: Request, *, active: Active, batch: PredictionBatch, logged: bool) -> Response:
        """Write an answer. `model_version` is that of all rows where they share one, else the champion's."""
        rows = [len(batch.outputs)]
        tensors: dict[str, tuple[str, list[Any]]] = {
            active.champion.signature.output: ("FP64", batch.outputs),
            "version": ("INT64", batch.versions),
        }
        asked = [each.name for each in request.outputs or ()]
        if "prediction_id" in asked:
            tensors["prediction_id"] = ("BYTES", [prediction_id(batch.request, row) for row in range(rows[0])])
        versions = set(batch.versions)
        parameters: dict[str, Any] = {"revision": batch.revision}
        if not logged:
            parameters["logged"] = False
        if batch.request != told:
            parameters["request"] = batch.request
        return Response(
            model_name=self.model,
            model_version=str(versions.pop() if len(versions) == 1 else active.deployment.champion),
            id=told,
            parameters=parameters,
            outputs=[Output(name, tensors[name][0], rows, tensors[name][1]) for name in dict.fromkeys(asked or tensors)],
        )

    def _count(self, deployment: Deployment, batch: PredictionBatch, *, times: "_Stages") -> None:
        roles = {deployment.champion: "champion", deployment.challenger: "challenger"}
        rows = Counter(batch.versions)
        for number, count in rows.items():
            self.counts.version(number, roles[number]).rows.add(count)
        for number, outputs in batch.shadow.items():
            self.counts.version(number, "shadow").rows.add(len(outputs))
        if batch.errors and deployment.challenger is not None:
            self.counts.version(deployment.challenger, "challenger").row_errors.add(len(batch.errors))
        number, role = (next(iter(rows)), "") if len(rows) == 1 else (deployment.champion, "mixed")
        answered = self.counts.version(number, role or roles[number])
        answered.requests[200].add()
        answered.answered(*(times.seconds.get(stage, 0.0) for stage in STAGES[:-1]), times.total)

    def _sample(self) -> None:
        active, counts = self._active, self.counts
        counts.revision.set(active.deployment.revision if active else 0)
        counts.revision_wanted.set(self._wanted)
        counts.trial_share.set(active.deployment.share if active else 0.0)


class _Stages:
    """A stopwatch with laps."""

    __slots__ = ("_first", "_last", "seconds")

    def __init__(self) -> None:
        self._first = self._last = perf_counter()
        self.seconds: dict[str, float] = {}

    @property
    def total(self) -> float:
        return self._last - self._first

    def end(self, stage: str) -> None:
        now = perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now


def _outputs(active: Active) -> dict[str, None]:
    """Name the outputs there are, in order."""
    return dict.fromkeys((active.champion.signature.output, "version", "prediction_id"))


def _refused(message: str, error: BaseException) -> KedgeError:
    """Say what failed; an error that already says what to do is passed on."""
    if isinstance(error, KedgeError):
        return error
    return ModelRefused(f"{message}: {type(error).__name__}: {error}")

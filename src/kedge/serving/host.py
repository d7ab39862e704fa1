"""The models of one process: the project's own with its feature service, and every other deployed model of the store.

The project's model is loaded at the start, another when it is first asked for. Where the models' files together are
larger than may be, those that were used last stay: never let go of is one that is asked now, one that is on trial, and the
project's own.
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

from kedge.domain.features import FeatureService
from kedge.domain.ids import Digest, ModelName
from kedge.domain.predictions import Ack
from kedge.domain.registry import ORIGINAL, Servable
from kedge.errors import ConfigError, KedgeError, ModelRefused, NotFound, NothingDeployed
from kedge.ports import Clock, Deployments
from kedge.rollout.split import sticky_column
from kedge.serving.exposition import exposition
from kedge.serving.kept import log_of
from kedge.serving.loader import RevisionLoader, Shelf, Verifier
from kedge.serving.log import PredictionLog
from kedge.serving.metrics import Metrics
from kedge.serving.pending import Pending
from kedge.serving.pinning import pin_threads
from kedge.serving.plane import DEFAULTS, Limits, Plane, Reader
from kedge.serving.wire.questions import InferRequest, InferResponse, ModelMetadata

if TYPE_CHECKING:
    from kedge.app import House

_log = logging.getLogger("kedge.serving")
_LOOK_SECONDS = 1.0
_REST_SECONDS = 5.0


class Host:
    """Answers for all models of a process. `only` narrows the others to some; the project's own is always there. Where there
    is no project, `model` is "" and all are others."""

    def __init__(
        self,
        *,
        model: ModelName,
        service: FeatureService | None,
        sticky: str,
        reader: Reader | None,
        deployments: Deployments,
        registry: Verifier,
        shelf: Shelf,
        size: Callable[[Servable], int],
        log: PredictionLog,
        clock: Clock,
        metrics: Metrics | None = None,
        limits: Limits = DEFAULTS,
        only: Sequence[str] | None = None,
        replay_clock: bool = False,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self.model, self.log, self.metrics, self.limits = model, log, metrics or Metrics(), limits
        self.metrics.watch_log(log)
        self._deployments, self._registry, self._shelf, self._size = deployments, registry, shelf, size
        self._clock, self._replay_clock, self.new_id = clock, replay_clock, new_id or ids()
        self._only = None if only is None else frozenset(only)
        self._names: tuple[str, ...] = ()
        self._looked = -_LOOK_SECONDS
        self._planes: dict[str, Plane] = {}
        self._loading = threading.Lock()
        self._calls: dict[str, float] = {}
        self._coming: Counter[str] = Counter()
        self._failed: dict[str, tuple[float, str]] = {}
        if model:
            self._planes[model] = self._plane(model, service, sticky=sticky, reader=reader)

    @property
    def planes(self) -> Sequence[Plane]:
        """List the planes that were asked for, the project's own first."""
        return tuple(self._planes.values())

    def ask(self, question: InferRequest) -> "Pending | asyncio.Task[InferResponse]":
        """Answer a question; cancel what is given and it is not computed, unless it is being computed already.

        Raises, at once or when awaited, RequestInvalid, NotFound, NothingDeployed, ModelRefused, Overloaded,
        DeadlineExceeded.
        """
        plane = self._planes.get(question.model)
        if plane is not None:
            try:
                return plane.ask(question)
            except (NothingDeployed, NotFound):
                if not plane.lacks(question.version):
                    raise  # else it is loaded first: nobody has asked for it, or it was let go of
        return asyncio.ensure_future(self._loaded_and_asked(question))

    def models(self) -> Sequence[str]:
        """Name the models that are served, the project's own first."""
        return tuple(dict.fromkeys((*self._planes, *self._others())))

    async def prepare(self, model: str, version: int | None = None) -> None:
        """Have a model loaded that is deployed and was not asked for yet. Raises NotFound, ModelRefused or StoreBroken."""
        plane = self._planes.get(model)
        if plane is None or plane.lacks(version):
            await asyncio.to_thread(self.load, model, version)

    def metadata(self, model: str, version: int | None = None) -> ModelMetadata:
        """Describe a model. Raises NotFound for an unknown model or version, NothingDeployed where none is loaded."""
        return self._known(model).require(version).metadata()

    def ready(self, model: str | None = None, version: int | None = None) -> bool:
        """Tell whether a model can answer now; None: the project's own, or without a project any.

        A deployed model that is loaded when it is first asked for is ready, until that has failed. Raises NotFound for an
        unknown one.
        """
        if model is None:
            return self._planes[self.model].active is not None if self.model else bool(self._others())
        plane = self._planes.get(model)
        if plane is None:
            self._require_known(model)
            return version is None
        if version is None:
            return plane.active is not None or (model != self.model and model not in self._failed)
        plane.require(version)
        return True

    async def refresh(self, model: str) -> int | None:
        """Load the newest revision of a model's deployment now; None where nothing is deployed. Raises KedgeError."""
        return await asyncio.to_thread(self._known(model).refresh)

    def refused(self, model: str, *, status: int) -> None:
        """Count a request that got no answer, with the HTTP status that it got; answers are counted where they are made."""
        (self._planes[model].metrics.unanswered if model in self._planes else self.metrics.nowhere)[status].add()

    async def settled(self, seconds: float) -> bool:
        """Wait until what was copied to versions in shadow is logged, no longer than so many seconds; say whether it is."""
        return all(await asyncio.gather(*(plane.settled(seconds) for plane in self.planes)))

    def exposition(self, accept: str = "") -> tuple[str, bytes]:
        """Write the metrics: content type and body, in the format that an Accept header asks for."""
        return exposition(self.metrics, accept=accept)

    def look(self) -> None:
        """Look once which models are deployed. Raises what the store raises."""
        self._names = tuple(name for name in self._deployments.names() if self._only is None or name in self._only)
        self._looked = monotonic()

    def load(self, model: str, version: int | None = None) -> Plane:
        """Load a model that is deployed, or a version of it. Raises NotFound; NothingDeployed where what is deployed cannot
        be loaded here; for a version ModelRefused or StoreBroken."""
        plane = self._known(model)
        with self._loading:
            if plane.active is None:
                self._activate(plane)
            if version is not None and plane.lacks(version):
                plane.load(version)
            self.trim(spare=plane)
        return plane

    def _activate(self, plane: Plane) -> None:
        """Load a model that nobody asked for before. What failed rests a while, since each try costs as much as a load."""
        until, why = self._failed.get(plane.model, (0.0, ""))
        if monotonic() < until:
            raise NothingDeployed(why)
        try:
            found = plane.refresh()
        except (KedgeError, OSError) as error:
            told = f": {error}" if isinstance(error, ConfigError | ModelRefused) else "; the log of the server says why"
            why = f"model {plane.model!r} is deployed, but cannot be loaded here{told}"
            self._failed[plane.model] = (monotonic() + _REST_SECONDS, why)
            _log.error("model %s is deployed, but cannot be loaded here: %s", plane.model, error)
            raise NothingDeployed(why) from error
        self._failed.pop(plane.model, None)
        if found is None:
            raise NothingDeployed(f"no version of {plane.model!r} is deployed yet")

    def trim(self, *, spare: Plane | None = None) -> None:
        """Let go of what was used longest ago, until the models' files are no larger than they may be."""
        most = self.limits.models_bytes
        if most is None or (over := self._weight() - most) <= 0:
            return
        kept = {plane for plane in self._planes.values() if plane is spare or self._coming[plane.model]}
        for plane in sorted(self._planes.values(), key=lambda each: each.used):
            if over > 0:
                over -= plane.unload(all=False) if plane not in kept else 0
        for plane in sorted(self._planes.values(), key=lambda each: each.used):
            if over > 0 and plane.spare and plane not in kept and plane.model != self.model:
                over -= plane.unload(all=True)
                _log.info("model %s is unloaded: others were used since", plane.model)
        if over > 0:
            _log.warning("the loaded models are %d bytes larger than they should be, and all of them are needed", over)

    async def _loaded_and_asked(self, question: InferRequest) -> InferResponse:
        model = question.model
        self._coming[model] += 1  # what is loaded for a question stays until that is asked
        try:
            plane = await asyncio.to_thread(self.load, model, question.version)
            asked = plane.ask(question)
        finally:
            self._coming[model] -= 1
            if not self._coming[model]:
                del self._coming[model]  # the name may be the caller's invention
        return await asked

    def _weight(self) -> int:
        return sum(plane.weight for plane in self._planes.values())

    def _known(self, model: str) -> Plane:
        """Give the plane of a model, made where it is deployed. Raises NotFound."""
        if (plane := self._planes.get(model)) is not None:
            return plane
        self._require_known(model)
        return self._planes.setdefault(model, self._plane(ModelName(model), None, sticky="", reader=None))

    def _require_known(self, model: str) -> None:
        if model not in self._others():
            served = f"served are: {', '.join(self.models())}" if self.models() else "no model is deployed yet"
            raise NotFound(f"model {model!r} is not served here; {served}")

    def _others(self) -> Sequence[str]:
        if monotonic() - self._looked > _LOOK_SECONDS:
            self.look()
        return self._names

    def _plane(self, model: ModelName, service: FeatureService | None, *, sticky: str, reader: Reader | None) -> Plane:
        loader = RevisionLoader(
            registry=self._registry,
            shelf=self._shelf,
            size=self._size,
            service=service,
            sticky=sticky,
            bake_seconds=self.limits.bake_seconds,
        )
        return Plane(
            model=model,
            service=service,
            sticky=sticky,
            deployments=self._deployments,
            loader=loader,
            reader=reader,
            log=self.log,
            metrics=self.metrics,
            calling=lambda under_way: self._calling(model, under_way),
            clock=self._clock,
            replay_clock=self._replay_clock,
            limits=self.limits,
            new_id=self.new_id,
            lazy=model != self.model,
        )

    def _calling(self, model: str, under_way: bool) -> None:
        """Note since when a model's thread is busy: whoever watches this process sees one that never comes back."""
        if under_way:
            self._calls[model] = monotonic()
        else:
            self._calls.pop(model, None)
        self.metrics.segment.called = min(self._calls.values(), default=0.0)


def ids() -> Callable[[], str]:
    """Make a maker of request ids: 64 random bits of this process, and a count."""
    process, number = uuid4().hex[:16], count(1)
    return lambda: f"{process}-{next(number):x}"


def host_of(
    house: "House",
    *,
    replay_clock: bool = False,
    metrics: Metrics | None = None,
    limits: Limits = DEFAULTS,
    only: Sequence[str] | None = None,
    ack: Ack | None = None,
) -> Host:
    """Make the host of a house: its project's model first. `ack` is what answers wait for, else what the project says."""
    pin_threads(1)  # in the processes of `kedge serve` it was done before numpy was imported
    spec = house.spec
    service = house.features.service(spec) if spec.features.service else None
    sticky = sticky_column(spec, service) if service else spec.rollout.sticky
    blobs = house.blobs
    return Host(
        model=spec.name if spec.data.source else ModelName(""),
        service=service,
        sticky=sticky,
        reader=house.features.reader(service) if service else None,
        deployments=house.meta.deployments,
        registry=house.registry,
        shelf=house.loader,
        size=lambda servable: sum(file.size for file in blobs.files(_digest(servable))),
        log=log_of(house, sticky, ack=ack),
        clock=house.clock,
        metrics=metrics,
        limits=limits,
        only=only,
        replay_clock=replay_clock,
    )


def _digest(servable: Servable) -> Digest:
    """Name the files of what answers: the compiled form's where there is one."""
    parity = servable.parity
    return servable.digest if servable.form == ORIGINAL or parity is None or parity.digest is None else parity.digest

"""What is loaded for one revision of a deployment, and how it gets there: load, verify, warm, and only then swap.

Verification is by content: the blob store checks every byte of a version against its digest, and the version must give
its registered answers on its registered example rows, which also warms it. Whatever fails, the caller keeps what it has.
What a revision no longer names stays loaded until its bake ends, so that going back is a swap.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from threading import Lock
from time import monotonic, perf_counter
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from kedge.domain.evaluation import Task
from kedge.domain.features import FeatureService
from kedge.domain.ids import ModelName
from kedge.domain.registry import ORIGINAL, Servable, Signature
from kedge.domain.rollout import Deployment, Strategy
from kedge.errors import FAILURES, ModelRefused, NotFound, StoreBroken
from kedge.evaluation.load import answers_of, predicted
from kedge.features.encode import encode
from kedge.ports import Predictor, TensorPredictor
from kedge.serving.inputs import MOST_ROWS, Inputs
from kedge.serving.wire.questions import ModelMetadata, TensorMetadata

Numbers = NDArray[np.float64]

_log = logging.getLogger("kedge.serving")
_TIMED_ROWS = 64
INLINE_SECONDS = 0.005


class Verifier(Protocol):
    """The part of the registry room that says what a version is, and checks it against its registered answers."""

    def servable(self, model: ModelName, number: int) -> Servable:
        """Give what is needed to serve a version. Raises NotFound or ModelRefused."""
        ...

    def verify(self, version: Servable) -> None:
        """Load a version and answer its example rows. Raises ModelRefused or StoreBroken."""
        ...


class Shelf(Protocol):
    """What loads models."""

    def take(self, model: Servable) -> Predictor:
        """Give the loaded model, which was verified a moment ago, and keep it no longer. Raises ModelRefused."""
        ...

    def take_tensors(self, model: Servable) -> TensorPredictor:
        """The same for a model of named arrays. Raises ModelRefused or StoreBroken."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A version that can answer. A call on n rows takes about `call_seconds` + n * `row_seconds`, measured when it was
    warm; `weight` is the size of its files in bytes. `tensors` answers where it is a model of named arrays."""

    servable: Servable
    predictor: Predictor
    weight: int
    call_seconds: float
    row_seconds: float
    tensors: TensorPredictor | None = None
    one_call: Lock = field(default_factory=Lock, compare=False, repr=False)
    """Held during a call: a version in shadow has a thread of its own, and a tester may ask it from another."""

    def answer(self, matrix: Numbers) -> Numbers:
        """Answer a matrix (n, inputs) with float64 (n,). ModelRefused where the model gives another shape."""
        # one memory layout for all callers: sums in another order would differ in their last bits
        if not matrix.flags.c_contiguous:
            matrix = np.ascontiguousarray(matrix)
        with self.one_call:
            answers = predicted(self.predictor, matrix)
        if answers.shape != (len(matrix),):
            raise ModelRefused(
                f"version {self.servable.number} gave shape {answers.shape} for {len(matrix)} rows, not one answer a row"
            )
        return answers

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer named arrays. ModelRefused where the answers are not what the signature says."""
        if self.tensors is None:
            raise ModelRefused("this model answers tables, not tensors")
        with self.one_call:
            return answers_of(self.tensors, self.servable, inputs=inputs)

    def seconds(self, rows: int) -> float:
        """Tell how long a call on so many rows should take."""
        return self.call_seconds + rows * self.row_seconds

    def encoded(self, columns: Mapping[str, Any]) -> Numbers:
        """Encode columns as this version reads them. Raises RequestInvalid."""
        return encode(self.servable.table, columns)


def _rows_within(named: Sequence[Loaded]) -> int:
    """Tell on how many rows calls of all these versions take no longer than `INLINE_SECONDS` together."""
    left = INLINE_SECONDS - sum(each.call_seconds for each in named)
    row = sum(each.row_seconds for each in named)
    return 0 if left < 0 else MOST_ROWS if row * MOST_ROWS <= left else int(left / row)


@dataclass(frozen=True)
class Active:
    """One revision ready to answer. Never changed: a new revision is a new value, and the swap is one assignment."""

    deployment: Deployment
    versions: Mapping[int, Loaded]
    inputs: Inputs
    service: str
    roles: dict[int, str]
    forms: dict[int, str]
    usual: tuple[str, ...]
    """The outputs of a request that names none."""
    parameters: dict[str, Any]
    """What every answer says of where it comes from."""
    beside: bool = False
    """Whether it is a version that somebody asks for beside what is deployed."""

    @cached_property
    def champion(self) -> Servable:
        """The version that answers all but the share on trial."""
        return self.versions[self.deployment.champion].servable

    @cached_property
    def inline_rows(self) -> int:
        """How many rows a call may have that holds the event loop: for no longer than `INLINE_SECONDS`, its trial's call
        included, but for one in shadow."""
        deployment = self.deployment
        beside = {deployment.challenger} if deployment.strategy is Strategy.SHADOW else set()
        return _rows_within([self.versions[number] for number in self.roles if number not in beside])

    @cached_property
    def copied_rows(self) -> int:
        """How many rows one call of a version in shadow may have: a call may hold the interpreter, and with it the loop."""
        challenger = self.deployment.challenger
        return 0 if challenger is None else _rows_within([self.versions[challenger]])

    def metadata(self) -> ModelMetadata:
        """Describe the model as the protocol does."""
        if (tensors := self.champion.tensors) is not None:
            own = tuple(TensorMetadata(spec.name, spec.datatype, spec.shape, labels=spec.labels) for spec in tensors.outputs)
            rows = (-1,) if tensors.batched else (1,)
            added = (TensorMetadata("version", "INT64", rows), TensorMetadata("prediction_id", "BYTES", rows))
            return ModelMetadata(
                name=self.deployment.model,
                versions=tuple(str(number) for number in sorted(self.versions)),
                platform=f"kedge_{self.champion.format}",
                inputs=tuple(TensorMetadata(spec.name, spec.datatype, spec.shape) for spec in tensors.inputs),
                outputs=(*own, *(each for each in added if each.name not in {spec.name for spec in tensors.outputs})),
            )
        return ModelMetadata(
            name=self.deployment.model,
            versions=tuple(str(number) for number in sorted(self.versions)),
            platform=f"kedge_{self.champion.format}",
            inputs=self.inputs.metadata(),
            outputs=(
                TensorMetadata(self.champion.table.output, "FP64", (-1,)),
                TensorMetadata("version", "INT64", (-1,)),
                TensorMetadata("prediction_id", "BYTES", (-1,)),
            ),
        )


class RevisionLoader:
    """Makes a revision ready: champion and challenger loaded, verified and warm. One thread at a time. `loads` and `unloads`
    count the versions that were loaded and let go of.

    Without a service, a request brings what the champion reads, and may bring what the version on trial reads beside it: a
    trial changes nothing for callers, and where it lacks something it fails on those rows. `bake_seconds` is how long a
    version stays loaded after the last revision that named it.
    """

    def __init__(
        self,
        *,
        registry: Verifier,
        shelf: Shelf,
        size: Callable[[Servable], int],
        service: FeatureService | None,
        sticky: str,
        bake_seconds: float,
    ) -> None:
        self._registry, self._shelf, self._size = registry, shelf, size
        self._service, self._sticky, self._bake = service, sticky, bake_seconds
        self._ready: dict[int, Loaded] = {}
        self._left: dict[int, float] = {}
        self.loads = self.unloads = 0

    @property
    def weights(self) -> dict[int, int]:
        """Tell which versions are loaded, and the weight of each in bytes."""
        return {number: each.weight for number, each in self._ready.copy().items()}

    @property
    def weight(self) -> int:
        """Sum the weights of what is loaded, in bytes."""
        return sum(self.weights.values())

    def load(self, deployment: Deployment, *, named: bool = True) -> Active:
        """Load a revision, or (not `named`) a version that somebody asks for beside it. Raises NotFound, StoreBroken or
        ModelRefused, and what was loaded before is kept."""
        own = self.version(deployment.model, deployment.champion)
        champion, versions = own.servable, {deployment.champion: own}
        if champion.tensors is None and self._service is not None:
            _require_service(champion, self._service)
        if (challenger := deployment.challenger) is not None:
            versions[challenger] = self._on_trial(deployment.model, challenger, beside=champion)
        if champion.tensors is not None:
            return self._of_tensors(deployment, versions, named=named)
        service = self._service or _plain(champion)
        trial = None if challenger is None else versions[challenger].servable.table
        inputs = Inputs(service, self._sticky, signature=champion.table, required=champion.required, trial=trial)
        if named:
            self._leave([*versions])
        usual = (versions[deployment.champion].servable.table.output, "version")
        told = {"revision": deployment.revision}
        return Active(
            deployment, versions, inputs, service.name, _roles(deployment), _forms(versions), usual, told, not named
        )

    def _of_tensors(self, deployment: Deployment, versions: Mapping[int, Loaded], *, named: bool) -> Active:
        """Make a revision of a model of named arrays ready."""
        if named:
            self._leave([*versions])
        told = {"revision": deployment.revision}
        return Active(deployment, versions, _NO_INPUTS, "", _roles(deployment), {}, (), told, not named)

    def version(self, model: ModelName, number: int) -> Loaded:
        """Give one version, loaded, verified and warm. Raises NotFound, StoreBroken or ModelRefused."""
        if (known := self._ready.get(number)) is not None:
            return known
        servable = self._registry.servable(model, number)
        self._registry.verify(servable)
        if servable.tensors is None:
            loaded = _timed(servable, self._shelf.take(servable), weight=self._size(servable))
        else:
            opened = self._shelf.take_tensors(servable)
            loaded = Loaded(servable, _NoTable(), self._size(servable), 1.0, 1.0, tensors=opened)
        self._ready[number] = loaded
        self.loads += 1
        self._left[number] = monotonic()
        return loaded

    def _on_trial(self, model: ModelName, number: int, *, beside: Servable) -> Loaded:
        """Give the version on trial. One that cannot be loaded fails on its rows, as one that loads and then fails would:
        the champion answers them, and whoever judges the trial sees why."""
        try:
            loaded = self.version(model, number)
            _require_alike(loaded.servable, beside)
            if beside.tensors is None and self._service is not None:
                _require_service(loaded.servable, self._service)
        except (ModelRefused, NotFound, StoreBroken) as error:
            _log.error("version %d of %s, which is on trial, cannot be loaded: %s", number, model, error)
            broken = _Unloadable(f"it could not be loaded: {error}")
            return Loaded(msgspec.structs.replace(beside, number=number), broken, 0, 0.0, 0.0, tensors=broken)
        return loaded

    def drop(self, *, keep: set[int], everything: bool = False) -> None:
        """Let go of the versions whose bake has ended, or of all that are not to be kept."""
        now = monotonic()
        for number in [*self._ready]:
            if number not in keep and (everything or now - self._left.get(number, now) > self._bake):
                del self._ready[number]
                self.unloads += 1

    def _leave(self, numbers: list[int]) -> None:
        """Note since when versions are not named any more."""
        for number in self._ready:
            if number in numbers:
                self._left[number] = inf
            elif self._left.get(number) == inf:
                self._left[number] = monotonic()


class _Unloadable:
    """What stands for the predictor of a version on trial that could not be loaded."""

    def __init__(self, why: str) -> None:
        self._why = why

    def predict(self, matrix: Numbers) -> Numbers:
        raise ModelRefused(self._why)

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        raise ModelRefused(self._why)


class _NoTable:
    """What stands for the predictor of a model of named arrays, which `Loaded.run` answers with."""

    def predict(self, matrix: Numbers) -> Numbers:
        raise ModelRefused("this model answers tensors, not tables")


_NO_INPUTS = Inputs(
    FeatureService(name=""), "", signature=Signature(inputs=(), task=Task.REGRESSION, output="")
)  # a model of named arrays checks its own


def _roles(deployment: Deployment) -> dict[int, str]:
    """Say as what each version answers."""
    roles = {deployment.champion: "champion"}
    return roles if deployment.challenger is None else {**roles, deployment.challenger: "challenger"}


def _forms(versions: Mapping[int, Loaded]) -> dict[int, str]:
    """Say in which form each version answers, where that is not the original."""
    return {n: each.servable.form for n, each in versions.items() if each.servable.form != ORIGINAL}


def _timed(servable: Servable, predictor: Predictor, *, weight: int) -> Loaded:
    """Measure what a call costs: of one row, and of many. A model that fails on zeros counts as slow."""
    width = len(servable.table.inputs)
    try:
        one, many = (_least(predictor, np.zeros((rows, width))) for rows in (1, _TIMED_ROWS))
    except FAILURES:
        one = many = 1.0
    row = max(0.0, many - one) / (_TIMED_ROWS - 1)
    _log.info(
        "version %d of %s is loaded: about %.0f us a call and %.2f us a row",
        servable.number,
        servable.model,
        one * 1e6,
        row * 1e6,
    )
    return Loaded(servable, predictor, weight, one, row)


def _least(predictor: Predictor, matrix: Numbers, *, times: int = 3) -> float:
    best = inf
    for _ in range(times):
        begun = perf_counter()
        predicted(predictor, matrix)
        best = min(best, perf_counter() - begun)
    return best


def _plain(champion: Servable) -> FeatureService:
    """Make the service of a model that has none: a request brings what the champion reads."""
    return FeatureService(name=champion.model, request=tuple(column.name for column in champion.table.inputs))


def _require_alike(servable: Servable, champion: Servable) -> None:
    """Check that a version on trial can take the champion's requests. Raises ModelRefused."""
    if (servable.tensors and servable.tensors.inputs) != (champion.tensors and champion.tensors.inputs):
        raise ModelRefused(
            f"the versions of {champion.model!r} that are to be served together do not take the same inputs; deploy"
            " the new one under a name of its own"
        )


def _require_service(servable: Servable, service: FeatureService) -> None:
    given = set(service.columns())
    if missing := [column.name for column in servable.table.inputs if column.name not in given]:
        raise ModelRefused(
            f"version {servable.number} of {servable.model!r} reads {', '.join(missing)}, which the feature service"
            f" {service.name!r} of this project does not give; start the server with the code that trained it"
        )

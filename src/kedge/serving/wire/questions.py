"""What passes between the doors and the engine: a question in, an answer out, whatever wire they came over.

    door (HTTP, gRPC)  --InferRequest-->  ServingHost  --InferResponse-->  door
A caller that goes away cancels the `await` of its question; what is cancelled need not be computed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from kedge.errors import RequestInvalid

OURS = ("version", "prediction_id")
"""The outputs that Kedge itself can add to a model's own: which version answered a row, and the row's prediction id."""


class Tensor(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One named tensor of a question or an answer.

    `data` has the shape `shape`, C order, and the datatype's dtype (`datatypes.DTYPES`); where it came in binary it is a
    read-only view of the request's bytes. BYTES is an object array of `str` (from JSON) or `bytes` (binary, gRPC). JSON's
    null is NaN in a float; elsewhere `missing` is True there (bool, same shape) and `data` holds zero, for BYTES None.
    `bounded` says of FP64 that no element is an infinity: they were read from JSON, which has none.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    bounded: bool = False

    def text(self) -> NDArray[np.object_]:
        """Give a BYTES tensor's elements as `str` (None where missing). Raises RequestInvalid where one is not UTF-8."""
        out = np.empty(self.data.size, object)
        for place, each in enumerate(self.data.reshape(-1)):
            try:
                out[place] = each.decode() if isinstance(each, bytes) else each
            except UnicodeDecodeError as error:
                raise RequestInvalid(f"input {self.name!r} (BYTES): element {place} is not UTF-8 text: {error}") from error
        return out.reshape(self.shape)


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """An output that the caller asks for by name; `binary` is how a door renders it, and nothing else."""

    name: str
    binary: bool = False


class InferRequest(msgspec.Struct, frozen=True, kw_only=True, eq=False, gc=False):
    """What a caller asks of one model.

    `version` is None for what is deployed; `outputs` None for the usual ones. `deadline` is in seconds of
    `time.monotonic()`: after it nobody waits. `variant` ("champion", "challenger") and `entity` (what the traffic is split
    by) are a tester's override. `body` is what came over the wire where the caller gave an id: the same id with the same
    body is the same question. `received` is when a door began to read it (seconds of `time.monotonic()`; 0: not known).
    `alone` says that no other caller is connected: there is nobody to be answered together with.
    """

    model: str
    inputs: Sequence[Tensor]
    version: int | None = None
    id: str | None = None
    parameters: Mapping[str, Any] = {}
    outputs: Sequence[Wanted] | None = None
    deadline: float | None = None
    variant: str | None = None
    entity: str | None = None
    body: bytes | None = None
    received: float = 0.0
    alone: bool = False


class InferResponse(msgspec.Struct, frozen=True, kw_only=True, eq=False, gc=False):
    """What a model answers: `id` is the caller's where it gave one, `outputs` in the order that was asked for.

    `serialized` is to be told how many seconds a door took to write it.
    """

    model: str
    version: str
    id: str
    outputs: Sequence[Tensor]
    parameters: Mapping[str, Any] = {}
    serialized: Callable[[float], None] | None = None


class TensorMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input or output as a model declares it; -1 is an axis of any length. An `optional` input may be left out. `labels`
    name the places along an output's last axis, such as the classes of probabilities."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    labels: tuple[str, ...] = ()


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a model is, as the protocol tells it."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class ServingHost(Protocol):
    """What both doors ask, and all that they ask."""

    def ask(self, question: InferRequest) -> Awaitable[InferResponse]:
        """Answer a question; cancelled, it need not be computed. Raises, at once or when awaited, RequestInvalid, NotFound,
        ModelRefused, Overloaded, DeadlineExceeded."""
        ...

    def models(self) -> Sequence[str]:
        """Name the models that are served, the project's own first."""
        ...

    async def prepare(self, model: str, version: int | None = None) -> None:
        """Have a model loaded that is loaded when it is first asked for. Raises NotFound, ModelRefused, StoreBroken."""
        ...

    def metadata(self, model: str, version: int | None = None) -> ModelMetadata:
        """Describe a model. Raises NotFound for an unknown model or version, NothingDeployed where none is loaded."""
        ...

    def ready(self, model: str | None = None, version: int | None = None) -> bool:
        """Tell whether a model (None: all that are to be served) can answer now. Raises NotFound for an unknown one."""
        ...

    async def refresh(self, model: str) -> int | None:
        """Load the newest revision of a model's deployment now; None where nothing is deployed. Raises KedgeError."""
        ...

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Write the metrics, in the format that an Accept header asks for: content type and body."""
        ...

    def refused(self, model: str, *, status: int) -> None:
        """Count a request for answers that got none, with the HTTP status that it got or, over gRPC, would have."""
        ...

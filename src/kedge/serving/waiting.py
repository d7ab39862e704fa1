"""One request on its way through the engine: what it asks, where it stands, what has become of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kedge.domain.ids import RequestId
from kedge.domain.monitoring import Value
from kedge.domain.rollout import Deployment
from kedge.domain.stencils import Loggable
from kedge.errors import KedgeError
from kedge.serving.loader import Active
from kedge.serving.pending import Pending
from kedge.serving.tracing import RequestNotes
from kedge.serving.wire.questions import InferRequest

Numbers = NDArray[np.float64]


class Waiting(msgspec.Struct, kw_only=True, eq=False):
    """A request that was checked and waits, and then its answers.

    `told` is the id that the caller sees, `name` that of the log, `exact` the id with its body where the caller gave one.
    `deployment` is what splits it: that of `active`, or one version alone for a request that asks for it; then `probe`.
    `matrix` holds its rows where one matrix serves all versions, `features` its columns else. `arrived`, `deadline`,
    `began` (the first call that had a row of it) are seconds of `monotonic`.
    """

    question: InferRequest
    active: Active
    deployment: Deployment
    probe: bool
    told: str
    name: RequestId
    exact: RequestId | None
    at: datetime
    count: int
    future: Pending
    arrived: float
    deadline: float
    matrix: Numbers | None = None
    features: dict[str, list[Value]] = {}
    inputs: dict[str, list[Value]] = {}
    as_of: dict[str, list[datetime | None]] = {}
    entities: list[str] = []
    features_seconds: float = 0.0
    notes: RequestNotes | None = None
    """Where it is noted what it took, for a tracing system; None where nobody asks."""

    # what has become of it
    error: KedgeError | None = None
    version: int | None = None
    """The version that answered all rows; None where `versions` says it row by row."""
    versions: list[int] = []
    outputs: Any = None
    batches: list[tuple[int, list[int]]] = []
    """The runs of rows that went through a version in one call, but for that of `version`."""
    shadow: dict[int, list[float]] = {}
    errors: dict[int, str] = {}
    began: float = 0.0
    predict_seconds: float = 0.0
    """What the calls took that its answer had to wait for."""
    trial_seconds: float | None = None
    """What the challenger's own call took, of these or of a shadow; None where it was not asked."""
    calls: dict[int, tuple[str, int, int]] = {}
    coins: dict[int, float] = {}
    """What is served at random instead of the model's answer, by row."""
    record: Loggable | None = None
    """The record of its answer, where a version in shadow is to answer it, too."""

    def columns(self, rows: list[int] | None) -> Mapping[str, list[Value]]:
        """Take the features of some rows; None for all."""
        if rows is None:
            return self.features
        return {name: [values[row] for row in rows] for name, values in self.features.items()}

"""What the control plane needs of the house: a few rooms behind protocols, so that pages and routes can be read alone.

`app.House` fits it; so does a hand-filled one in a test.
"""

from typing import Any, Protocol

from kedge.domain.ids import ModelName, PredictionId
from kedge.domain.monitoring import TruthBatch
from kedge.domain.project import ProjectSpec
from kedge.ports import Clock, MetaStore


class Lineage(Protocol):
    """Explains predictions."""

    def why(self, prediction: PredictionId) -> Any:
        """Walk from one answer to its sources. Raises NotFound."""
        ...


class Truths(Protocol):
    """Takes ground truth."""

    def record_truth(self, batch: TruthBatch) -> None:
        """Keep facts; the same ids again count once."""
        ...


class Releases(Protocol):
    """Promotes and rolls back by hand."""

    def promote(self, model: ModelName, *, actor: str, reason: str) -> object:
        """Give the version on trial all traffic. Raises Conflict where nothing is on trial."""
        ...

    def abort(self, model: ModelName, *, actor: str, reason: str) -> object:
        """End the trial; the champion answers all again. Raises Conflict where nothing is on trial."""
        ...


class House(Protocol):
    """The rooms that the control plane calls."""

    @property
    def spec(self) -> ProjectSpec: ...
    @property
    def meta(self) -> MetaStore: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def lineage(self) -> Lineage: ...
    @property
    def monitoring(self) -> Truths: ...
    @property
    def rollout(self) -> Releases: ...
    @property
    def evaluation(self) -> Any: ...

"""What the control plane needs of the house: a few rooms behind protocols, so that pages and routes can be read alone.

`app.House` fits it; so does a hand-filled one in a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from kedge.config import Settings
    from kedge.data.catalogue import Catalogue
    from kedge.domain.ids import ModelName, PredictionId
    from kedge.domain.lineage import Explanation, VersionExplanation
    from kedge.domain.monitoring import Profile, TruthBatch
    from kedge.domain.normal import CalledNormal
    from kedge.domain.predictions import TruthReport, TruthStanding
    from kedge.domain.project import ProjectSpec
    from kedge.domain.registry import CatalogVersion, HistoryEntry, Servable
    from kedge.domain.rollout import Deployment
    from kedge.monitoring.telling.desk import AlertDesk
    from kedge.ports import Clock, JobRunner, MetaStore
    from kedge.registry.catalog import Catalog
    from kedge.retraining.asking import RetrainRequests
    from kedge.rollout.hand import ByHand
    from kedge.tracking.artifacts import Artifacts
    from kedge.tracking.logging import Logging
    from kedge.tracking.telling import Telling


class Lineage(Protocol):
    """Explains predictions."""

    def why(self, prediction: PredictionId) -> Explanation:
        """Walk from one answer to its sources. Raises NotFound."""
        ...

    def why_version(self, version: CatalogVersion, history: Sequence[HistoryEntry]) -> VersionExplanation:
        """Walk from a version to its sources."""
        ...


class Normal(Protocol):
    """What a version calls normal."""

    @property
    def profile(self) -> Profile:
        """The profile of its training rows."""
        ...


class KeptReferences(Protocol):
    """Knows what versions call normal."""

    def find(self, model: ModelName, number: int) -> Normal | None:
        """Find what a version calls normal."""
        ...

    def normal(self, model: ModelName, number: int) -> CalledNormal:
        """Say what a version calls normal. Raises NotFound where it has no reference."""
        ...


class Watching(Protocol):
    """Takes ground truth, and knows the shapes of what was seen."""

    def record_truth(self, batch: TruthBatch) -> None:
        """Keep facts; the same ids again count once."""
        ...

    def newest_profile(self, model: ModelName) -> Profile | None:
        """Find the profile of the newest window, in the champion's bins."""
        ...


class Facts(Protocol):
    """Takes ground truth that is to be looked up, and tells how it stands."""

    def tell(
        self,
        model: ModelName | None,
        values: Sequence[float],
        *,
        known_at: datetime,
        predictions: Sequence[str] = (),
        entities: Sequence[str] = (),
        times: Sequence[datetime] = (),
        horizon: timedelta,
        within: timedelta,
    ) -> TruthReport:
        """Record facts that are new."""
        ...

    def standing(self, model: ModelName) -> TruthStanding:
        """Tell how a model's ground truth stands."""


class Servables(Protocol):
    """What of the registry's room the server asks for."""

    def servable(self, model: ModelName, number: int) -> Servable:
        """Give what is needed to serve a version."""
        ...


class Releases(Protocol):
    """Promotes and rolls back by hand."""

    def promote(self, model: ModelName, number: int, *, actor: str, reason: str) -> Deployment:
        """Give a version all traffic, now."""
        ...

    def roll_back(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """End the trial if there is one, else return to the champion before."""
        ...

    def pause(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """Keep a trial on its step."""
        ...

    def resume(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """Let a paused trial go on."""
        ...

    def approve(self, spec: ProjectSpec, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """Let pass what waits for a person."""
        ...

    def abort(self, model: ModelName, *, actor: str, reason: str) -> Deployment:
        """End the trial."""
        ...


class HoldingBack(Protocol):
    """What holds a training back."""

    def held_by(self, spec: ProjectSpec) -> str:
        """Name the limit that holds a training back that was asked for; "" for none."""
        ...


class House(Protocol):
    """The rooms that the control plane calls."""

    @property
    def spec(self) -> ProjectSpec:
        """The project."""
        ...

    @property
    def meta(self) -> MetaStore:
        """The metadata store."""
        ...

    @property
    def retraining(self) -> HoldingBack:
        """What decides on retraining."""
        ...

    @property
    def asking(self) -> RetrainRequests:
        """What asks for a training."""
        ...

    @property
    def logging(self) -> Logging:
        """The logging room: experiments, runs, logged models."""
        ...

    @property
    def telling(self) -> Telling:
        """What takes the records of Kedge's own client."""
        ...

    @property
    def catalog(self) -> Catalog:
        """The registry's catalog: registered models whole."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue of datasets."""
        ...

    @property
    def by_hand(self) -> ByHand:
        """Releases by hand, of any model."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def alert_desk(self) -> AlertDesk:
        """What people do about alerts."""
        ...

    @property
    def lineage(self) -> Lineage:
        """The lineage room."""
        ...

    @property
    def ground_truth(self) -> Facts:
        """Ground truth as it arrives."""
        ...

    @property
    def references(self) -> KeptReferences:
        """What versions call normal."""
        ...

    @property
    def monitoring(self) -> Watching:
        """The monitoring room."""
        ...

    @property
    def registry(self) -> Servables:
        """Say how versions are served."""
        ...

    @property
    def rollout(self) -> Releases:
        """The rollout room."""
        ...

    @property
    def jobs(self) -> JobRunner:
        """Processes for work that needs tables or models."""
        ...

    @property
    def artifacts(self) -> Artifacts:
        """The files of runs and logged models."""
        ...

    @property
    def settings(self) -> Settings:
        """Where this process works."""
        ...

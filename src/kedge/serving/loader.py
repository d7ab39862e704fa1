"""What is loaded for one revision of a deployment, and how it gets there: load, verify, warm, and only then swap.

Verification is by content: the blob store checks every byte of a version against its digest, and the version must give
its registered answers on its registered example rows, which also warms it. Whatever fails, the caller keeps what it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kedge.domain.features import FeatureService
from kedge.domain.ids import ModelName
from kedge.domain.registry import ModelVersion
from kedge.domain.rollout import Deployment
from kedge.errors import ModelRefused, NotFound
from kedge.ports import Models
from kedge.serving.inputs import Inputs


class Verifier(Protocol):
    """The part of the registry room that checks a version against its registered answers."""

    def verify(self, version: ModelVersion) -> None:
        """Load a version and answer its example rows. Raises ModelRefused or StoreBroken."""
        ...


@dataclass(frozen=True)
class Active:
    """One revision ready to answer. Never changed: a new revision is a new value, and the swap is one assignment."""

    deployment: Deployment
    versions: Mapping[int, ModelVersion]
    inputs: Inputs

    @property
    def champion(self) -> ModelVersion:
        """Give the version that answers all but the share on trial."""
        return self.versions[self.deployment.champion]

    def metadata(self) -> dict[str, Any]:
        """Describe the model as the protocol does."""
        return {
            "name": self.deployment.model,
            "versions": [str(number) for number in sorted(self.versions)],
            "platform": f"kedge_{self.champion.format}",
            "inputs": self.inputs.metadata(),
            "outputs": [
                {"name": self.champion.signature.output, "datatype": "FP64", "shape": [-1]},
                {"name": "version", "datatype": "INT64", "shape": [-1]},
                {"name": "prediction_id", "datatype": "BYTES", "shape": [-1]},
            ],
        }


class RevisionLoader:
    """Makes a revision ready: champion and challenger loaded, verified and warm."""

    def __init__(self, *, models: Models, registry: Verifier, service: FeatureService, sticky: str) -> None:
        self._models, self._registry = models, registry
        self._service, self._sticky = service, sticky
        self._ready: dict[int, ModelVersion] = {}

    def load(self, deployment: Deployment) -> Active:
        """Load a revision; what the revision before has loaded is kept. Raises NotFound, StoreBroken or ModelRefused."""
        challenger = deployment.challenger
        numbers = [deployment.champion] if challenger is None else [deployment.champion, challenger]
        self._ready = {number: self._version(deployment.model, number) for number in numbers}
        inputs = Inputs(self._service, self._sticky, signature=self._ready[deployment.champion].signature)
        return Active(deployment, self._ready, inputs)

    def _version(self, model: ModelName, number: int) -> ModelVersion:
        if number in self._ready:
            return self._ready[number]
        version = self._models.find(model, number)
        if version is None:
            raise NotFound(f"model {model!r} has no version {number}, though its deployment names it")
        self._require_service(version)
        self._registry.verify(version)
        return version

    def _require_service(self, version: ModelVersion) -> None:
        given = set(self._service.columns())
        if missing := [column.name for column in version.signature.inputs if column.name not in given]:
            raise ModelRefused(
                f"version {version.number} of {version.model!r} reads {', '.join(missing)}, which the feature service"
                f" {self._service.name!r} of this project does not give; start the server with the code that trained it"
            )

"""The lineage graph: nodes named by kind and id, edges from what was made to what it was made of; and what follows
from it for one answer: its explanation, link by link."""

from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.ids import ModelName, PredictionId


class NodeKind(Enum):
    """What stands in the graph."""

    DATASET_VERSION = "dataset_version"
    RUN = "run"
    MODEL_VERSION = "model_version"
    DEPLOYMENT = "deployment"
    VERDICT = "verdict"
    CODE = "code"
    ENVIRONMENT = "environment"
    PARAMS = "params"


class Node(msgspec.Struct, frozen=True):
    """One thing in the graph: a digest, a run id, `MODEL@NUMBER`, `MODEL#REVISION`."""

    kind: NodeKind
    id: str


class Edge(msgspec.Struct, frozen=True):
    """`made` came from `source`; `role` says as what (training data, candidate, refit ...)."""

    made: Node
    source: Node
    role: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One link of an explanation: what it is, in one sentence, with its digest and the figures behind it.

    `verified` is True where the link was checked and holds, False where it does not, None where it cannot be checked
    here; `check` says what was checked, or why not.
    """

    title: str
    summary: str
    verified: bool | None
    check: str
    digest: str = ""
    facts: dict[str, str | int | float | bool | None] = {}


class VersionExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that stands behind one version of a registered model, from its files back to code and data."""

    model: ModelName
    version: int
    links: tuple[Link, ...]

    @property
    def holds(self) -> bool:
        """Tell whether no link was found broken."""
        return all(link.verified is not False for link in self.links)


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that stands behind one answer, from the answer back to the data.

    `output` is the model's own answer; `served` what the caller got in its place, a coin (None: the model's answer)."""

    prediction: PredictionId
    model: ModelName
    version: int
    at: datetime
    output: float
    served: float | None = None
    links: tuple[Link, ...]

    @property
    def holds(self) -> bool:
        """Tell whether no link was found broken."""
        return all(link.verified is not False for link in self.links)

"""The lineage graph: nodes named by kind and id, edges from what was made to what it was made of."""

from enum import Enum

import msgspec


class NodeKind(Enum):
    """What stands in the graph."""

    DATASET_VERSION = "dataset_version"
    RUN = "run"
    MODEL_VERSION = "model_version"
    DEPLOYMENT = "deployment"
    VERDICT = "verdict"
    CODE = "code"
    ENVIRONMENT = "environment"


class Node(msgspec.Struct, frozen=True):
    """One thing in the graph: a digest, a run id, `MODEL@NUMBER`, `MODEL#REVISION`."""

    kind: NodeKind
    id: str


class Edge(msgspec.Struct, frozen=True):
    """`made` came from `source`; `role` says as what (training data, candidate, refit ...)."""

    made: Node
    source: Node
    role: str

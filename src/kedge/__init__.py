"""Kedge: MLOps as one closed loop in one package.

The names a project's own files need. Each is loaded when it is first used: `import kedge` costs no frame library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.client.inference import InferenceClient
    from kedge.domain.features import FeatureService, FeatureView
    from kedge.errors import KedgeError
    from kedge.features.join import point_in_time
    from kedge.pipelines.step import Pipeline, Step, TrainingData

_HOMES = {
    "FeatureService": "kedge.domain.features",
    "FeatureView": "kedge.domain.features",
    "InferenceClient": "kedge.client.inference",
    "KedgeError": "kedge.errors",
    "Pipeline": "kedge.pipelines.step",
    "Step": "kedge.pipelines.step",
    "TrainingData": "kedge.pipelines.step",
    "point_in_time": "kedge.features.join",
}

__all__ = [
    "FeatureService",
    "FeatureView",
    "InferenceClient",
    "KedgeError",
    "Pipeline",
    "Step",
    "TrainingData",
    "point_in_time",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kedge' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)

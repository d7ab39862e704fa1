"""Kedge: MLOps as one closed loop in one package.

The names that a project's own files and training scripts need. Each is loaded when it is first used: `import kedge`
costs no frame library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge import data, monitoring
    from kedge.client.answered import ground_truth, predictions
    from kedge.client.autolog import autolog
    from kedge.client.inference import InferenceClient
    from kedge.client.reading import history
    from kedge.client.registering import register_model
    from kedge.client.run import (
        ActiveRun,
        active_run,
        log,
        log_artifact,
        log_dataset,
        log_figure,
        log_model,
        log_params,
        log_table,
        run,
        set_tags,
    )
    from kedge.domain.features import FeatureService, FeatureView
    from kedge.errors import KedgeError
    from kedge.features.join import point_in_time
    from kedge.pipelines.step import Pipeline, Step, TrainingData

_RUN = "kedge.client.run"
_HOMES = {
    "ActiveRun": _RUN,
    "FeatureService": "kedge.domain.features",
    "FeatureView": "kedge.domain.features",
    "InferenceClient": "kedge.client.inference",
    "KedgeError": "kedge.errors",
    "Pipeline": "kedge.pipelines.step",
    "Step": "kedge.pipelines.step",
    "TrainingData": "kedge.pipelines.step",
    "active_run": _RUN,
    "autolog": "kedge.client.autolog",
    "ground_truth": "kedge.client.answered",
    "history": "kedge.client.reading",
    "log": _RUN,
    "log_artifact": _RUN,
    "log_dataset": _RUN,
    "log_figure": _RUN,
    "log_model": _RUN,
    "log_params": _RUN,
    "log_table": _RUN,
    "point_in_time": "kedge.features.join",
    "predictions": "kedge.client.answered",
    "register_model": "kedge.client.registering",
    "run": _RUN,
    "set_tags": _RUN,
}

__all__ = [
    "ActiveRun",
    "FeatureService",
    "FeatureView",
    "InferenceClient",
    "KedgeError",
    "Pipeline",
    "Step",
    "TrainingData",
    "active_run",
    "autolog",
    "data",
    "ground_truth",
    "history",
    "log",
    "log_artifact",
    "log_dataset",
    "log_figure",
    "log_model",
    "log_params",
    "log_table",
    "monitoring",
    "point_in_time",
    "predictions",
    "register_model",
    "run",
    "set_tags",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home, and keep it here: `kedge.log` is asked for a million times."""
    if name in ("data", "monitoring"):
        return import_module(f"kedge.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'kedge' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)

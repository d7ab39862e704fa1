"""How far apart a prediction and its label may be."""

from datetime import timedelta

from kedge.domain.project import ProjectSpec

STEPS = 26
WITHIN = "30d"
"""How much older than the time of a fact about an entity its prediction may be, unless it is said."""


def horizon_of(spec: ProjectSpec) -> timedelta:
    """Give the time after which monitoring gives up waiting: 26 of the project's steps."""
    return STEPS * timedelta(seconds=spec.step_seconds)

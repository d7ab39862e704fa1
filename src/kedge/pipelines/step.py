"""Pipelines as a project writes them: plain functions whose argument names say what they need.

    def clean(data): ...                 # `data` is the TrainingData
    def model(data, clean): ...          # `clean` is what the step of that name returned
    pipeline = Pipeline("delay", [clean, model])
The step named `model`, or else the last one, returns the fitted estimator. A single function is a pipeline of one step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from kedge.domain.evaluation import Task
from kedge.errors import ConfigError

DATA = "data"
MODEL = "model"


class TrainingData(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a project's steps get as `data`.

    `x` is float64 (n, k) with missing values as NaN, `y` float64 (n,) (0 and 1 for classes), `weight` float64 (n,) in
    (0, 1]; `columns` names the k columns, `categorical` the indices of those that hold the ordinal number of a string.
    Start all randomness from `seed`.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    columns: tuple[str, ...]
    categorical: tuple[int, ...]
    task: Task
    seed: int


class Step(msgspec.Struct, frozen=True):
    """One function of a pipeline. `name` is by default the function's own; its arguments name what it needs."""

    run: Callable[..., Any]
    name: str = ""

    def __post_init__(self) -> None:
        if not callable(self.run):
            raise ConfigError(f"a step must be a function, not {type(self.run).__name__}: {self.run!r}")
        if not self.name:
            msgspec.structs.force_setattr(self, "name", getattr(self.run, "__name__", ""))
        if not self.name.isidentifier():
            raise ConfigError(f'{self.run!r} has no usable name; write Step(function, name="..."), a Python name')
        if self.name == DATA:
            raise ConfigError(f"no step may be called {DATA!r}: that is the training data; rename it")


class Argument(msgspec.Struct, frozen=True):
    """One argument of a step, and whether it has a default of its own."""

    name: str
    optional: bool


class Pipeline(msgspec.Struct, frozen=True):
    """A named graph of steps. Plain functions among `steps` become steps under their own names."""

    name: str
    steps: Sequence[Callable[..., Any] | Step]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ConfigError(f"pipeline {self.name!r} has no steps; give it a function that returns the model")
        steps = tuple(step if isinstance(step, Step) else Step(step) for step in self.steps)
        msgspec.structs.force_setattr(self, "steps", steps)

    def nodes(self) -> tuple[Step, ...]:
        """List the steps as they were written."""
        return tuple(step if isinstance(step, Step) else Step(step) for step in self.steps)


def as_pipeline(written: object) -> Pipeline:
    """Take what a project's reference names: a Pipeline, or one function. Raises ConfigError for anything else."""
    if isinstance(written, Pipeline):
        return written
    if callable(written):
        step = Step(written)
        return Pipeline(step.name, (step,))
    raise ConfigError(
        f"training.pipeline names {type(written).__name__} {written!r}; it must be a function of `data` or a Pipeline"
    )


def arguments_of(step: Step) -> tuple[Argument, ...]:
    """List what a step asks for, by argument name. Raises ConfigError for arguments that cannot be filled by name."""
    try:
        parameters = inspect.signature(step.run).parameters.values()
    except (TypeError, ValueError) as error:
        message = f"step {step.name!r}: Python cannot tell its arguments ({error}); wrap it in a def"
        raise ConfigError(message) from error
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(
                f"step {step.name!r}: argument {parameter} cannot be filled by name; write plain arguments that name "
                f"steps or {DATA!r}"
            )
    return tuple(Argument(p.name, optional=p.default is not p.empty) for p in parameters)

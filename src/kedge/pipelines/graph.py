"""The order of a pipeline's steps: each after all that its arguments name, otherwise as written."""

from graphlib import CycleError, TopologicalSorter

import msgspec

from kedge.errors import ConfigError
from kedge.pipelines.step import DATA, MODEL, Pipeline, Step, arguments_of


class Planned(msgspec.Struct, frozen=True):
    """A step in its place, with the names that it is called with."""

    step: Step
    needs: tuple[str, ...]


def plan(pipeline: Pipeline) -> tuple[Planned, ...]:
    """Order the steps. Raises ConfigError naming double names, unknown names and cycles."""
    steps = _by_name(pipeline)
    planned = {name: Planned(step, _needs(pipeline, step, steps=steps)) for name, step in steps.items()}
    graph = {name: [need for need in one.needs if need != DATA] for name, one in planned.items()}
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ConfigError(
            f"pipeline {pipeline.name!r} goes round in a circle: {circle}; no step may need its own result"
        ) from None
    return tuple(planned[name] for name in order)


def model_step(pipeline: Pipeline) -> str:
    """Name the step that returns the model: the one called `model`, else the last."""
    names = [step.name for step in pipeline.nodes()]
    return MODEL if MODEL in names else names[-1]


def _by_name(pipeline: Pipeline) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for step in pipeline.nodes():
        if step.name in steps:
            raise ConfigError(f"pipeline {pipeline.name!r} has two steps called {step.name!r}; rename one of them")
        steps[step.name] = step
    return steps


def _needs(pipeline: Pipeline, step: Step, *, steps: dict[str, Step]) -> tuple[str, ...]:
    needs = []
    for argument in arguments_of(step):
        if argument.name == DATA or argument.name in steps:
            needs.append(argument.name)
        elif not argument.optional:
            raise ConfigError(
                f"pipeline {pipeline.name!r}, step {step.name!r}: argument {argument.name!r} names no step; "
                f"there are {', '.join([DATA, *steps])}"
            )
    return tuple(needs)

"""What a project may write as a pipeline, the order that follows, and the errors that name what is wrong."""

import functools

import pytest

from kedge.errors import ConfigError
from kedge.pipelines.graph import model_step, plan
from kedge.pipelines.step import Pipeline, Step, as_pipeline


def clean(data): ...
def wide(data, clean): ...
def model(clean, wide): ...
def report(model): ...
def tuned(data, depth=6, clean=None): ...
def chicken(egg): ...
def egg(hen): ...
def hen(chicken): ...
def narcissus(narcissus): ...
def lost(data, weather): ...
def star(*data): ...
def stars(**data): ...
def slash(data, /): ...


def order(*steps) -> list[str]:
    return [one.step.name for one in plan(Pipeline("delay", steps))]


def test_steps_come_after_what_they_name() -> None:
    assert order(model, wide, clean) == ["clean", "wide", "model"]
    assert order(clean, wide, model) == ["clean", "wide", "model"]


def test_arguments_with_a_default_need_no_step() -> None:
    alone, (_, filled) = plan(Pipeline("p", [tuned]))[0], plan(Pipeline("p", [tuned, clean]))
    assert alone.needs == ("data",)
    assert filled.needs == ("data", "clean")


def test_the_model_is_the_step_of_that_name_or_the_last() -> None:
    assert model_step(Pipeline("p", [model, report])) == "model"
    assert model_step(Pipeline("p", [clean, wide])) == "wide"


def test_a_thousand_steps_in_a_row() -> None:
    steps = [Step(eval(f"lambda s{i - 1}: 0" if i else "lambda data: 0"), name=f"s{i}") for i in range(1000)]
    assert order(*reversed(steps))[-1] == "s999"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([chicken, egg, hen], r"circle: .*chicken -> egg -> hen|egg -> hen -> chicken|hen -> chicken -> egg"),
        ([narcissus], "narcissus -> narcissus"),
        ([clean, lost], "step 'lost': argument 'weather' names no step; there are data, clean, lost"),
        ([clean, Step(wide, name="clean")], "two steps called 'clean'"),
        ([star], r"step 'star': argument \*data cannot be filled by name"),
        ([stars], r"\*\*data cannot be filled by name"),
        ([slash], "cannot be filled by name"),
        ([Step(int.__call__, name="one")], "Python cannot tell its arguments|cannot be filled by name"),
        ([Step(dict, name="one")], "Python cannot tell its arguments|cannot be filled by name"),
    ],
)
def test_broken_graphs_are_named(steps, message) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(Pipeline("delay", steps))


def test_broken_graphs_name_the_pipeline() -> None:
    with pytest.raises(ConfigError, match="'delay'"):
        plan(Pipeline("delay", [egg]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pipeline("p", []), "no steps"),
        (lambda: Pipeline("p", [3]), "must be a function, not int"),
        (lambda: Pipeline("p", [lambda data: 0]), "no usable name"),
        (lambda: Pipeline("p", [functools.partial(clean)]), "no usable name"),
        (lambda: Step(clean, name="two words"), "no usable name"),
        (lambda: Step(clean, name="data"), "no step may be called 'data'"),
        (lambda: as_pipeline("train"), "str 'train'; it must be a function"),
        (lambda: as_pipeline(None), "must be a function"),
    ],
)
def test_what_is_no_pipeline(make, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_is_a_pipeline() -> None:
    whole = Pipeline("p", [clean])
    assert as_pipeline(whole) is whole
    assert [step.name for step in as_pipeline(clean).nodes()] == ["clean"]
    assert [step.name for step in Pipeline("p", [Step(functools.partial(clean), name="part")]).nodes()] == ["part"]

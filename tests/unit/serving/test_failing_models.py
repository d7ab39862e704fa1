"""Whatever the code of a model raises, the process goes on: its caller is told, and a trial falls to the champion."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from tests.unit.serving.fakes import NUMBERS, NUMERIC, Around, tensor, version_of

from kedge.domain.registry import Servable
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import ModelRefused
from kedge.evaluation.load import answers_of

BODY = {"inputs": [tensor("x", "FP64", [1.0, 2.0], [1, 2])]}


class OwnError(Exception):
    """An error class of a framework, derived from nothing that is known."""


class Panic(BaseException):
    """What extensions in other languages raise where they cannot go on."""


RAISED = [AssertionError("no"), OwnError("no"), SystemExit("no"), Panic("no"), StopIteration("no")]


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: type(each).__name__)
def test_a_champion_that_raises_anything_is_422_and_says_what(raised: BaseException) -> None:
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="").deployed(1)
    around.evaluation.answers[1] = raised
    answer = around.infer(BODY)
    assert (answer.status, f"{type(raised).__name__}: no" in answer.json["error"]) == (422, True)
    around.evaluation.answers[1] = 0.5
    assert around.infer(BODY).status == 200


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: type(each).__name__)
def test_a_trial_that_raises_anything_falls_to_the_champion(raised: BaseException) -> None:
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="").deployed(1, 2, share=1.0, salt="s")
    around.evaluation.answers[2] = raised
    answer = around.infer(BODY)
    assert (answer.status, answer.output("version")) == (200, [1])
    assert type(raised).__name__ in around.logged()[0].errors[0]


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: type(each).__name__)
def test_a_model_that_raises_on_zeros_is_loaded_all_the_same(raised: BaseException) -> None:
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="")
    around.evaluation.answers[1] = raised
    assert around.deployed(1).plane.active is not None


class Raising:
    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def run(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        raise self.raised


@pytest.fixture
def asked() -> Callable[[BaseException], object]:
    spec = TensorSpec(name="x", datatype="FP64", shape=(-1,))
    table = version_of(1, NUMBERS)
    own = Servable(
        model=table.model,
        number=1,
        digest=table.digest,
        format="package",
        example=table.example,
        tensors=TensorSignature(inputs=(spec,), outputs=(spec,), batched=True),
    )
    return lambda raised: answers_of(Raising(raised), own, inputs={"x": np.zeros(1)})


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: type(each).__name__)
def test_code_of_ones_own_may_raise_anything(asked: Callable[[BaseException], object], raised: BaseException) -> None:
    with pytest.raises(ModelRefused, match=f"raised {type(raised).__name__}: no"):
        asked(raised)


def test_what_a_person_interrupts_ends(asked: Callable[[BaseException], object]) -> None:
    with pytest.raises(KeyboardInterrupt):
        asked(KeyboardInterrupt())

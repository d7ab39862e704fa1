"""A trial changes nothing for callers: what the champion takes is taken, whatever the version on trial reads."""

from typing import Any

import numpy as np
import pytest
from tests.unit.serving.fakes import MODEL, NUMBERS, Around, Clock, Ids, Response, call, tensor

from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.ids import ModelName
from kedge.domain.registry import Signature
from kedge.domain.rollout import Strategy
from kedge.serving.door.application import HttpDoor
from kedge.serving.host import Host
from kedge.serving.log import PredictionLog

WIDER = Signature(
    inputs=(*NUMBERS.inputs, Column(name="c", type=ColumnType.STRING, categories=("x",))),
    task=Task.REGRESSION,
    output="value",
)
TURNED = Signature(inputs=NUMBERS.inputs[::-1], task=Task.REGRESSION, output="value")
MATRIX = {"inputs": [tensor("x", "FP64", [1.0, 2.0], [1, 2])]}
COLUMNS = {"inputs": [tensor("a", "FP64", [1.0]), tensor("b", "INT64", [2])]}
ALL = {"share": 1.0, "salt": "s"}


class Plain:
    """A data plane of a model that no project made; version 1 is champion, 2 on trial with all traffic."""

    def __init__(self, trial: Signature = NUMBERS, **more: Any) -> None:
        self.around = Around(signature=NUMBERS)
        self.around.registry.others[2] = trial
        self.around.deployments.deploy(1, 2, **{**ALL, **more})
        host = Host(
            model=ModelName(""),
            service=None,
            sticky="",
            deployments=self.around.deployments,
            registry=self.around.registry,
            shelf=self.around.evaluation,
            size=lambda servable: 1000,
            reader=None,
            log=PredictionLog(self.around.journal),
            clock=Clock(),
            new_id=Ids(),
        )
        self.door = HttpDoor(host, version="9")

    def infer(self, body: Any) -> Response:
        return call(self.door, "POST", f"/v2/models/{MODEL}/infer", body)

    def predict(self, body: Any) -> Response:
        return call(self.door, "POST", f"/v1/models/{MODEL}:predict", body)


@pytest.mark.parametrize("body", [MATRIX, COLUMNS])
def test_who_does_not_send_what_the_trial_reads_is_answered_by_the_champion(body: Any) -> None:
    plain = Plain(WIDER)
    answer = plain.infer(body)
    assert (answer.status, answer.output("version")) == (200, [1])
    (record,) = plain.around.logged()
    assert "missing column 'c'" in record.errors[0]


@pytest.mark.parametrize("body", [{"rows": [{"a": 1, "b": 2}]}, {"instances": [[1, 2]]}])
def test_rows_of_people_go_on_too(body: Any) -> None:
    assert Plain(WIDER).predict(body).status == 200


def test_what_the_trial_reads_may_be_sent_with_it() -> None:
    plain = Plain(WIDER)
    answer = plain.infer({"inputs": [*COLUMNS["inputs"], tensor("c", "BYTES", ["x"])]})
    assert (answer.status, answer.output("version")) == (200, [2])
    (record,) = plain.around.logged()
    assert record.features == {"a": [1.0], "b": [2], "c": ["x"]}
    rows = plain.predict({"rows": [{"a": 1, "b": 2, "c": "x"}, {"a": 1, "b": 2}]}).json["rows"]
    assert [row["version"] for row in rows] == [2, 2], "a row without it has no value there"
    told = call(plain.door, "GET", f"/v2/models/{MODEL}").json["inputs"]
    assert [(each["name"], each.get("optional", False)) for each in told] == [("a", False), ("b", False), ("c", True)]


def test_what_is_unknown_to_both_is_refused() -> None:
    answer = Plain(WIDER).infer({"inputs": [*COLUMNS["inputs"], tensor("d", "BYTES", ["x"])]})
    assert (answer.status, "unknown input d" in answer.json["error"]) == (400, True)


def test_a_value_that_only_the_trial_needs_is_not_asked_for() -> None:
    plain = Plain()
    plain.around.registry.demanding = {1: (), 2: ("a",)}

    def needs_it(matrix: Any) -> Any:
        if np.isnan(matrix).any():
            raise ValueError("column 'a' has no value")
        return np.full(len(matrix), 0.2)

    plain.around.evaluation.answers[2] = needs_it
    answer = plain.infer({"inputs": [tensor("x", "FP64", [None, 2.0], [1, 2])]})
    assert (answer.status, answer.output("version")) == (200, [1])


@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.SHADOW])
def test_a_trial_that_reads_the_columns_in_another_order_gets_them_in_that_order(strategy: Strategy) -> None:
    plain = Plain(TURNED, strategy=strategy)
    seen: list[Any] = []
    plain.around.evaluation.answers[2] = lambda matrix: (seen.extend(matrix.tolist()), np.full(len(matrix), 0.2))[1]
    assert plain.infer(MATRIX).status == 200
    assert seen[-1] == [2.0, 1.0]

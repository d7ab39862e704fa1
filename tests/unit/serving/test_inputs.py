"""What a request must carry."""

import msgspec
import pytest
from tests.unit.serving.fakes import NUMBERS, NUMERIC, SERVICE, SIGNATURE, Around, question_of, tensor

from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.features import FeatureService
from kedge.domain.registry import Signature
from kedge.errors import ModelRefused, RequestInvalid
from kedge.serving.inputs import MOST_ROWS, Inputs


def read(inputs: Inputs, *tensors: dict[str, object]) -> dict[str, list[object]]:
    rows = inputs.rows(question_of(msgspec.json.encode({"inputs": tensors})).inputs)
    if rows.matrix is None:
        return rows.columns
    return {name: rows.matrix[:, place].tolist() for place, name in enumerate(inputs.names)}


def test_expected_are_keys_request_columns_and_the_sticky_one() -> None:
    assert list(Inputs(SERVICE, "flight_id", signature=SIGNATURE).types) == [
        "tailnum", "distance", "hour", "carrier", "night", "note", "flight_id",
    ]  # fmt: skip
    assert list(Inputs(SERVICE, "tailnum", signature=SIGNATURE).types)[-1] == "note"


def test_a_matrix_needs_a_numeric_signature_and_a_name_that_is_no_column() -> None:
    numbers = Inputs(NUMERIC, "", signature=NUMBERS)
    assert read(numbers, tensor("x", "INT64", [1, 2, 3, 4], [2, 2])) == {"a": [1.0, 3.0], "b": [2, 4]}
    with pytest.raises(RequestInvalid, match="unknown input x"):
        read(Inputs(NUMERIC, "who", signature=NUMBERS), tensor("x", "FP64", [1, 2, 3], [1, 3]))


def test_one_column_models_take_either_form() -> None:
    one = Signature(inputs=(Column(name="a", type=ColumnType.FLOAT),), task=Task.REGRESSION, output="y")
    inputs = Inputs(FeatureService(name="s", request=("a",)), "", signature=one)
    for each in (tensor("a", "FP64", [1]), tensor("a", "FP64", [1], [1, 1]), tensor("input", "FP64", [[1]], [1, 1])):
        assert read(inputs, each) == {"a": [1.0]}


@pytest.mark.parametrize("rows", [0, MOST_ROWS + 1])
def test_rows_are_bounded(rows: int) -> None:
    numbers = Inputs(NUMERIC, "", signature=NUMBERS)
    with pytest.raises(RequestInvalid, match="from 1 to 100000 rows"):
        read(numbers, tensor("a", "FP64", [0] * rows), tensor("b", "INT64", [0] * rows))


def test_a_service_that_takes_nothing_has_no_rows() -> None:
    nothing = Signature(inputs=(), task=Task.REGRESSION, output="y")
    with pytest.raises(RequestInvalid):
        read(Inputs(FeatureService(name="s"), "", signature=nothing))


def test_a_time_travels_as_text() -> None:
    service = FeatureService(name="s", request=("when",), drop=("when",))
    inputs = Inputs(service, "", signature=Signature(inputs=(), task=Task.REGRESSION, output="y"))
    assert read(inputs, tensor("when", "BYTES", ["2013-01-01T00:00:00Z"])) == {"when": ["2013-01-01T00:00:00Z"]}


def test_a_version_trained_on_other_features_is_refused() -> None:
    around = Around(service=NUMERIC, signature=SIGNATURE, sticky="")
    with pytest.raises(ModelRefused, match="reads distance, hour, carrier, night, planes__age"):
        around.deployed(1)


def test_a_column_that_must_have_a_value() -> None:
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="")
    around.registry.required = ("b",)
    around.deployed(1)
    answer = around.infer({"inputs": [tensor("x", "FP64", [1.0, 2.0, None, 3.0, 4.0, None], [3, 2])]})
    assert (answer.status, "input 'b': row 2 has no value" in answer.json["error"]) == (400, True)
    assert around.infer({"inputs": [tensor("x", "FP64", [None, 2.0], [1, 2])]}).status == 200

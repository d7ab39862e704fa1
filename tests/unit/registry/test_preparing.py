"""From a folder of files to what serving needs of it; and why some folders cannot be served."""

import io
import json
import pickle

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.unit.evaluation.toys import Blobs
from tests.unit.registry.examined import registry_of

from kedge.adapters.sklearn.format import SklearnFormat
from kedge.domain.data import ColumnType
from kedge.domain.evaluation import Task
from kedge.errors import ModelRefused
from kedge.registry.examples import read_example
from kedge.storage.sql import open_store

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 3))
LATE = (X[:, 0] + X[:, 1] > 0).astype(int)
FRAME = pl.DataFrame(
    {
        "distance": X[:, 0],
        "hour": RANDOM.integers(0, 24, 300),
        "carrier": RANDOM.choice(["AA", "UA", "ü"], 300),
        "night": RANDOM.random(300) < 0.5,
    }
)


@pytest.fixture
def look():
    """Look at a folder, load what was found, check its registered answers."""
    store, blobs = open_store("sqlite://"), Blobs()
    registry, evaluation = registry_of(store, blobs)

    def prepare(files):
        found = registry._examiner.prepare(files)
        registry.verify(found)
        return found, evaluation

    yield prepare
    store.close()


def parquet(columns) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


def skops(model, example, **about) -> dict[str, bytes]:
    told = json.dumps({"example": "rows.parquet", **about}).encode()
    return SklearnFormat().dump(model) | {"rows.parquet": parquet(example), "kedge.json": told}


def numbered(rows=X[:5]):
    return {f"x{place}": rows[:, place] for place in range(rows.shape[1])}


def test_numbers_in_and_one_number_out_are_a_table(look):
    model = HistGradientBoostingClassifier(max_iter=5).fit(X, LATE)
    found, evaluation = look(skops(model, numbered(), output="late"))
    assert (found.format, found.form, found.tensors) == ("skops", "onnx", None)
    assert (found.table.output, found.table.task, found.table.positive) == ("late", Task.CLASSIFICATION, "1")
    assert [column.type for column in found.table.inputs] == [ColumnType.FLOAT] * 3
    answers = evaluation.score(found, numbered())
    assert np.allclose(answers, model.predict_proba(X[:5])[:, 1], rtol=0, atol=1e-12)


def test_a_model_of_many_columns_answers_its_example_bit_for_bit_as_it_was_registered(look):
    rows = np.random.default_rng(0).normal(size=(200, 20))
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    found, _ = look(skops(model, numbered(rows)))
    assert len(found.table.inputs) == 20


def test_columns_are_read_in_the_order_of_the_training_whatever_that_of_the_example(look):
    model = LinearRegression().fit(pl.DataFrame({"b": X[:, 0], "a": X[:, 1]}), 3 * X[:, 0] + X[:, 1])
    found, evaluation = look(skops(model, {"a": X[:5, 1], "b": X[:5, 0], "unused": X[:5, 2]}))
    assert [column.name for column in found.table.inputs] == ["b", "a"]
    assert found.table.task is Task.REGRESSION
    assert np.allclose(evaluation.score(found, {"a": [1.0], "b": [2.0]}), [7.0])


def test_a_pipeline_reads_texts_with_its_own_transforms(look):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["distance", "hour"]),
        ("passthrough", ["night"]),
    )
    model = make_pipeline(columns, LogisticRegression()).fit(FRAME, LATE)
    found, evaluation = look(skops(model, FRAME.head(5)))
    assert [(spec.name, spec.datatype, spec.nullable) for spec in found.tensors.inputs] == [
        ("distance", "FP64", True),
        ("hour", "INT64", False),
        ("carrier", "BYTES", True),
        ("night", "BOOL", False),
    ]
    assert [(spec.name, spec.datatype, spec.shape) for spec in found.tensors.outputs] == [
        ("label", "INT64", (-1,)),
        ("probabilities", "FP64", (-1, 2)),
        ("probability", "FP64", (-1,)),
    ]
    assert (found.tensors.watched, found.tensors.batched) == ("probability", True)
    carrier = np.array(["AA", "never seen"], dtype=object)
    asked = {
        "distance": np.array([0.5, np.nan]),
        "hour": np.array([3, 4]),
        "carrier": carrier,
        "night": np.array([True, False]),
    }
    answers = evaluation.run(found, asked)
    expected = model.predict_proba(pl.DataFrame({name: values.tolist() for name, values in asked.items()}, strict=False))
    assert np.array_equal(answers["probabilities"], expected)
    assert np.array_equal(answers["probability"], expected[:, 1])


def test_several_classes_give_probabilities_and_a_label(look):
    names = np.array(["early", "late", "never"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 1)]
    model = LogisticRegression().fit(X, names)
    found, evaluation = look(skops(model, numbered()))
    assert found.tensors.watched == ""
    label, chances = found.tensors.outputs
    assert (label.datatype, chances.labels) == ("BYTES", ("early", "late", "never"))
    assert not any(spec.nullable for spec in found.tensors.inputs)
    answers = evaluation.run(found, numbered(X[:9]))
    assert answers["label"].tolist() == model.predict(X[:9]).tolist()
    assert answers["probabilities"].shape == (9, 3)


def test_two_targets_are_predictions(look):
    model = LinearRegression().fit(X, X[:, :2] * 2)
    found, evaluation = look(skops(model, numbered()))
    assert [(spec.name, spec.shape) for spec in found.tensors.outputs] == [("predictions", (-1, 2))]
    assert np.allclose(evaluation.run(found, numbered(X[:4]))["predictions"], X[:4, :2] * 2)


def graph(nodes, inputs, outputs, constants=(), **more):
    made = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    opsets = [helper.make_opsetid("", 18), *more.pop("opsets", ())]
    return helper.make_model(made, opset_imports=opsets, ir_version=9, **more)


def two_headed():
    """Take an image and an id, and give two answers."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Identity", ["id"], ["same"]),
    ]
    inputs = [value("image", TensorProto.FLOAT, [None, 2, 2]), value("id", TensorProto.INT64, ["n"])]
    outputs = [value("mean", TensorProto.FLOAT, [None]), value("same", TensorProto.INT64, [None])]
    return graph(nodes, inputs, outputs, [numpy_helper.from_array(np.array([1, 2]), "axes")])


def npz(**arrays) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def test_an_onnx_model_answers_several_arrays(look):
    image, id = np.arange(12, dtype=np.float32).reshape(3, 2, 2), np.array([5, 6, 7])
    files = {
        "net.onnx": two_headed().SerializeToString(),
        "e.npz": npz(image=image, id=id),
        "kedge.json": b'{"example":"e.npz"}',
    }
    found, evaluation = look(files)
    assert (found.format, found.tensors.watched, found.tensors.batched) == ("onnx", "mean", True)
    assert [(spec.datatype, spec.shape, spec.nullable) for spec in found.tensors.inputs] == [
        ("FP32", (-1, 2, 2), False),
        ("INT64", (-1,), False),
    ]
    answers = evaluation.run(found, {"image": image[:1], "id": id[:1]})
    assert (answers["mean"].tolist(), answers["same"].tolist()) == ([1.5], [5])
    with pytest.raises(ValueError, match="Unexpected input data type"):
        evaluation.run(found, {"image": image.astype(np.float64), "id": id})


def outside():
    model = two_headed()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")
    return model


def nested():
    """Hide what lies outside in a branch."""
    value = helper.make_tensor_value_info
    inner = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    inner.external_data.add(key="location", value="secret")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["o"], value=inner)], "b", [], [value("o", TensorProto.FLOAT, [1])]
    )
    node = helper.make_node("If", ["if"], ["out"], then_branch=branch, else_branch=branch)
    return graph([node], [value("if", TensorProto.BOOL, [1])], [value("out", TensorProto.FLOAT, [1])])


def custom():
    value = helper.make_tensor_value_info
    node = helper.make_node("Evil", ["x"], ["y"], domain="evil.ops")
    shape = [value(name, TensorProto.FLOAT, [None]) for name in "xy"]
    return graph([node], shape[:1], shape[1:], opsets=[helper.make_opsetid("evil.ops", 1)])


def beside_a_function():
    """Name an operator of a domain in which the file has a function of another name."""
    model = custom()
    same = [helper.make_node("Identity", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("evil.ops", "Harmless", ["a"], ["b"], same, opsets))
    return model


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (outside, "lies outside the file"),
        (nested, "lies outside the file"),
        (custom, "of domain 'evil.ops'"),
        (beside_a_function, "'Evil' is of domain 'evil.ops'"),
    ],
)
def test_an_onnx_model_that_reaches_out_is_refused(look, made, why):
    with pytest.raises(ModelRefused, match=why):
        look({"net.onnx": made().SerializeToString()})
    with pytest.raises(ModelRefused, match="not a sound ONNX model"):
        look({"net.onnx": b"\x08\xff" * 30})
    assert onnx.__version__


MLMODEL = (
    b"flavors:\n  sklearn:\n    pickled_model: model.skops\nsaved_input_example_info:\n  artifact_path: input_example.json\n"
)
SPLIT = {"columns": ["x0", "x1", "x2"], "data": X[:5].tolist()}


@pytest.mark.parametrize(
    "example",
    [SPLIT, {"dataframe_split": SPLIT}, {"inputs": X[:5].tolist()}, X[:5].tolist()],
    ids=["split", "serving", "tensor", "rows"],
)
def test_what_mlflow_logged_is_served(look, example):
    kept = SklearnFormat().dump(HistGradientBoostingClassifier(max_iter=3).fit(X, LATE))
    files = {"MLmodel": MLMODEL, "model.skops": kept["model.skops"], "input_example.json": json.dumps(example).encode()}
    found, _ = look({**files, "conda.yaml": b"name: x", "requirements.txt": b"scikit-learn"})
    assert (found.form, [column.name for column in found.table.inputs]) == ("onnx", ["x0", "x1", "x2"])


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"model.pkl": pickle.dumps(1)}, "pickles are never loaded: for scikit-learn"),
        ({"data/model.pth": b"x"}, "pickled PyTorch models are never loaded"),
        ({"model.ubj": b"x"}, "binary files are not read"),
        ({"readme.md": b"x"}, "no model of a safe format among readme.md"),
        ({}, "no model of a safe format among no files"),
        ({"kedge.json": b"{"}, "kedge.json cannot be read"),
        ({"kedge.json": b'{"example": "e.csv"}'}, "the example 'e.csv' is named, but is not among the files"),
        ({"model.skops": b"PK"}, "not a skops file"),
    ],
)
def test_what_cannot_be_served_is_told_with_what_to_do(look, files, why):
    with pytest.raises(ModelRefused, match=why):
        look(files)


def test_a_model_without_example_rows_is_told_how_to_have_some(look):
    kept = SklearnFormat().dump(LogisticRegression().fit(X, LATE))
    with pytest.raises(ModelRefused, match=r"it has no example rows.*example=X"):
        look(kept)
    wrong = kept | {"e.parquet": parquet({"x0": [1.0]}), "kedge.json": b'{"example":"e.parquet"}'}
    with pytest.raises(ModelRefused, match=r"fails on its example rows|takes 3 columns"):
        look(wrong)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("e.txt", b"x", "ends in '.txt'"),
        ("e.parquet", b"x", "cannot be read"),
        ("e.csv", b"", "cannot be read"),
        ("e.json", b"[[[1]]]", "has shape"),
        ("e.json", b'{"columns": ["a"], "data": []}', "has no rows"),
        ("e.npz", npz(a=np.array([1, "x"], dtype=object)), "cannot be read"),
    ],
)
def test_an_example_that_is_none_is_refused(name, data, why):
    with pytest.raises(ModelRefused, match=why):
        read_example(name, data)


def test_a_registered_model_that_answers_otherwise_is_refused(look):
    model = LogisticRegression().fit(X, np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)])
    found, evaluation = look(skops(model, numbered()))
    evaluation._loader._opened.clear()
    model.coef_[0, 0] += 1e-9
    blobs = evaluation._blobs
    blobs.kept[found.digest] = SklearnFormat().dump(model)
    registry, _ = registry_of(open_store("sqlite://"), blobs)
    with pytest.raises(ModelRefused, match="otherwise than at registration"):
        registry.verify(found)

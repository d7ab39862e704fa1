"""Models of named arrays behind the host of a real house: asked, refused, on trial, logged."""

import asyncio
import gc
import io
import json
import threading
import weakref
from datetime import UTC, datetime, timedelta
from time import monotonic

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.contract.metastore import event
from tests.unit.serving.fakes import settled

from kedge.adapters.jobs import InlineRunner
from kedge.app import open_house
from kedge.config import bare_project, settings
from kedge.domain.ids import ModelName
from kedge.domain.predictions import Ack
from kedge.domain.records import decode_batch
from kedge.domain.rollout import Deployment, Strategy
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import DeadlineExceeded, ModelRefused, Overloaded, RequestInvalid
from kedge.monitoring.answer_log import PredictionQuery
from kedge.serving.host import host_of
from kedge.serving.tensors import read_arrays
from kedge.serving.wire.questions import InferRequest, Tensor, Wanted

NAME = ModelName("net")
IMAGE, ID = np.arange(12, dtype=np.float32).reshape(3, 2, 2), np.array([5, 6, 7])


def network(times=1.0) -> bytes:
    """Take images and ids; give `times` the mean of each image, and the ids."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["plain"], keepdims=0),
        helper.make_node("Mul", ["plain", "times"], ["mean"]),
        helper.make_node("Identity", ["id"], ["same"]),
    ]
    inputs = [value("image", TensorProto.FLOAT, [None, 2, 2]), value("id", TensorProto.INT64, [None])]
    outputs = [value("mean", TensorProto.FLOAT, [None]), value("same", TensorProto.INT64, [None])]
    constants = [
        numpy_helper.from_array(np.array([1, 2]), "axes"),
        numpy_helper.from_array(np.array([times], dtype=np.float32), "times"),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensors")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("kedge.app.ProcessRunner", InlineRunner)
        opened = open_house(settings(folder), bare_project(folder), writer="serve")
    out = io.BytesIO()
    np.savez(out, image=IMAGE, id=ID)
    about = json.dumps({"example": "e.npz"}).encode()
    for times in (1.0, 10.0):
        opened.given.register(NAME, {"n.onnx": network(times), "e.npz": out.getvalue(), "kedge.json": about}, actor="ana")
    yield opened
    opened.close()


def deploy(house, name=NAME, **changes):
    newest = house.meta.deployments.find(name)
    revision = newest.revision + 1 if newest else 1
    facts = {"champion": 1, "since": datetime(2026, 1, 1, tzinfo=UTC), "actor": "ana", "reason": "test"}
    deployment = Deployment(model=name, revision=revision, **{**facts, **changes})
    house.meta.deployments.put(deployment, event(f"deployed {name}", revision))


def question(image=IMAGE, id=ID, **more):
    inputs = [Tensor("image", "FP32", image.shape, image), Tensor("id", "INT64", id.shape, id)]
    return InferRequest(model=NAME, inputs=inputs, **more)


def asked(host, *questions):
    async def all_of_them():
        answers = await asyncio.gather(*(host.ask(each) for each in questions), return_exceptions=True)
        await settled(host)
        return answers

    return asyncio.run(all_of_them())


def logged(house):
    return [decode_batch(payload) for _, payload in house.predictions.scan()]


def test_named_arrays_are_answered_described_and_logged(house):
    deploy(house)
    host = host_of(house)
    (answer,) = asked(host, question(id=ID, version=None))
    assert [(each.name, each.datatype, each.data.tolist()) for each in answer.outputs] == [
        ("mean", "FP32", [1.5, 5.5, 9.5]),
        ("same", "INT64", [5, 6, 7]),
    ]
    told = host.metadata(NAME)
    assert [(each.name, each.datatype, each.shape) for each in told.inputs] == [
        ("image", "FP32", (-1, 2, 2)),
        ("id", "INT64", (-1,)),
    ]
    assert [each.name for each in told.outputs] == ["mean", "same", "version", "prediction_id"]
    assert told.platform == "kedge_onnx"
    record = logged(house)[-1]
    assert (record.versions, record.outputs, record.features) == ([1, 1, 1], [1.5, 5.5, 9.5], {"id": [5, 6, 7]})
    assert (record.tensors, record.roles) == ({"same": [5, 6, 7]}, {1: "champion"})
    wanted = [Wanted("version"), Wanted("mean"), Wanted("prediction_id")]
    (picked,) = asked(host, question(outputs=wanted))
    assert [each.name for each in picked.outputs] == ["version", "mean", "prediction_id"]
    assert picked.outputs[0].data.tolist() == [1, 1, 1]
    assert picked.outputs[2].data.tolist() == [f"{picked.id}.{row}" for row in range(3)]
    with pytest.raises(ModelRefused, match="cannot be computed again: its inputs image are not in the log"):
        house.evaluation.recompute(house.registry.servable(NAME, 1), record, row=0)
    assert onnx.__version__


def test_ground_truth_of_named_arrays_goes_by_prediction_or_by_entity(house):
    deploy(house)
    asked(host_of(house), question(entity="e-truth"))
    record = logged(house)[-1]
    waits = {"known_at": record.at, "horizon": timedelta(days=1), "within": timedelta(days=1)}
    by_id = house.ground_truth.tell(NAME, [1.0, 2.0], predictions=[f"{record.request}.0", f"{record.request}.1"], **waits)
    assert (by_id.recorded, by_id.unknown) == (2, 0)
    by_entity = house.ground_truth.tell(NAME, [3.0], entities=["e-truth"], times=[record.at + timedelta(minutes=1)], **waits)
    assert by_entity.recorded == 1
    rows = house.answers.select(PredictionQuery(entity="e-truth", columns=("id", "output", "output_same", "truth"))).sort(
        "id"
    )
    told = [(f"{record.request}.{row}", mean, row + 5, row + 1.0) for row, mean in enumerate((1.5, 5.5, 9.5))]
    assert rows.rows() == told


def test_a_version_on_trial_answers_its_share_and_a_shadow_answers_unused(house):
    deploy(house, challenger=2, share=1.0, salt="s")
    host = host_of(house)
    (answer,) = asked(host, question())
    assert (answer.version, answer.outputs[0].data.tolist()) == ("2", [15.0, 55.0, 95.0])
    (one,) = asked(host, question(variant="champion"))
    assert (one.version, logged(house)[-1].variant) == ("1", "champion")
    deploy(house, challenger=2, strategy=Strategy.SHADOW, salt="s")
    host = host_of(house)
    (answer,) = asked(host, question())
    assert answer.version == "1"
    one, copy = logged(house)[-2:]
    assert (one.shadow, copy.shadow, copy.variant) == ({}, {2: [15.0, 55.0, 95.0]}, "shadow")
    assert msgspec.structs.replace(copy, shadow={}, variant="", batches=one.batches, seconds=one.seconds) == one
    before = len(logged(house))
    (probe,) = asked(host, question(version=2))
    assert (probe.version, probe.parameters["logged"], len(logged(house))) == ("2", False, before)


def test_a_model_that_fails_harms_no_other_caller_and_a_challenger_nobody(house):
    deploy(house, challenger=2, share=1.0, salt="s")
    host = host_of(house)
    asked(host, question())

    def failing(loaded, inputs):
        if loaded.servable.number == 2 or len(inputs["id"]) == 1:
            raise ValueError("broken")
        return loaded.run(inputs)

    plane = host.planes[-1]
    plane._tensors._run = failing
    good, bad = asked(host, question(), question(IMAGE[:1], ID[:1]))
    assert (good.version, good.outputs[0].data.tolist()) == ("1", [1.5, 5.5, 9.5])
    assert logged(house)[-1].errors == dict.fromkeys(range(3), "ValueError: broken")
    assert isinstance(bad, ModelRefused)
    assert "the model failed on these inputs: ValueError: broken" in str(bad)


def test_what_the_log_has_whole_is_computed_again(house):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["squared"])],
        "g",
        [value("x", TensorProto.FLOAT, [None, 1])],
        [value("squared", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    x, out = np.array([[0.1], [0.2], [0.3]], np.float32), io.BytesIO()
    np.savez(out, x=x)
    about = json.dumps({"example": "e.npz"}).encode()
    house.given.register("square", {"n.onnx": model, "e.npz": out.getvalue(), "kedge.json": about}, actor="ana")
    deploy(house, ModelName("square"))
    asked(host_of(house), InferRequest(model="square", inputs=[Tensor("x", "FP32", (3, 1), x)]))
    record, servable = logged(house)[-1], house.registry.servable("square", 1)
    done = house.evaluation.recompute(servable, record, row=1)
    assert (done.equal, done.logged, done.batch_rows) == (True, record.outputs[1], 3)
    other = msgspec.structs.replace(record, outputs=[0.0] * 3)
    assert not house.evaluation.recompute(servable, other, row=1).equal
    for changes, why in (({"rows": [0, 1, 2]}, "some rows"), ({"hidden": ["x"]}, "its inputs x are not in the log")):
        with pytest.raises(ModelRefused, match=why):
            house.evaluation.recompute(servable, msgspec.structs.replace(record, **changes), row=1)


def test_a_challenger_that_cannot_be_loaded_fails_on_its_rows_and_the_champion_answers(house, monkeypatch):
    deploy(house, challenger=2, share=1.0, salt="s")
    take = house.loader.take_tensors

    def broken(model):
        if model.number == 2:
            raise ModelRefused("its file is torn")
        return take(model)

    monkeypatch.setattr(house.loader, "take_tensors", broken)
    (answer,) = asked(host_of(house), question())
    assert (answer.version, answer.outputs[0].data.tolist()) == ("1", [1.5, 5.5, 9.5])
    assert logged(house)[-1].errors[0] == "ModelRefused: it could not be loaded: its file is torn"


def test_each_version_is_timed_by_its_own_call(house):
    for strategy, waits in ((Strategy.BLUE_GREEN, True), (Strategy.SHADOW, False)):
        deploy(house, challenger=2, share=1.0, salt="s", strategy=strategy)
        host = host_of(house)
        asked(host, question())

        def slow(loaded, inputs):
            if loaded.servable.number == 2:
                threading.Event().wait(0.05)
            return loaded.run(inputs)

        host.planes[-1]._tensors._run = slow
        asked(host, question())
        seconds = logged(house)[-1].seconds
        assert seconds["challenger"] >= 0.05
        assert (seconds["predict"] >= 0.05) is waits


def test_a_record_that_cannot_be_made_fails_no_prediction(house, monkeypatch):
    deploy(house)
    host, before = host_of(house), len(logged(house))
    monkeypatch.setattr("kedge.serving.tensors._columns", lambda arrays, rows: 1 / 0)
    (answer,) = asked(host, question())
    assert (answer.outputs[0].data.tolist(), answer.parameters["logged"]) == ([1.5, 5.5, 9.5], False)
    assert (host.log.gap_rows, len(logged(house))) == (3, before)


def test_what_is_loaded_is_kept_in_one_place_and_goes_with_it(house):
    deploy(house)
    host = host_of(house)
    asked(host, question())
    (plane,) = host.planes
    opened = weakref.ref(plane.active.versions[1].tensors)
    assert opened() is not None
    house.loader._opened.clear()  # what other houses of this test have verified
    plane.unload(all=True)
    gc.collect()
    assert opened() is None
    assert asked(host, question())[0].version == "1", "it comes back"


def test_what_waits_is_bounded_and_has_a_deadline(house):
    deploy(house)
    host = host_of(house)
    asked(host, question())
    tensors, free = host.planes[-1]._tensors, threading.Event()

    def slow(loaded, inputs):
        free.wait(10)
        return loaded.run(inputs)

    tensors._run, tensors._most = slow, 2

    async def crowd():
        first = asyncio.ensure_future(host.ask(question()))
        late = asyncio.ensure_future(host.ask(question(deadline=monotonic() + 0.05)))
        third = asyncio.ensure_future(host.ask(question()))
        await asyncio.wait([late, third])
        assert host.metrics.segment.called > 0, "whoever watches sees a call that does not come back"
        free.set()
        await first
        while tensors.pending:
            await asyncio.sleep(0)
        assert host.metrics.segment.called == 0
        return await asyncio.gather(first, late, third, return_exceptions=True)

    first, late, third = asyncio.run(crowd())
    assert first.outputs[0].data.tolist() == [1.5, 5.5, 9.5]
    assert isinstance(late, DeadlineExceeded)
    assert isinstance(third, Overloaded)
    assert tensors.pending == 0


def test_the_same_id_and_body_counts_once_and_another_body_is_another_request(house):
    deploy(house)
    host, before = host_of(house), len(logged(house))
    (first,) = asked(host, question(id=ID), question(id=ID))[:1]
    named = [msgspec.structs.replace(question(), id="r1", body=body) for body in (b"1", b"1", b"2")]
    one, again, other = (asked(host, each)[0] for each in named)
    assert again is one
    assert other is not one
    assert first.id != "r1"
    assert logged(house)[before + 2].request == "r1"
    assert other.parameters["request"] == logged(house)[-1].request != "r1"
    assert len({record.request for record in logged(house)[before:]}) == 4


def test_an_answer_waits_for_the_sync_where_it_is_to(house):
    deploy(house)
    host = host_of(house, ack=Ack.SYNCED)
    (answer,) = asked(host, question())
    assert (host.log.lag_rows, "logged" in answer.parameters) == (0, False)


def test_one_matrix_holds_all_inputs_where_they_are_columns_of_numbers():
    kinds = {"a": "FP64", "n": "INT64", "f": "FP64"}
    signature = TensorSignature(
        inputs=tuple(
            TensorSpec(name=name, datatype=kind, shape=(-1,), nullable=name == "f") for name, kind in kinds.items()
        ),
        outputs=(),
    )
    rows = np.array([[1.5, 2.0, np.nan], [2.5, 3.0, 0.5]])
    arrays = read_arrays([Tensor("x", "FP64", (2, 3), rows)], signature)
    assert {name: array.dtype.name for name, array in arrays.items()} == {"a": "float64", "n": "int64", "f": "float64"}
    assert [arrays["a"].tolist(), arrays["n"].tolist(), arrays["f"][1]] == [[1.5, 2.5], [2, 3], 0.5]
    assert np.isnan(arrays["f"][0])
    whole = Tensor("x", "INT64", (1, 3), np.array([[1, 2, 3]]), np.array([[False, False, True]]))
    arrays = read_arrays([whole], signature)
    assert [arrays["a"].tolist(), arrays["n"].tolist(), bool(np.isnan(arrays["f"][0]))] == [[1.0], [2], True]
    for data, why in (
        (rows[:, :2], "input 'x': 2 columns, not 3: a, n, f in this order"),
        ([[1.5, 2.5, 0.0]], "input 'n': row 0: 2.5 is not a whole number"),
        ([[1.5, np.nan, 0.0]], "input 'n': row 0 has a missing"),
    ):
        matrix = np.array(data)
        with pytest.raises(RequestInvalid, match=why):
            read_arrays([Tensor("x", "FP64", matrix.shape, matrix)], signature)
    with pytest.raises(RequestInvalid, match="unknown input x"):
        read_arrays([Tensor("x", "FP64", (2, 3), np.zeros((2, 3)))], SIGNATURE)


SIGNATURE = TensorSignature(
    inputs=(
        TensorSpec(name="a", datatype="FP64", shape=(-1,)),
        TensorSpec(name="b", datatype="BYTES", shape=(-1, 2), nullable=True),
    ),
    outputs=(),
)
WHOLE = TensorSignature(inputs=(TensorSpec(name="n", datatype="INT64", shape=(-1, 2)),), outputs=())
A, B = (
    Tensor("a", "FP64", (2,), np.array([1.0, 2.0])),
    Tensor("b", "BYTES", (2, 2), np.array([["x", b"y"], ["z", None]], object)),
)


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ((A,), "missing input b; this model takes a, b"),
        ((A, B, Tensor("c", "FP64", (1,), np.ones(1))), "unknown input c"),
        ((A, A, B), "input given twice: a"),
        ((A, A), "input given twice: a"),
        ((Tensor("a", "FP32", (2,), np.ones(2, np.float32)), B), "input 'a': datatype FP32, not FP64"),
        ((Tensor("a", "FP64", (2, 3), np.ones((2, 3))), B), r"input 'a': shape \[2, 3\], not \[any\]"),
        ((Tensor("a", "FP64", (0,), np.ones(0)), B), "has nothing in it"),
        ((Tensor("a", "FP64", (3,), np.ones(3)), B), "inputs differ in their rows: 2, 3"),
        ((Tensor("a", "FP64", (2,), np.array([1.0, np.nan])), B), "input 'a': row 1 has a missing or infinite value"),
        (
            (Tensor("n", "INT64", (2, 2), np.ones((2, 2), np.int64), np.eye(2) < 1),),
            "input 'n': row 0, element 1 has a miss",
        ),
    ],
)
def test_what_does_not_fit_the_signature_is_said_with_what_was_expected(tensors, why):
    with pytest.raises(RequestInvalid, match=why):
        read_arrays(tensors, WHOLE if tensors[0].name == "n" else SIGNATURE)


def test_columns_come_flat_or_as_one_column_and_texts_as_text():
    arrays = read_arrays((Tensor("a", "FP64", (2, 1), np.array([[1.0], [2.0]])), B), SIGNATURE)
    assert (arrays["a"].tolist(), arrays["b"].tolist()) == ([1.0, 2.0], [["x", "y"], ["z", None]])

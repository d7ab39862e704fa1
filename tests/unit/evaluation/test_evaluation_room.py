import msgspec
import numpy as np
import polars as pl
import pytest
from tests.unit.evaluation.toys import DAY, UPTO, Blobs, Clock, ToyFormat, candidate, flights, frame, spec
from tests.unit.registry.versions import version_of

from kedge.domain.evaluation import Check, GateRules, Outcome, Task
from kedge.domain.events import EventKind
from kedge.domain.ids import ModelName, RequestId
from kedge.domain.monitoring import PredictionBatch
from kedge.domain.registry import servable_of
from kedge.errors import ConfigError, ModelRefused, NotFound
from kedge.evaluation.load import ModelLoader
from kedge.evaluation.parity import ComparedForm
from kedge.evaluation.room import Evaluation
from kedge.storage.sql import open_store


@pytest.fixture
def store():
    with_memory = open_store("sqlite://")
    yield with_memory
    with_memory.close()


@pytest.fixture
def blobs():
    return Blobs()


@pytest.fixture
def form():
    return ToyFormat()


@pytest.fixture
def room(store, blobs, form):
    return Evaluation(blobs=blobs, loader=ModelLoader(blobs=blobs, formats=(form,)), events=store.events, clock=Clock())


def judged(store):
    return [event for _, event in store.events.list() if event.kind is EventKind.GATE_JUDGED]


def test_a_model_is_loaded_once_and_answers_frames_and_columns_alike(room, blobs, form):
    model = candidate(blobs, 0.5, 0.1)
    assert room.score(model, pl.DataFrame({"p": [0.0, 1.0]})).tolist() == [0.1, 0.6]
    assert room.score(model, {"p": [1.0]}).tolist() == [0.6]
    assert room.score(model, {"p": []}).tolist() == []
    assert form.loads == 1


def test_only_the_models_used_last_are_kept(room, blobs, form):
    models = [candidate(blobs, shift=float(n)) for n in range(9)]
    for model in (*models, models[8], models[0]):
        room.score(model, {"p": [1.0]})
    assert form.loads == 10


def test_an_unknown_format_and_a_wrong_shape_are_refused(room, blobs, form):
    with pytest.raises(ModelRefused, match="reads toy"):
        room.score(candidate(blobs, kind="pickle"), {"p": [1.0]})
    form.load = lambda files, signature: type("Flat", (), {"predict": lambda self, matrix: np.zeros((1, 2))})()
    with pytest.raises(ModelRefused, match="not one answer a row"):
        room.score(candidate(blobs, 9.0), {"p": [1.0]})


def test_the_gate_judges_once_and_reads_its_verdict_again(room, store, blobs, form):
    model, on = candidate(blobs), frame(flights())
    verdict = room.gate(spec(), model, against=None, on=on)
    again = room.gate(spec(), model, against=None, on=on)
    assert verdict.passed
    assert again == verdict
    [event] = judged(store)
    assert event.facts["outcome"] == "passed"
    assert event.facts["run"] == "run-1"
    assert event.message == "The gate passed run run-1: 3 findings, all passed"
    [edge] = event.edges
    assert (edge.made.id, edge.source.id, edge.role) == (event.facts["verdict"], "run-1", "judged")


def test_other_rules_are_another_verdict(room, store, blobs):
    model, on = candidate(blobs), frame(flights())
    room.gate(spec(), model, against=None, on=on)
    strict = spec(gate=GateRules(checks=(Check(metric="roc_auc", at_least=0.99),)))
    assert room.gate(strict, model, against=None, on=on).outcome is Outcome.REFUSED
    assert len(judged(store)) == 2


def test_the_champion_is_compared_on_rows_that_it_has_not_seen(room, blobs):
    on = frame(flights())
    old = version_of(candidate(blobs, 0.2, 0.3), trained_upto=UPTO - 30 * DAY)
    assert room.gate(spec(), candidate(blobs), against=old, on=on).passed
    assert (
        room.gate(spec(), candidate(blobs, 0.2, 0.3), against=version_of(candidate(blobs)), on=on).outcome is Outcome.REFUSED
    )
    fresh = version_of(candidate(blobs, 0.2, 0.3), trained_upto=UPTO - 2 * DAY)
    verdict = room.gate(spec(), candidate(blobs), against=fresh, on=on)
    assert verdict.outcome is Outcome.HELD
    assert "only 2 days" in verdict.reasons[0]


def test_a_champion_whose_columns_are_gone_holds(room, blobs):
    gone = version_of(candidate(blobs, column="wind"))
    verdict = room.gate(spec(), candidate(blobs), against=gone, on=frame(flights()))
    assert "columns that these rows lack: wind" in verdict.reasons[0]
    assert room.gain(spec(), candidate(blobs), over=gone, on=frame(flights())) is None


def test_a_turn_killed_after_its_release_finds_the_verdict_it_had(room, store, blobs):
    """The refit is champion by then and has seen all the rows: comparing with it would hold a turn that was through."""
    model, refit, on = candidate(blobs), candidate(blobs, 0.98, 0.001, run="run-2", upto=UPTO), frame(flights())
    verdict = room.gate(spec(), model, against=None, on=on)
    agreed = room.require_agreement(spec(), refit, candidate=model, on=on, after=verdict)
    released = msgspec.structs.replace(version_of(refit), candidate_run=model.run, verdict=agreed)
    again = room.gate(spec(), model, against=released, on=on)
    assert again == verdict
    assert room.require_agreement(spec(), refit, candidate=model, on=on, after=again) == agreed
    assert len(judged(store)) == 2


def test_slices_read_columns_of_the_rows_and_null_is_a_group(room, blobs):
    rows = flights().with_columns(
        pl.when(pl.col("carrier") == "AA").then(None).otherwise(pl.col("carrier")).alias("carrier")
    )
    rules = GateRules(checks=(Check(slices=("carrier",), metric="roc_auc", worst_at_least=0.99),))
    verdict = room.gate(spec(gate=rules), candidate(blobs), against=None, on=frame(rows))
    assert verdict.findings[1].group in ("carrier=missing", "carrier=UA")
    unknown = GateRules(checks=(Check(slices=("port",), worst_at_least=0.5),))
    with pytest.raises(ConfigError, match="port"):
        room.gate(spec(gate=unknown), candidate(blobs), against=None, on=frame(rows))


def test_rows_without_a_label_are_left_out(room, blobs):
    rows = flights().with_columns(pl.when(pl.col("late").cum_count() > 100).then(pl.col("late")).alias("late"))
    verdict = room.gate(spec(), candidate(blobs), against=None, on=frame(rows))
    assert verdict.findings[0].rows == 600


def test_agreement_adds_one_finding_and_one_event(room, store, blobs):
    model, refit, on = candidate(blobs), candidate(blobs, 0.98, 0.001, run="run-2"), frame(flights())
    verdict = room.gate(spec(), model, against=None, on=on)
    agreed = room.require_agreement(spec(), refit, candidate=model, on=on, after=verdict)
    assert agreed.passed
    assert agreed.findings[:-1] == verdict.findings
    assert agreed.findings[-1].check == "agreement"
    assert room.require_agreement(spec(), refit, candidate=model, on=on, after=verdict) == agreed
    assert [event.facts["stage"] for event in judged(store)] == ["agreement", "gate"]
    broken = candidate(blobs, -1.0, 1.0, run="run-3")
    assert room.require_agreement(spec(), broken, candidate=model, on=on, after=verdict).outcome is Outcome.REFUSED


def test_gain_is_the_loss_saved_a_row_and_the_difference_of_ages(room, blobs):
    old = version_of(candidate(blobs, 0.2, 0.3), trained_upto=UPTO - 21 * DAY)
    gain = room.gain(spec(), candidate(blobs), over=old, on=frame(flights()))
    assert gain.mean > 0
    assert (gain.rows, gain.gap, gain.cpu_seconds) == (700, 2.0, 2.0)
    assert room.gain(spec(), candidate(blobs), over=None, on=frame(flights())) is None
    seen = version_of(candidate(blobs), trained_upto=UPTO)
    assert room.gain(spec(), candidate(blobs), over=seen, on=frame(flights())) is None
    broken = candidate(blobs, float("nan"))
    assert room.gain(spec(), broken, over=old, on=frame(flights())) is None


def batch(versions, outputs, batches, shadow=None):
    return PredictionBatch(
        request=RequestId("flights-11"),
        model=ModelName("flights"),
        at=UPTO,
        revision=1,
        service="delay",
        entities=["a", "b", "c"],
        versions=versions,
        features={"p": [0.1, 0.2, 0.3]},
        as_of={},
        outputs=outputs,
        batches=batches,
        shadow=shadow or {},
    )


def test_a_logged_answer_is_computed_again_bit_for_bit_in_its_batch(room, blobs):
    first, second = version_of(candidate(blobs)), version_of(candidate(blobs, 2.0), number=2)
    logged = batch([1, 2, 1], [0.1, 0.4, 0.3], [(1, [0, 2]), (2, [1])])
    found = room.recompute(first, logged, row=2)
    assert (found.again, found.logged, found.equal, found.batch_rows) == (0.3, 0.3, True, 2)
    assert room.recompute(second, logged, row=1).batch_rows == 1
    other = batch([1, 1, 1], [0.1, 0.2, np.nextafter(0.3, 1)], [(1, [0, 1, 2])])
    assert not room.recompute(first, other, row=2).equal
    with pytest.raises(NotFound, match="did not answer row 0"):
        room.recompute(second, logged, row=0)


def test_an_answer_that_minds_its_neighbours_is_computed_again_in_the_whole_call(store, blobs):
    class Sociable:
        def answer(self, model, matrix):
            return matrix[:, 0] + matrix.mean()

    room = Evaluation(blobs=blobs, loader=Sociable(), events=store.events, clock=Clock())
    version, values = version_of(candidate(blobs)), ([0.5, 0.25, 1.0], [2.0, 4.0, 8.0])
    used = [(1, [0, 1]), (1, [0, 1, 2])]
    mean = (0.5 + 0.25 + 2 + 4 + 8) / 5
    first, second = (
        msgspec.structs.replace(
            batch([1, 1, 1], [value + mean for value in mine], [rows]), features={"p": mine}, calls={1: ("call", place, 2)}
        )
        for place, (mine, rows) in enumerate(zip(values, used, strict=True))
    )
    alone = room.recompute(version, second, row=2)
    assert (alone.equal, alone.batch_rows) == (False, 3)
    for logged, row in ((first, 1), (second, 0), (second, 2)):
        found = room.recompute(version, logged, row=row, call=lambda: [first, second])
        assert (found.equal, found.batch_rows) == (True, 5)


def test_a_shadow_answer_is_computed_again_too(room, blobs):
    second = version_of(candidate(blobs, 2.0), number=2)
    logged = batch([1, 1, 1], [0.1, 0.2, 0.3], [(1, [0, 1, 2]), (2, [0, 1, 2])], shadow={2: [0.2, 0.4, 0.6]})
    assert room.recompute(second, logged, row=1).equal


def test_an_answer_in_a_form_that_is_not_there_is_not_computed_in_another(room, blobs):
    version = version_of(candidate(blobs))
    logged = msgspec.structs.replace(batch([1], [0.1], [(1, [0])]), forms={1: "treelite"})
    for model in (version, servable_of(version)):
        with pytest.raises(ModelRefused, match="answered in the form 'treelite'"):
            room.recompute(model, logged, row=0)


def test_regression_takes_squared_errors_where_no_metric_was_set(room, blobs):
    rows = flights().with_columns(pl.col("p").mul(10).add(1).alias("late"))
    good = candidate(blobs, 10.0, 1.1, task=Task.REGRESSION)
    verdict = room.gate(spec(), good, against=None, on=frame(rows, task=Task.REGRESSION))
    assert "squared_error" in verdict.findings[1].reason


def test_a_candidate_is_compiled_where_a_check_asks_and_not_else(store, blobs):
    asked = []

    def compare(one):
        asked.append(one)
        return ComparedForm(form="onnx", rows=9, difference=0.0)

    loader = ModelLoader(blobs=blobs, formats=(ToyFormat(),))
    room = Evaluation(blobs=blobs, loader=loader, events=store.events, clock=Clock(), compare=compare)
    rules = GateRules(checks=(Check(parity="compiled", at_most=0.0), Check(beats="baseline")))
    verdict = room.gate(spec(gate=rules), candidate(blobs), against=None, on=frame(flights()))
    assert [finding.check for finding in verdict.findings][1] == "parity of the compiled form"
    assert verdict.findings[1].outcome is Outcome.PASSED
    assert (asked[0].format, asked[0].rows.shape) == ("toy", (20, 1))
    room.gate(spec(), candidate(blobs, run="other"), against=None, on=frame(flights()))
    assert len(asked) == 1

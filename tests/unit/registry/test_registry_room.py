import json

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.unit.evaluation.toys import DAY, Blobs, Clock, Tables, ToyFormat, candidate, flights, frame, spec
from tests.unit.registry.versions import PASSED

from kedge.domain.evaluation import Finding, Outcome, conclude
from kedge.domain.events import EventKind
from kedge.domain.ids import ModelName
from kedge.domain.lineage import Node, NodeKind
from kedge.errors import AliasConflict, ModelRefused, NotFound
from kedge.evaluation.load import ModelLoader
from kedge.evaluation.room import Evaluation
from kedge.registry.holders import previous_holder
from kedge.registry.room import Registry
from kedge.storage.sql import open_store

MODEL = ModelName("flights")


@pytest.fixture
def store():
    memory = open_store("sqlite://")
    yield memory
    memory.close()


@pytest.fixture
def blobs():
    return Blobs()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(store, blobs, clock):
    evaluation = Evaluation(
        blobs=blobs, loader=ModelLoader(blobs=blobs, formats=(ToyFormat(),)), events=store.events, clock=clock
    )
    return Registry(models=store.models, blobs=blobs, tables=Tables(), evaluation=evaluation, clock=clock)


@pytest.fixture
def register(registry, blobs):
    def make(run="final-1", scale=0.9, **changes):
        final = candidate(blobs, scale, run=run)
        return registry.register(
            spec(), final, candidate(blobs, run="tested"), changes.get("verdict", PASSED), frame(flights())
        )

    return make


def test_a_version_holds_all_that_made_it(register, registry, store, blobs):
    version = register()
    assert (version.number, version.run, version.candidate_run, version.service) == (1, "final-1", "tested", "delay")
    assert version.datasets == ("d1", "d2")
    assert registry.get(MODEL, 1) == version
    sources = {
        (edge.source.kind, edge.source.id, edge.role)
        for edge in store.events.sources(Node(NodeKind.MODEL_VERSION, "flights@1"))
    }
    assert (NodeKind.RUN, "final-1", "refit") in sources
    assert (NodeKind.RUN, "tested", "candidate") in sources
    assert {(NodeKind.DATASET_VERSION, name, "training data") for name in ("d1", "d2")} <= sources
    [verdict] = [source for kind, source, _ in sources if kind is NodeKind.VERDICT]
    assert json.loads(blobs.get(verdict))["outcome"] == "passed"


def test_the_example_has_rows_of_the_newest_step_with_their_answers(register, blobs):
    example = Tables().decode(blobs.get(register().example))
    assert example.columns == ["p", "late"]
    assert len(example) == 20
    assert np.array_equal(example["late"].to_numpy(), 0.9 * example["p"].to_numpy() + 0.0)


def test_fewer_rows_make_a_shorter_example(registry, blobs):
    few = frame(flights().tail(3))
    version = registry.register(spec(), candidate(blobs, run="few"), candidate(blobs), PASSED, few)
    assert len(Tables().decode(blobs.get(version.example))) == 3
    registry.verify(version)


def test_verify_stops_a_version_that_answers_otherwise(register, registry, blobs):
    version = register()
    registry.verify(version)
    registry.verify(registry.servable(MODEL, version.number))
    example = Tables().decode(blobs.get(version.example))
    nudged = example.with_columns(pl.Series("late", np.nextafter(example["late"].to_numpy(), 1)))
    blobs.kept[version.example] = Tables().encode(nudged)
    with pytest.raises(ModelRefused, match="otherwise than at registration"):
        registry.verify(version)
    with pytest.raises(ModelRefused, match="otherwise than at registration"):
        registry.verify(registry.servable(MODEL, version.number))


def test_the_same_run_is_the_same_version_and_another_run_the_next(register, store):
    first = register()
    assert register() == first
    assert register("final-2", 0.8).number == 2
    assert len(store.models.list(MODEL)) == 2
    assert sum(event.kind is EventKind.MODEL_REGISTERED for _, event in store.events.list()) == 2


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.HELD])
def test_what_did_not_pass_is_not_registered(register, outcome):
    verdict = conclude((Finding(check="slices", outcome=outcome, reason="JFK is bad"),))
    with pytest.raises(ModelRefused, match="JFK is bad"):
        register(verdict=verdict)


def test_there_is_no_champion_before_a_promotion(register, registry):
    register()
    assert registry.champion(MODEL) is None
    with pytest.raises(NotFound, match="no version 7"):
        registry.promote(MODEL, 7, actor="ada", reason="try")


def three(register, registry):
    for number in (1, 2, 3):
        register(f"final-{number}", 1 / number)
        registry.promote(MODEL, number, actor="policy:ledger", reason=f"turn {number}")


def test_promotions_are_kept_with_their_actors_and_happen_once(register, registry, store):
    three(register, registry)
    registry.promote(MODEL, 3, actor="ada", reason="again")
    assert registry.champion(MODEL).number == 3
    moves = registry.history(MODEL)
    assert [(move.previous, move.number, move.serial) for move in moves] == [(None, 1, 1), (1, 2, 2), (2, 3, 3)]
    assert {move.actor for move in moves} == {"policy:ledger"}
    assert sum(event.kind is EventKind.ALIAS_MOVED for _, event in store.events.list()) == 3


def test_rolling_back_twice_goes_two_back_and_never_forth(register, registry):
    three(register, registry)
    assert registry.roll_back(MODEL, actor="ada", reason="bad") == 2
    assert registry.roll_back(MODEL, actor="ada", reason="worse") == 1
    with pytest.raises(NotFound, match="no champion before"):
        registry.roll_back(MODEL, actor="ada", reason="worst")
    registry.promote(MODEL, 3, actor="ada", reason="it was not")
    assert registry.roll_back(MODEL, actor="ada", reason="it was") == 1


def test_an_alias_that_was_taken_away_goes_back_to_its_last_holder(register, registry):
    three(register, registry)
    taken = msgspec.structs.replace(registry.history(MODEL)[-1], number=None, previous=3, serial=4)
    assert previous_holder([*registry.history(MODEL), taken]) == 3
    given = msgspec.structs.replace(taken, number=3, previous=None, serial=5)
    assert previous_holder([*registry.history(MODEL), taken, given]) == 2


class Meddling:
    """Models whose alias is moved by someone else just before the first move."""

    def __init__(self, models, number):
        self.models, self.number = models, number

    def __getattr__(self, name):
        return getattr(self.models, name)

    def move(self, move, event):
        if self.number is not None:
            theirs, self.number = self.number, None
            other = type(move)(**{**{f: getattr(move, f) for f in move.__struct_fields__}, "number": theirs})
            self.models.move(other, replace_key(event))
        self.models.move(move, event)


def replace_key(event):
    return type(event)(**{**{f: getattr(event, f) for f in event.__struct_fields__}, "key": "another"})


@pytest.mark.parametrize(("theirs", "ends_at"), [(1, 2), (3, 3)])
def test_a_conflict_is_tried_again_unless_a_newer_version_won(register, registry, store, blobs, clock, theirs, ends_at):
    for number in (1, 2, 3):
        register(f"final-{number}", 1 / number)
    evaluation = Evaluation(
        blobs=blobs, loader=ModelLoader(blobs=blobs, formats=(ToyFormat(),)), events=store.events, clock=clock
    )
    raced = Registry(models=Meddling(store.models, theirs), blobs=blobs, tables=Tables(), evaluation=evaluation, clock=clock)
    if theirs == 3:
        with pytest.raises(AliasConflict):
            raced.promote(MODEL, 2, actor="ada", reason="mine")
    else:
        raced.promote(MODEL, 2, actor="ada", reason="mine")
    assert registry.champion(MODEL).number == ends_at


def test_a_race_for_the_same_run_ends_with_one_version(register, store):
    """The other process has written the version of this run just after we looked."""
    first = register()
    listed = store.models.list
    calls = iter([[], listed(MODEL)])
    store.models.list = lambda model: next(calls)
    assert register() == first


def test_times_come_from_the_clock(register, clock):
    clock.time += DAY
    assert register().registered_at == clock.time

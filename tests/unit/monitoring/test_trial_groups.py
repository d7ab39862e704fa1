"""What labels say of a trial, by day, slice and random group of entities: both sides, a shadow's copies, no testers."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from tests.unit.evaluation.toys import spec

from kedge.domain.ids import ModelName
from kedge.domain.monitoring import PredictionBatch
from kedge.domain.records import decode_answers, encode_batch
from kedge.domain.rollout import Deployment, RolloutRules, Strategy, group_of
from kedge.errors import RequestInvalid
from kedge.evaluation.value import value_rows
from kedge.monitoring.quality.losses import losses_of
from kedge.monitoring.quality.trial import SLICE_GROUPS, add_groups
from kedge.monitoring.state import MonitorState
from kedge.monitoring.truth.join_labels import Answered, Label, Labelled, Record

AT = datetime(2013, 3, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = RolloutRules(slices=("carrier",), value="CASE WHEN prediction > 0.5 THEN truth * dist ELSE 0 END")
TRIAL = Deployment(
    model=ModelName("flights"), revision=4, champion=1, challenger=2, since=AT, actor="a", reason="r", rules=RULES
)


def labelled(name, at=AT, revision=4, versions=(1, 2), outputs=(0.9, 0.2), variant="", **more):
    batch = PredictionBatch(
        request=name,
        model=TRIAL.model,
        at=at,
        revision=revision,
        service="",
        entities=[f"{name}-a", f"{name}-b"],
        versions=list(versions),
        features={"carrier": ["AA", "UA"], "dist": [100.0, 200.0]},
        as_of={},
        outputs=list(outputs),
        batches=[],
        variant=variant,
        **more,
    )
    payload = encode_batch(batch)
    read, record = decode_answers(payload), Record("s", 0, 1, 0)
    same = ("request", "at", "revision", "versions", "shadow", "errors", "seconds", "variant")
    facts = {field: getattr(read, field) for field in same}
    answered = Answered(**facts, outputs=list(read.outputs), record=record, payload=payload, labels={}, open=2)
    return [Labelled(answered, row, Label(1.0, at + DAY, record)) for row in (0, 1)]


def summed(*rows, trial=TRIAL, state=None, began=3):
    state = state or MonitorState(first=AT)
    losses = losses_of([one for each in rows for one in each], "log_loss", threshold=0.5)
    summed.notes = add_groups(state, losses, trial=trial, began=began, spec=spec())
    return state


def test_rows_are_summed_by_day_side_group_and_slice_with_their_worth():
    state = summed(labelled("r"))
    whole = [one for one in state.groups if not one.slice]
    assert [(one.version, one.group, one.rows) for one in whole] == [(1, group_of("r-a"), 1), (2, group_of("r-b"), 1)]
    assert [one.loss for one in whole] == pytest.approx([-np.log(0.9), -np.log(0.2)])
    assert [one.value for one in whole] == [100.0, 0.0]
    slices = {one.slice: (one.version, one.group) for one in state.groups if one.slice}
    assert slices == {"carrier=AA": (1, group_of("r-a") % SLICE_GROUPS), "carrier=UA": (2, group_of("r-b") % SLICE_GROUPS)}
    again = summed(labelled("r2", at=AT + DAY), state=state)
    assert sum(one.rows for one in again.groups if not one.slice) == 4
    assert len({one.day for one in again.groups}) == 2


def test_a_shadows_copies_count_for_their_version():
    state = summed(labelled("r", versions=(1, 1), shadow={2: [0.5, float("nan")]}))
    rows = {(one.version, one.group): one.rows for one in state.groups if not one.slice}
    assert rows == {(1, group_of("r-a")): 1, (1, group_of("r-b")): 1, (2, group_of("r-a")): 1}


def test_in_a_shadow_only_pairs_are_compared():
    shadow = msgspec.structs.replace(TRIAL, strategy=Strategy.SHADOW)
    both, one = labelled("r", versions=(1, 1), shadow={2: [0.5, 0.4]}), labelled("left-out", versions=(1, 1))
    rows = [(one.version, one.group, one.rows) for one in summed(both, one, trial=shadow).groups if not one.slice]
    assert rows == [(version, group_of(entity), 1) for entity in ("r-a", "r-b") for version in (1, 2)]


def test_testers_and_rows_from_before_the_trial_do_not_count_and_without_a_trial_nothing_is_kept():
    state = summed(labelled("r", variant="challenger"), labelled("old", revision=2))
    assert state.groups == []
    state = summed(labelled("r"))
    assert summed(state=state, trial=None).groups == []
    state = summed(labelled("r"))
    assert summed(state=state, began=9).groups == [], "another trial begins anew"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(summed(labelled("r"))), type=MonitorState).groups


def test_a_value_that_cannot_be_computed_says_why_and_stops_no_measuring():
    fare = msgspec.structs.replace(TRIAL, rules=msgspec.structs.replace(RULES, value="prediction * fare"))
    state = summed(labelled("r"), trial=fare)
    assert {one.value for one in state.groups} == {0.0}
    assert "cannot be computed on the served rows" in summed.notes[0]
    numbers = np.array([0.7, 0.2])
    with pytest.raises(RequestInvalid, match="cannot be computed on the served rows"):
        value_rows("prediction * fare", {}, predictions=numbers, truths=numbers)
    assert value_rows("prediction * 2", {}, predictions=numbers, truths=numbers).tolist() == [1.4, 0.4]

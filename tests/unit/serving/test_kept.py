"""What is logged of a request: the sampled entities' rows, without personal values."""

from types import SimpleNamespace

import msgspec
import numpy as np
from tests.unit.memory_journal import MemoryJournal
from tests.unit.storage.answers import START, answered

from kedge.domain.data import ColumnNote, Dataset, DatasetKind
from kedge.domain.monitoring import Matrix
from kedge.domain.predictions import Personal, hashed
from kedge.domain.project import DataRules, ProjectSpec
from kedge.domain.records import decode_batch, encode_batch
from kedge.domain.rollout import position
from kedge.domain.rows import taken
from kedge.domain.stencils import LikeRecord, Stencil
from kedge.serving.kept import ANY, SALT, LogFilter, log_of

KEY = b"k" * 32


def kept(share=1.0, personal=(), how=Personal.HASH, sticky=""):
    return LogFilter(share=share, personal=lambda: {ANY: personal}, how=how, key=lambda: KEY, sticky=sticky)


def one(keep, batch):
    """What is logged of one request; None for nothing."""
    return next(iter(keep([batch])), None)


def test_without_marks_and_sampling_all_is_logged():
    batches = [answered(1), answered(2)]
    assert kept()(batches) is batches


def test_an_entity_is_sampled_for_good_and_the_share_is_written():
    batch = answered(3, 300, features={"x": list(range(300))}, as_of={}, shadow={5: [0.5] * 300})
    some = one(kept(share=0.25), batch)
    more = one(kept(share=0.5), batch)
    assert 40 < len(some.versions) < 110
    assert {*some.entities} < {*more.entities}, "a greater share keeps the entities of the smaller one"
    assert all(position(SALT, entity) < 0.25 for entity in some.entities)
    assert some.share == 0.25
    assert some.features["x"] == some.rows == [int(entity.partition("-")[2]) for entity in some.entities]
    assert some.batches == [(3, list(range(len(some.versions))))]
    assert len(some.shadow[5]) == len(some.versions)
    assert some.prediction(1) == f"r-3.{some.rows[1]}"


def test_a_row_without_an_entity_is_sampled_by_itself():
    batch = answered(3, 100, entities=[], features={}, as_of={}, matrix=Matrix(("x",), np.arange(100.0).reshape(100, 1)))
    some = one(kept(share=0.5), batch)
    assert 20 < len(some.versions) < 80
    assert decode_batch(encode_batch(some)).features["x"] == [float(row) for row in some.rows]
    assert some.entity(0) == some.prediction(0)


def test_of_a_request_whose_entities_are_not_sampled_nothing_is_logged():
    entity = next(f"e{number}" for number in range(100) if position(SALT, f"e{number}") > 0.5)
    assert one(kept(share=0.5), answered(1, 1, entities=[entity])) is None


def test_personal_columns_are_hashed_with_the_stores_key():
    batch = answered(1, inputs={"passenger": ["Ann", None], "flight_id": [1, 2]})
    hidden = one(kept(personal={"passenger", "carrier", "elsewhere"}), batch)
    assert hidden.hidden == ["carrier", "passenger"]
    assert hidden.inputs == {"passenger": [hashed(KEY, "Ann"), None], "flight_id": [1, 2]}
    assert hidden.features == {"x": [0.5, 0.5], "carrier": [hashed(KEY, "AA"), None]}
    assert hidden.entities == batch.entities
    assert b"Ann" not in encode_batch(hidden)
    assert hashed(KEY, "Ann") != hashed(b"other", "Ann")


def test_personal_columns_are_left_out():
    batch = answered(1, inputs={"passenger": ["Ann", "Bob"]})
    hidden = one(kept(personal={"passenger", "x"}, how=Personal.LEAVE_OUT), batch)
    assert (hidden.inputs, [*hidden.features], hidden.hidden) == ({}, ["carrier"], ["passenger", "x"])


def test_entities_of_a_personal_column_are_hashed():
    hidden = one(kept(personal={"email"}, sticky="email"), answered(1, entities=["a@b.c", "d@e.f"]))
    assert hidden.entities == [hashed(KEY, "a@b.c"), hashed(KEY, "d@e.f")]
    assert hidden.hidden == ["email"]


def test_a_personal_column_of_a_matrix_leaves_it():
    batch = answered(1, features={}, matrix=Matrix(("age", "x"), np.array([[31.0, 1.5], [np.nan, 2.5]])))
    hidden = decode_batch(encode_batch(one(kept(personal={"age"}), batch)))
    assert hidden.features["x"] == [1.5, 2.5]
    assert hidden.features["age"][0] == hashed(KEY, 31), "31.0 is the 31 of a table"
    plain = one(kept(personal={"other"}), batch)
    assert plain.matrix is batch.matrix


def test_marks_are_asked_again_and_the_last_known_stay_where_they_cannot_be(monkeypatch):
    marks, now = [{"x"}], [0.0]

    def personal():
        if marks[0] is None:
            raise OSError("gone")
        return {ANY: marks[0]}

    monkeypatch.setattr("kedge.serving.kept.monotonic", lambda: now[0])
    keep = LogFilter(share=1, personal=personal, how=Personal.HASH, key=lambda: KEY, sticky="")
    marks[0] = {"carrier"}
    assert one(keep, answered(1)).hidden == ["x"]
    now[0] = 31
    assert one(keep, answered(1)).hidden == ["carrier"]
    marks[0], now[0] = None, 62
    assert one(keep, answered(1)).hidden == ["carrier"]


def test_marks_of_the_projects_dataset_are_its_models_and_those_of_any_dataset_every_other_models():
    """No loop says which dataset a model that was registered by hand is of: what is marked anywhere is hidden."""
    entries = [marked("flights", "carrier"), marked("people", "x")]
    house = SimpleNamespace(
        spec=ProjectSpec(name="flights", data=DataRules(source="f.csv", time="at", label="late", label_delay="1d")),
        meta=SimpleNamespace(datasets=SimpleNamespace(entries=lambda: entries)),
        secret=lambda: KEY,
        predictions=MemoryJournal(),
    )
    log = log_of(house, "")
    for model in ("flights", "by-hand"):
        log.append_all([answered(1, model=model)])
    assert [decode_batch(payload).hidden for _, payload in house.predictions.scan()] == [["carrier"], ["carrier", "x"]]


def marked(dataset, column):
    notes = (ColumnNote(name=column, personal=True),)
    return Dataset(name=dataset, kind=DatasetKind.TABLE, created_at=START, columns=notes)


def test_taking_some_rows_keeps_what_belongs_to_them():
    batch = answered(
        2,
        3,
        versions=[3, 4, 3],
        batches=[(3, [0, 2]), (4, [1])],
        errors={1: "boom", 2: "bang"},
        tensors={"v": [[1], [2], [3]]},
        inputs={"id": ["a", "b", "c"]},
    )
    some = taken(batch, [0, 2])
    assert some.batches == [(3, [0, 1]), (4, [])]
    assert some.errors == {1: "bang"}
    assert (some.tensors, some.inputs, some.rows) == ({"v": [[1], [3]]}, {"id": ["a", "c"]}, [0, 2])
    assert taken(some, [1]).rows == [2]
    assert taken(batch, [0, 1, 2]) is batch
    assert msgspec.structs.replace(some, rows=[]).versions == [3, 3]


def test_a_record_of_a_stencil_is_kept_as_the_batch_that_it_stands_for():
    values = np.array([[31.0, 1.5], [32.0, 2.5]])
    shared = {"features": {}, "as_of": {}, "matrix": Matrix(("age", "x"), values), "outputs": np.array([0.25, 0.75])}
    record = LikeRecord(Stencil(answered(1, **shared)), "r-9", START, shared["outputs"], {}, ["a", "b"], values, {})
    assert one(kept(), record) is record, "nothing is in its way"
    hidden = one(kept(personal={"age"}), record)
    assert (hidden.request, hidden.hidden, hidden.features["age"][0]) == ("r-9", ["age"], hashed(KEY, 31))
    some = one(kept(share=(position(SALT, "a") + position(SALT, "b")) / 2), record)
    assert len(some.rows) == 1, "one of the two entities is sampled"

"""Ground truth as it arrives: by prediction or by entity and time; each fact counted once, and recorded once."""

from datetime import timedelta

import polars as pl
import pytest
from tests.unit.monitoring.test_answer_log import KEY, World
from tests.unit.storage.answers import START, answered

from kedge.domain.predictions import PredictionRules, hashed
from kedge.domain.records import decode_truth, encode_batch
from kedge.errors import RequestInvalid
from kedge.monitoring.truth.ground_truth import GroundTruth

DAY = timedelta(days=1)
HORIZON, WITHIN = 100 * DAY, 30 * DAY


class Truths(World):
    """A log with a room for facts."""

    def __init__(self, folder):
        super().__init__(folder)
        self.journal = self.truths.journal("t")
        self.room = self.another()

    def another(self):
        return GroundTruth(
            predictions=self.predictions.archive,
            truths=self.truths.archive,
            journal=self.journal,
            watches=self.meta.watches,
            secret=lambda: KEY,
            home="flights",
        )

    def by_id(self, *facts, known_at=START + DAY, **more):
        frame = pl.DataFrame(
            [(name, value, known_at) for name, value in facts],
            schema={"id": pl.String, "value": pl.Float64, "known_at": pl.Datetime("us", "UTC")},
            orient="row",
        )
        return self.room.record("flights", frame, **{"horizon": HORIZON, "within": WITHIN} | more)

    def by_entity(self, *facts, **more):
        frame = pl.DataFrame(
            [(entity, time, value, START + DAY) for entity, time, value in facts],
            schema={
                "entity": pl.String,
                "time": pl.Datetime("us", "UTC"),
                "value": pl.Float64,
                "known_at": pl.Datetime("us", "UTC"),
            },
            orient="row",
        )
        return self.room.record("flights", frame, **{"horizon": HORIZON, "within": WITHIN} | more)

    def kept(self):
        batches = [decode_truth(payload) for _, payload in self.truths.journal("reader").scan()]
        return [fact for batch in batches for fact in zip(batch.predictions, batch.values, strict=True)]


@pytest.fixture
def world(tmp_path):
    made = Truths(tmp_path)
    made.answer(answered(1), answered(2))
    made.log.compact(PredictionRules())
    made.answer(answered(3), answered(4, model="other"))
    return made


def counts(report):
    found = {name: getattr(report, name) for name in report.__struct_fields__ if name not in ("examples", "looked_up")}
    return {name: count for name, count in found.items() if count}


def test_facts_are_recorded_once_whatever_comes_again(world):
    report = world.by_id(("r-1.0", 1.0), ("r-3.1", 0.0))
    assert counts(report) == {"recorded": 2}
    report = world.by_id(("r-1.0", 1.0), ("r-3.1", 1.0), ("r-2.0", 1.0), ("r-2.0", 1.0), ("r-2.0", 0.0))
    assert counts(report) == {"recorded": 1, "repeated": 2, "contradicting": 2}
    world.journal.close()
    world.truths.archive.compact()
    world.room = world.another()
    assert counts(world.by_id(("r-2.0", 1.0), ("r-1.0", 0.0))) == {"repeated": 1, "contradicting": 1}
    assert world.kept() == [("r-1.0", 1.0), ("r-3.1", 0.0), ("r-2.0", 1.0)]


def test_what_names_no_prediction_or_is_no_fact_is_told(world):
    none = [("r-9.0", 1.0), ("r-4.0", 1.0), ("r-1.7", 1.0)]
    report = world.by_id(*none, ("r-1.0", float("nan")), ("r-1.0", None), ("r-1.0", 1.0))
    assert counts(report) == {"unknown": 3, "invalid": 2, "recorded": 1}
    assert report.examples[0] == "r-9.0 is unknown"
    assert report.examples[-1] == "r-1.0 is invalid"
    assert world.kept() == [("r-1.0", 1.0)]


def test_a_late_fact_is_recorded_and_counted(world):
    report = world.by_id(("r-1.0", 1.0), ("r-2.0", 1.0), horizon=DAY - timedelta(hours=1.5))
    assert counts(report) == {"recorded": 2, "late": 1}


def test_a_fact_by_entity_belongs_to_the_newest_prediction_at_or_before_its_time(world):
    for number in (10, 20, 30):
        world.answer(answered(number, 1, entities=["UA1"]))
    at = answered(20).at
    report = world.by_entity(("UA1", at, 1.0), ("UA1", at - timedelta(seconds=1), 0.0), ("UA1", at + 40 * DAY, 1.0))
    assert counts(report) == {"recorded": 2, "unknown": 1}
    assert report.examples == (f"UA1 at {at + 40 * DAY:%Y-%m-%dT%H:%M:%SZ} is unknown",)
    assert sorted(world.kept()) == [("r-10.0", 0.0), ("r-20.0", 1.0)]
    assert counts(world.by_entity(("UA1", at + timedelta(hours=1), 1.0), ("UA1", at, 0.0))) == {
        "repeated": 1,
        "contradicting": 1,
    }
    assert counts(world.by_entity(("UA1", answered(10).at - DAY, 1.0), ("none", at, 1.0))) == {"unknown": 2}
    assert counts(world.by_entity(("UA1", at + 40 * DAY, 1.0), within=50 * DAY)) == {"recorded": 1}


def test_an_entity_that_is_logged_hashed_is_found_by_its_name(world):
    world.answer(answered(10, 1, entities=[hashed(KEY, "ann@example")]))
    assert counts(world.by_entity(("ann@example", answered(10).at, 1.0))) == {"recorded": 1}
    assert ("r-10.0", 1.0) in world.kept()
    assert b"ann@example" not in b"".join(path.read_bytes() for path in world.folder.rglob("*") if path.is_file())


def test_of_two_predictions_at_one_time_the_last_that_was_logged(world):
    world.answer(answered(10, 1, entities=["UA1"], request="b"), answered(10, 1, entities=["UA1"], request="a"))
    world.by_entity(("UA1", answered(10).at, 1.0))
    assert world.kept() == [("a.0", 1.0)]


def test_a_fact_without_entity_or_time_is_unknown(world):
    assert counts(world.by_entity((None, START, 1.0), ("e1-0", None, 1.0))) == {"unknown": 2}
    assert counts(world.by_entity()) == {}


def test_columns_that_are_no_facts_are_refused(world):
    with pytest.raises(RequestInvalid, match="either id or entity and time"):
        world.room.record("flights", pl.DataFrame({"id": ["a"]}), horizon=HORIZON, within=WITHIN)


def test_what_is_new_in_an_open_segment_is_seen(world):
    live = world.predictions.journal("live")
    for number in (10, 11):
        live.append(encode_batch(answered(number)))
        assert counts(world.by_id((f"r-{number}.1", 1.0))) == {"recorded": 1}
    live.close()


def test_many_facts_are_kept_in_several_records(world, monkeypatch):
    monkeypatch.setattr("kedge.monitoring.truth.ground_truth.BATCH", 2)
    world.by_id(*[(f"r-{number}.{row}", 1.0) for number in (1, 2, 3) for row in (0, 1)])
    assert len([*world.truths.journal("reader").scan()]) == 3


def test_the_standing_sums_up_what_was_measured(world):
    assert world.room.standing("flights").windows == 0


def test_without_a_model_a_prediction_is_its_models(world):
    world.answer(answered(1, model="other"), answered(5, model="a"), answered(5, model="b"))
    facts = pl.DataFrame({"id": ["r-4.0", "r-9.0", "r-1.0"], "value": [1.0, 1.0, 0.0]})
    facts = facts.with_columns(known_at=pl.lit(START + DAY, dtype=pl.Datetime("us", "UTC")))
    report = world.room.record(None, facts, horizon=HORIZON, within=WITHIN)
    assert counts(report) == {"recorded": 2, "unknown": 1}
    assert report.examples == ("r-9.0 is unknown",)
    batches = [decode_truth(payload) for _, payload in world.truths.journal("reader").scan()]
    whose = sorted((batch.predictions[0], batch.model) for batch in batches)
    assert whose == [("r-1.0", "flights"), ("r-4.0", "other")], "of two that answered it, the project's"
    assert counts(world.room.record(None, facts[:0], horizon=HORIZON, within=WITHIN)) == {}
    twice = facts.with_columns(id=pl.lit("r-5.0"))
    with pytest.raises(RequestInvalid, match=r"several models answered r-5\.0: a, b; name one \(--model"):
        world.room.record(None, twice, horizon=HORIZON, within=WITHIN)

"""The prediction log, asked: whatever is compacted and whatever is not; each prediction once, with its first truth."""

from datetime import timedelta

import msgspec
import polars as pl
import pytest
from tests.unit.storage.answers import START, answered

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import PredictionId
from kedge.domain.monitoring import COPIED, TruthBatch
from kedge.domain.predictions import PredictionRules, hashed
from kedge.domain.records import decode_batch, encode_batch, encode_truth
from kedge.domain.rollout import Apart, Deployment, Move, RolloutLook, ShadowCompared
from kedge.errors import ConfigError, Conflict, RequestInvalid, StoreBroken
from kedge.monitoring.answer_log import AnswerLog, PredictionQuery
from kedge.rollout.forgetting import TrialRows
from kedge.rollout.live import find_tally
from kedge.rollout.revisions import looked_event
from kedge.rollout.tally import Tally
from kedge.storage.log_folder import LogFolder
from kedge.storage.prediction_rows import PredictionRows
from kedge.storage.segments import segments
from kedge.storage.sql import open_store
from kedge.storage.truth_rows import TruthRows

KEY = b"k" * 32


class World:
    """A log in a folder, half of it compacted."""

    def __init__(self, folder):
        rules = PredictionRules()
        self.folder = folder
        self.predictions = LogFolder(folder / "predictions", PredictionRows(), rules=rules)
        self.truths = LogFolder(folder / "truths", TruthRows(), rules=rules)
        self.meta, self.at = open_store("sqlite://"), START + timedelta(days=10)
        self.log = AnswerLog(
            predictions=self.predictions.archive,
            truths=self.truths.archive,
            trials=TrialRows(deployments=self.meta.deployments, notes=self.meta.notes),
            events=self.meta.events,
            secret=lambda: KEY,
            clock=self,
        )

    def now(self):
        return self.at

    def answer(self, *batches):
        journal = self.predictions.journal("w")
        journal.append_all([encode_batch(batch) for batch in batches])
        journal.close()

    def tell(self, known_at=START, **facts):
        journal = self.truths.journal("w")
        names, values = [PredictionId(name) for name in facts.get("ids", ())], facts["values"]
        journal.append(encode_truth(TruthBatch(model="flights", known_at=known_at, predictions=names, values=values)))
        journal.close()

    def look(self, *rows, revision=1):
        """Keep rows as evidence of a look at a shadow, and in the tally behind it."""
        compared = ShadowCompared(pairs=9, disagreed=1, mean_difference=0.1, largest=rows)
        trial = {"model": "flights", "revision": revision, "challenger": 4, "step": 0, "share": 0.0, "live": True}
        look = RolloutLook(**trial, window="live-1", move=Move.HOLD, reason="", looked_at=START, comparison=compared)
        deployed = Deployment(model="flights", revision=revision, champion=3, since=START, actor="a", reason="r")
        put = Event(
            key=f"put-{revision}", kind=EventKind.ROLLOUT_STARTED, at=START, subject="flights", actor="a", message=""
        )
        self.meta.deployments.put(deployed, put)
        tally = Tally(began=1, largest=[*rows])
        note = ("rollout:flights:tally", msgspec.msgpack.encode(tally))
        self.meta.deployments.add_look(look, looked_event(look), note=note)

    def kept_rows(self):
        looks = self.meta.deployments.looks("flights")
        tally = find_tally(self.meta.notes, "flights")
        return [{row.prediction for row in kept} for kept in (*(look.comparison.largest for look in looks), tally.largest)]

    def ids(self, **question):
        return self.log.select(PredictionQuery(**question))["id"].to_list()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.answer(answered(1), answered(2, versions=[3, 4], roles={3: "champion", 4: "challenger"}))
    made.answer(answered(2, request="gap-1", count=0, missing=5, entities=[], versions=[], outputs=[]))
    made.tell(ids=["r-1.0", "r-3.1"], values=[1.0, 0.0])
    made.log.compact(PredictionRules())
    made.answer(answered(3), answered(4, model="other"))
    made.tell(ids=["r-1.0", "r-4.0"], values=[0.0, 1.0], known_at=START + timedelta(days=1))
    return made


def test_newest_first_whether_compacted_or_not(world):
    assert world.ids() == ["r-4.0", "r-4.1", "r-3.0", "r-3.1", "r-2.0", "r-2.1", "r-1.0", "r-1.1"]
    assert world.log.stored()[0].segments == 1


@pytest.mark.parametrize(
    ("question", "ids"),
    [
        ({"model": "other"}, ["r-4.0", "r-4.1"]),
        ({"version": 4}, ["r-2.1"]),
        ({"variant": "challenger"}, ["r-2.1"]),
        ({"entity": "e3-1"}, ["r-3.1"]),
        ({"prediction": "r-1.1"}, ["r-1.1"]),
        ({"since": START + timedelta(hours=3), "until": START + timedelta(hours=4)}, ["r-3.0", "r-3.1"]),
        ({"where": "feature_x > 0.5 AND feature_carrier IS NOT NULL AND model = 'flights'"}, ["r-3.0", "r-2.0"]),
        ({"where": "truth = 1"}, ["r-4.0", "r-1.0"]),
        ({"limit": 3}, ["r-4.0", "r-4.1", "r-3.0"]),
        ({"model": "none"}, []),
    ],
)
def test_what_is_asked_for(world, question, ids):
    assert world.ids(**question) == ids


def test_columns_and_the_first_truth(world):
    frame = world.log.select(PredictionQuery(columns=("id", "truth", "truth_known_at")))
    assert frame.columns == ["id", "truth", "truth_known_at"]
    told = frame.drop_nulls("truth").sort("id").rows()
    assert told == [("r-1.0", 1.0, START), ("r-3.1", 0.0, START), ("r-4.0", 1.0, START + timedelta(days=1))]
    assert "record" not in world.log.select(PredictionQuery()).columns
    with pytest.raises(RequestInvalid, match="no column nothing; it has id, model"):
        world.log.select(PredictionQuery(columns=("nothing",)))
    for wrong in ("feature_x >", "feature_y > 1"):
        with pytest.raises(RequestInvalid, match="cannot be asked of the log"):
            world.log.select(PredictionQuery(where=wrong))


def test_an_id_that_was_logged_twice_is_there_once(world):
    world.answer(answered(1, outputs=[0.9, 0.9]))
    assert world.log.select(PredictionQuery(prediction="r-1.0"))["output"].to_list() == [0.01]


def test_an_empty_log_has_no_rows(tmp_path):
    world = World(tmp_path)
    assert len(world.log.select(PredictionQuery())) == 0
    assert world.log.compact(PredictionRules()).segments == 0
    assert not any(tmp_path.iterdir())


def test_an_entity_is_erased_with_its_facts_and_the_event_does_not_name_it(world):
    world.answer(answered(5, entities=["e1-0", "e5-1"]), answered(6, entities=[hashed(KEY, "e1-0"), "e6-1"]))
    world.tell(ids=["r-5.0"], values=[1.0])
    done = world.log.erase("e1-0", actor="person:ann", reason="asked by the customer")
    assert (done.predictions, done.facts, done.whole) == (3, 3, True)
    assert {"r-1.0", "r-5.0", "r-6.0"}.isdisjoint(world.ids())
    assert {"r-1.1", "r-5.1", "r-6.1"} < {*world.ids()}
    kept = b"".join(path.read_bytes() for path in world.folder.rglob("*") if path.is_file())
    assert b"e1-0" not in kept
    assert hashed(KEY, "e1-0").encode() not in kept
    reader = world.predictions.journal("reader")
    assert [batch.rows for batch in map(decode_batch, (payload for _, payload in reader.scan())) if batch.rows] == [[1]] * 3
    ((_, event),) = world.meta.events.list(subject="predictions")
    assert (event.kind, event.actor) == (EventKind.PREDICTIONS_ERASED, "person:ann")
    assert "e1-0" not in f"{event.message} {event.facts}"
    assert "asked by the customer" in event.message


def test_an_erasure_takes_the_rows_that_trials_keep_of_the_entity(world):
    """By the prediction, by the entity, plain or hashed; also of rows that the log has no more."""
    world.look(
        Apart(prediction="r-1.0", champion=0.1, challenger=0.9, features={"income": 1.0}),
        Apart(prediction="r-1.1", champion=0.1, challenger=0.8, entity="e1-1"),
        Apart(prediction="r-0.0", champion=0.1, challenger=0.7, entity="e1-0"),
        Apart(prediction="r-0.1", champion=0.1, challenger=0.6, entity=hashed(KEY, "e1-0")),
    )
    assert world.log.erase("e1-0", actor="a", reason="r", model="other").looks == 0
    done = world.log.erase("e1-0", actor="a", reason="r")
    assert (done.predictions, done.looks) == (1, 1)
    assert world.kept_rows() == [{"r-1.1"}, {"r-1.1"}]
    assert world.log.erase("e1-0", actor="a", reason="r").looks == 0


def test_what_looks_keep_of_rows_goes_with_age(world):
    world.look(Apart(prediction="r-1.0", champion=0.1, challenger=0.9, entity="e1-0"))
    world.at = START + timedelta(days=2)
    world.log.compact(PredictionRules(keep="3d"))
    assert world.kept_rows()[0] == {"r-1.0"}
    world.at = START + timedelta(days=4)
    world.log.compact(PredictionRules(keep="3d"))
    assert world.kept_rows()[0] == set()


def test_an_erasure_that_could_not_see_all_facts_is_ended_by_the_next(world, monkeypatch):
    monkeypatch.setattr("kedge.storage.compacting.sleep", lambda seconds: None)
    monkeypatch.setattr(type(world.truths.archive), "_ask_to_close", lambda self: None)
    world.answer(answered(5, entities=["e1-0", "e5-1"]))
    live = world.truths.journal("live")
    live.append(encode_truth(TruthBatch(model="flights", known_at=START, predictions=["r-5.0"], values=[1.0])))
    first = world.log.erase("e1-0", actor="a", reason="r")
    assert (first.predictions, first.facts, first.whole) == (1, 2, False)
    assert world.ids(entity="e1-0") == ["r-5.0"], "only it says whose fact it is that is still being written"
    live.close()
    second = world.log.erase("e1-0", actor="a", reason="r")
    assert (second.predictions, second.facts, second.whole) == (1, 1, True)
    assert len(pl.collect_all([table.filter(pl.col("id") == "r-5.0") for table in world.truths.archive.tables()])[0]) == 0


def test_an_erasure_that_stopped_before_the_facts_is_run_again(world):
    with world.truths.archive._alone(), pytest.raises(Conflict):
        world.log.erase("e1-0", actor="a", reason="r")
    done = world.log.erase("e1-0", actor="a", reason="r")
    assert (done.predictions, done.facts, done.whole) == (1, 2, True)


def test_an_erasure_needs_a_reason_and_can_be_of_one_model(world):
    with pytest.raises(RequestInvalid, match="needs a reason"):
        world.log.erase("e1-0", actor="a", reason=" ")
    world.answer(answered(7, entities=["shared", "b"]), answered(8, entities=["shared", "b"], model="other"))
    assert world.log.erase("shared", actor="a", reason="r", model="other").predictions == 1
    assert world.ids(entity="shared") == ["r-7.0"]


def test_what_is_older_than_the_rules_keep_goes_and_is_told(world):
    world.at = answered(3).at + timedelta(days=3)
    world.log.compact(PredictionRules(keep="3d"))
    assert world.ids() == ["r-4.0", "r-4.1", "r-3.0", "r-3.1"]
    ((_, event),) = world.meta.events.list(subject="predictions")
    assert (event.kind, event.facts["predictions"], event.facts["facts"]) == (EventKind.PREDICTIONS_FORGOTTEN, 5, 2)
    world.log.compact(PredictionRules(keep="3d"))
    assert len(world.meta.events.list(subject="predictions")) == 1, "nothing more was old"


def test_a_bucket_holds_what_is_compacted(tmp_path):
    rules = PredictionRules(archive=(tmp_path / "bucket").as_uri())
    log = LogFolder(tmp_path / "predictions", PredictionRows(), rules=rules)
    journal = log.journal("w")
    payloads = [encode_batch(answered(number)) for number in range(3)]
    journal.append_all(payloads)
    journal.close()
    log.archive.compact()
    again = LogFolder(tmp_path / "predictions", PredictionRows(), rules=rules)
    assert [payload for _, payload in again.journal("r").scan()] == payloads
    (file,) = (tmp_path / "bucket" / "predictions" / "flights").iterdir()
    assert len(pl.read_parquet(file)) == 6
    (table,) = again.archive.tables()
    assert table.select(pl.len()).collect().item() == 6
    assert log.archive.strike(lambda payload: None).rows == 6
    assert [*again.journal("r").scan()] == []
    assert not [*(tmp_path / "bucket" / "predictions" / "flights").iterdir()]


def test_an_archive_belongs_to_one_store(tmp_path):
    """Two stores under one URL: the second is refused, in reading and writing, and loses nothing; the first goes on."""
    rules = PredictionRules(archive=(tmp_path / "bucket").as_uri())

    def store(name):
        log = LogFolder(tmp_path / name / "predictions", PredictionRows(), rules=rules)
        journal = log.journal("w")
        journal.append_all([encode_batch(answered(number)) for number in range(3)])
        journal.close()
        return log

    def predictions():
        return sorted(path.name for path in (tmp_path / "bucket" / "predictions" / "flights").iterdir())

    first, second = store("first"), store("second")
    first.archive.compact()
    kept = predictions()
    refused = r"belongs to another store, .*first/predictions.* set predictions\.archive to a folder of its own"
    for act in (second.archive.compact, second.archive.tables, second.journal("r").scan):
        with pytest.raises(ConfigError, match=refused):
            list(act() or ())
    assert (predictions(), len(segments(tmp_path / "second" / "predictions"))) == (kept, 1)
    again = LogFolder(tmp_path / "first" / "predictions", PredictionRows(), rules=rules)
    assert len([*again.journal("r").scan()]) == 3

    mark = tmp_path / "second" / "predictions" / "archive.mark"
    mark.write_bytes((tmp_path / "first" / "predictions" / "archive.mark").read_bytes())
    assert second.archive.stored().rows == 6, "the store was moved, with its mark"
    (tmp_path / "bucket" / "predictions" / "owner.json").write_text("{")
    with pytest.raises(StoreBroken, match="cannot be read"):
        LogFolder(tmp_path / "second" / "predictions", PredictionRows(), rules=rules).archive.stored()


def test_a_shadows_answers_stand_beside_the_prediction_compacted_or_not_and_are_erased_with_it(world):
    first = answered(6, versions=[3, 3])
    again = msgspec.structs.replace(first, variant=COPIED, shadow={5: [0.1, 0.2]}, errors={1: "boom"})
    world.answer(first)
    world.answer(again, again)
    asked = {
        "since": first.at,
        "until": first.at + timedelta(seconds=1),
        "columns": ("id", "shadow_5", "error", "asked_variant"),
    }
    told = [("r-6.0", 0.1, None, None), ("r-6.1", 0.2, "boom", None)]
    assert world.log.select(PredictionQuery(**asked)).rows() == told
    world.log.compact(PredictionRules())
    assert world.log.select(PredictionQuery(**asked)).rows() == told
    folder = world.folder / "predictions" / "compacted"
    flights = pl.read_parquet(folder / "flights" / "*.parquet", glob=True)
    assert flights["id"].is_unique().all(), "a model's files have each prediction once"
    assert pl.read_parquet(folder / "_shadows" / "flights" / "*.parquet")["shadow_5"].to_list() == [0.1, 0.2] * 2
    assert world.log.erase("e6-1", actor="ada", reason="asked for").predictions == 1
    assert world.log.select(PredictionQuery(**asked)).rows() == told[:1]
    left = [decode_batch(payload) for _, payload in world.predictions.journal("r").scan()]
    assert [len(one.versions) for one in left if one.request == "r-6"] == [1, 1, 1]

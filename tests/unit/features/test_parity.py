"""Parity: what the prediction log says was served, joined again. Real differences are found, named and kept."""

import msgspec
import polars as pl
import pytest
from tests.unit.features.test_features_room import DELAY, HOUR, SPEC, START, Rooms, plane_rows, weather_rows
from tests.unit.memory_journal import MemoryJournal

from kedge.domain.events import EventKind
from kedge.domain.features import FeatureService
from kedge.domain.ids import ModelName, RequestId
from kedge.domain.monitoring import PredictionBatch
from kedge.domain.records import encode_batch
from kedge.errors import StoreBroken
from kedge.features.parity import Parity
from kedge.storage.sql import open_store

LOOKED_UP = ("weather__wind", "weather__sky", "plane__built", "hours", "gale", "quiet")


class Served(Rooms):
    """Rooms with a prediction log, written as the data plane writes it."""

    def __init__(self, service: object = DELAY, frame: pl.DataFrame | None = None) -> None:
        super().__init__(service, frame)
        self.log, self.meta = MemoryJournal(), open_store("sqlite://")

    @property
    def parity(self) -> Parity:
        notes, events = self.meta.notes, self.meta.events
        return Parity(features=self.again(), predictions=self.log, notes=notes, events=events, clock=self.clock)

    def answer(self, first: int, last: int, *, pushed: bool = True, keys: bool = True, model: str = SPEC.name) -> None:
        """Answer rows, one request each, from the online store; `pushed` brings the store up to the row's time first."""
        service = self.features.service(SPEC)
        reader = self.features.reader(service)
        for row in self.data.rows(SPEC)[first:last].iter_rows(named=True):
            if pushed:
                self.features.materialize(SPEC, row["at"])
            read = {name: [row[name]] for name in dict.fromkeys((*service.entities(), *service.request))}
            served = reader.read(read, row["at"])
            batch = PredictionBatch(
                request=RequestId(row["id"]),
                model=ModelName(model),
                at=row["at"],
                revision=1,
                service=service.name,
                entities=[row["id"]],
                versions=[1],
                features=served.features,
                as_of=served.as_of,
                outputs=[0.5],
                batches=[(1, [0])],
                inputs={name: read[name] for name in read if name not in served.features} if keys else {},
            )
            self.log.append(encode_batch(batch))

    def events(self) -> list:
        return [event for _, event in self.meta.events.list() if event.kind is EventKind.PARITY_CHECKED]


@pytest.fixture
def served() -> Served:
    return Served()


def test_what_was_served_is_what_the_join_gives(served):
    served.answer(0, 40)
    report = served.parity.check(SPEC)
    assert report.holds
    assert (report.rows, report.values, report.columns) == (40, 240, LOOKED_UP)
    assert (report.first_at, report.last_at) == (START, START + 39 * HOUR)
    assert str(report).startswith("all 240 values of 40 rows served from 2013-01-01 00:00 to 2013-01-02 15:00 are")


def test_an_online_store_that_lagged_behind_is_found(served):
    served.answer(0, 5)
    served.answer(5, 7, pushed=False)
    report = served.parity.check(SPEC)
    assert not report.holds
    stale = next(one for one in report.mismatches if one.column == "weather__wind")
    assert (stale.prediction, stale.served, stale.joined, stale.at) == ("r5.0", 2.0, 4.0, START + 5 * HOUR)
    assert "are not what the join gives" in str(report)


def test_a_source_that_was_rewritten_is_found(served):
    served.answer(0, 10)
    served.tables.read[plane_rows] = plane_rows().with_columns(built=pl.lit(2013))
    report = served.parity.check(SPEC)
    assert {one.column for one in report.mismatches} == {"plane__built"}
    assert report.mismatched == 7  # planes 1 and 2; nothing is known of plane 3


def test_a_row_that_became_known_later_than_it_says_is_found(served):
    served.tables.read[weather_rows] = weather_rows().head(3)
    served.answer(0, 6)
    served.tables.read[weather_rows] = weather_rows()
    assert "weather__wind" in {one.column for one in served.parity.check(SPEC).mismatches}


def test_the_newest_rows_count_each_once_and_only_of_this_model(served):
    served.answer(0, 20)
    served.answer(5, 10)
    served.answer(20, 25, model="another")
    assert served.parity.check(SPEC).rows == 20
    newest = served.parity.check(SPEC, limit=4)
    assert (newest.rows, newest.first_at) == (4, START + 16 * HOUR)
    assert served.parity.check(SPEC, since=START + 18 * HOUR).rows == 2
    assert served.parity.check(SPEC, since=START + 99 * HOUR).rows == 0


def test_rows_that_cannot_be_joined_again_are_counted(served):
    served.answer(0, 3)
    served.answer(3, 5, keys=False)
    served.project.service = msgspec.structs.replace(DELAY, drop=("weather__seen", "gale"))
    served.features = served.again()
    served.answer(5, 9)
    report = served.parity.check(SPEC)
    assert (report.rows, report.older, report.keyless) == (4, 5, 0)
    served.project.service = DELAY
    report = served.parity.check(SPEC)
    assert (report.rows, report.older, report.keyless) == (3, 4, 2)


def test_a_service_that_looks_nothing_up_has_nothing_to_compare():
    served = Served(FeatureService(name="plain", request=("miles",)))
    served.answer(0, 3)
    assert "nothing to compare" in str(served.parity.check(SPEC))


def test_a_report_is_kept_and_is_one_event(served):
    assert served.parity.newest(SPEC.name) is None
    served.answer(0, 3)
    report = served.parity.check(SPEC)
    assert served.parity.newest(SPEC.name) == served.parity.check(SPEC) == report
    (event,) = served.events()
    assert event.facts == {"rows": 3, "values": 18, "mismatched": 0}
    served.answer(3, 4)
    served.parity.check(SPEC)
    assert len(served.events()) == 2


def test_a_broken_record_is_named(served):
    served.log.append(b"no record")
    with pytest.raises(StoreBroken, match="prediction log cannot be read"):
        served.parity.check(SPEC)

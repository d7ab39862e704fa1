"""When an answer may leave, and what becomes of rows that cannot be logged."""

import asyncio
import threading

import msgspec
import numpy as np
from tests.unit.serving.fakes import Around, Journal, body_of
from tests.unit.storage.answers import answered

from kedge.domain.monitoring import Matrix
from kedge.domain.predictions import Ack, WhenFull
from kedge.domain.records import decode_batch
from kedge.domain.stencils import LikeRecord, Stencil
from kedge.errors import StoreFull
from kedge.serving.log import PredictionLog


def logged(journal):
    return [decode_batch(payload) for _, payload in journal.scan()]


def test_written_means_that_the_record_is_there():
    journal = Journal()
    log = PredictionLog(journal)
    assert log.append_all([answered(1), answered(2)])
    assert [batch.request for batch in logged(journal)] == ["r-1", "r-2"]
    assert asyncio.run(log.acknowledged()), "nothing more is waited for"
    assert journal.syncs == 0


def test_synced_waits_for_one_sync_together():
    journal = Journal()
    log = PredictionLog(journal, ack=Ack.SYNCED, sync_seconds=60)

    async def three():
        log.start()
        waiting = []
        for number in range(3):
            log.append(answered(number))
            waiting.append(asyncio.ensure_future(log.acknowledged()))
        return await asyncio.gather(*waiting)

    assert asyncio.run(three()) == [True] * 3
    assert 1 <= journal.syncs <= 3
    assert log.lag_rows == 0
    log.stop()


def test_synced_without_a_thread_syncs_itself_and_says_when_it_could_not():
    class Failing(Journal):
        def sync(self):
            raise StoreFull("no space left")

    for journal, holds in ((Journal(), True), (Failing(), False)):
        log = PredictionLog(journal, ack=Ack.SYNCED)
        log.append(answered(1))
        assert asyncio.run(log.acknowledged()) is holds


def test_a_caller_that_left_is_not_waited_for():
    log = PredictionLog(Journal(), ack=Ack.SYNCED, sync_seconds=60)

    async def left():
        log.append(answered(1))
        log._thread = threading.current_thread()  # as if it ran
        waiting = asyncio.ensure_future(log.acknowledged())
        await asyncio.sleep(0)
        waiting.cancel()
        log.sync()
        await asyncio.sleep(0)
        return waiting.cancelled()

    assert asyncio.run(left())


def test_memory_is_written_in_the_background():
    journal = Journal()
    log = PredictionLog(journal, ack=Ack.MEMORY)
    assert log.append(answered(1))
    assert logged(journal) == []
    assert log.queue_rows == 2
    log.stop()
    assert [batch.request for batch in logged(journal)] == ["r-1"]
    assert log.queue_rows == 0


def test_a_full_queue_drops_counts_and_leaves_a_record_of_the_gap():
    journal = Journal()
    log = PredictionLog(journal, ack=Ack.MEMORY, queue_rows=4)
    assert [log.append(answered(number)) for number in range(5)] == [True, True, False, False, False]
    assert log.gap_rows == 6
    log.stop()
    gap, *rest = sorted(logged(journal), key=lambda batch: -batch.missing)
    assert sum(batch.missing for batch in logged(journal)) == 6
    assert [batch.request for batch in logged(journal) if not batch.missing] == ["r-0", "r-1"]
    assert (gap.model, gap.revision, gap.versions) == ("flights", 7, [])
    assert len(rest) == 4, "each hour has a gap of its own"


def test_a_full_queue_blocks_until_there_is_room():
    journal = Journal()
    log = PredictionLog(journal, ack=Ack.MEMORY, queue_rows=2, when_full=WhenFull.BLOCK, sync_seconds=60)
    log.start()
    assert all(log.append(answered(number)) for number in range(20))
    log.stop()
    assert [batch.request for batch in logged(journal)] == [f"r-{number}" for number in range(20)]
    assert log.gap_rows == 0


def test_a_request_larger_than_the_queue_is_taken_where_nothing_waits():
    log = PredictionLog(Journal(), ack=Ack.MEMORY, queue_rows=1)
    assert log.append(answered(1))
    assert not log.append(answered(2))


def test_a_full_disk_fails_no_prediction_and_its_gap_is_told_when_there_is_room():
    journal = Journal()
    log = PredictionLog(journal)
    journal.full = True
    assert not log.append(answered(1))
    assert not log.append_all([answered(1, hours=0.1), answered(5)])
    assert log.gap_rows == 6
    journal.full = False
    assert log.append(answered(6))
    found = logged(journal)
    assert [(batch.missing, batch.request) for batch in found if not batch.missing] == [(0, "r-6")]
    assert sorted((batch.at.hour, batch.missing) for batch in found if batch.missing) == [(10, 4), (14, 2)]
    log.append(answered(7))
    assert len(logged(journal)) == 4, "a gap is told once"


def test_a_full_disk_is_said_at_once_and_then_seldom(monkeypatch, caplog):
    journal, now = Journal(), [100.0]
    monkeypatch.setattr("kedge.serving.log.monotonic", lambda: now[0])
    log = PredictionLog(journal)
    journal.full = True
    for number in range(50):
        log.append(answered(number))
    assert [record.args[0] for record in caplog.records] == [2]
    now[0] += 11
    log.append(answered(50))
    assert [record.args[0] for record in caplog.records] == [2, 100]
    assert log.gap_rows == 102


def test_a_gap_at_the_end_is_told_when_the_log_stops():
    journal = Journal()
    log = PredictionLog(journal)
    journal.full = True
    log.append(answered(1))
    journal.full = False
    log.stop()
    assert [batch.missing for batch in logged(journal)] == [2]


def test_a_value_that_no_record_holds_fails_no_prediction():
    log = PredictionLog(Journal())
    assert not log.append(answered(1, features={"x": [2**80, 1]}))
    assert log.gap_rows == 2


def test_a_record_of_a_stencil_that_cannot_be_written_is_counted():
    journal = Journal()
    log = PredictionLog(journal)
    example = answered(1, features={}, matrix=Matrix(("x",), np.ones((2, 1))), outputs=np.array([0.25, 0.75]))
    good = LikeRecord(Stencil(example), "r-2", example.at, example.outputs, {}, [], example.matrix.values, {})
    assert log.append_all([good, good])
    assert not log.append(msgspec.structs.replace(good, calls={3: ("c", 2**80, 1)}))
    assert log.gap_rows == 2
    log.stop()
    found = logged(journal)
    assert [batch.outputs for batch in found if not batch.missing] == [[0.25, 0.75]] * 2
    assert [(batch.model, batch.revision, batch.at.hour, batch.missing) for batch in found if batch.missing] == [
        ("flights", 7, example.at.hour, 2)
    ]


def test_a_fault_of_what_prepares_records_fails_no_prediction_and_logs_nothing():
    def prepare(batches):
        raise KeyError("unforeseen")

    journal = Journal()
    log = PredictionLog(journal, prepare=prepare)
    assert not log.append(answered(1))
    assert log.gap_rows == 2
    assert logged(journal) == []


def test_who_begins_to_wait_while_the_last_sync_ends_is_told():
    log = PredictionLog(Journal(), ack=Ack.SYNCED)
    log._thread = threading.current_thread()  # as if it ran

    class Late(type(log._waiting)):
        def append(self, one):
            log.sync()  # the thread was faster
            super().append(one)

    log._waiting = Late()

    async def late():
        log.append(answered(1))
        waiting = asyncio.ensure_future(log.acknowledged())
        await asyncio.sleep(0)
        log.sync()  # its next round, with nothing new
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(late())


def test_rows_that_are_refused_while_a_gap_is_written_are_told_later():
    class Slow(Journal):
        def append_all(self, payloads):
            if log.gap_rows == 2:
                log.append(answered(9))  # the queue is full in this moment
            return super().append_all(payloads)

    journal = Slow()
    log = PredictionLog(journal, ack=Ack.MEMORY, queue_rows=2)
    log.append(answered(1))
    log.append(answered(1))
    log.stop()
    log.stop()
    assert sum(batch.missing for batch in logged(journal)) == log.gap_rows == 4


def test_the_thread_outlives_what_nobody_foresaw():
    class Odd(Journal):
        tended = threading.Event()

        def tend(self):
            if self.syncs > 1:
                self.tended.set()
            raise RuntimeError("unforeseen")

        def sync(self):
            super().sync()
            if self.syncs == 1:
                raise RuntimeError("unforeseen")

    journal = Odd()
    log = PredictionLog(journal, sync_seconds=0.005)
    log.start()
    log.append(answered(1))
    while not (journal.syncs and log.lag_rows == 0):  # failures are counted of closing segments, too
        threading.Event().wait(0.005)
    log.append(answered(2))
    assert journal.tended.wait(30)
    log.stop()


def test_what_is_not_sampled_is_no_gap():
    journal = Journal()
    log = PredictionLog(journal, prepare=lambda batches: [each for each in batches if each.request != "r-1"])
    assert log.append(answered(1))
    assert log.append_all([answered(1), answered(2)])
    assert [batch.request for batch in logged(journal)] == ["r-2"]
    assert log.gap_rows == 0


def test_segments_are_tended_and_a_close_that_fails_is_counted():
    class Tended(Journal):
        tended = threading.Event()

        def tend(self):
            self.tended.set()
            raise StoreFull("no space left")

    journal = Tended()
    log = PredictionLog(journal, sync_seconds=0.005)
    log.start()
    assert journal.tended.wait(5)
    log.stop()
    assert log.sync_failures >= 1


def test_an_answer_leaves_when_its_record_is_synced():
    around = Around().deployed()
    around.host.log.ack = Ack.SYNCED
    answer = around.infer(body_of(2))
    assert (answer.status, around.journal.syncs) == (200, 1)
    assert "logged" not in answer.json["parameters"]
    around.journal.sync = failing
    assert around.infer(body_of(3)).json["parameters"]["logged"] is False


def failing():
    raise StoreFull("no space left")

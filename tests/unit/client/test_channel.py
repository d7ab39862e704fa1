"""The way from the training thread to the spool and on: steps, batches, back-off, what is refused, what is said once."""

import logging
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kedge.client import channel as channels
from kedge.client.channel import Backoff, Channel, Numbering, send_some
from kedge.domain.ids import RunId
from kedge.domain.told import FileTold, PointsTold, PointTold, RunEnded, WordsTold, packed, unpacked
from kedge.domain.tracking import RunStatus
from kedge.errors import ParamChanged, Unreachable

RUN, OTHER = RunId("a" * 32), RunId("b" * 32)
PATIENCE = 30.0


class MemorySpool:
    """A spool that keeps its records in a list."""

    def __init__(self) -> None:
        self.root = self.files = Path("spool")
        self.waiting: deque[bytes] = deque()
        self.lost, self.refused, self.dropped, self.is_closed = 0, None, [], False
        self.marked: set[RunId] = set()

    @property
    def is_empty(self) -> bool:
        return not self.waiting

    def append(self, payloads, *, points=0) -> None:
        self.waiting.extend(payloads)

    def read(self, *, limit_bytes=1 << 20):
        some = list(self.waiting)[:3]
        return some, len(some)

    def done(self, upto) -> None:
        for _ in range(upto):
            self.waiting.popleft()

    def drop_file(self, name) -> None:
        self.dropped.append(name)

    def mark(self, run, *, is_open) -> None:
        self.marked = self.marked | {run} if is_open else self.marked - {run}

    def open_runs(self) -> set[RunId]:
        return self.marked

    def last_written(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def close(self) -> None:
        self.is_closed = True

    def forget(self) -> None:
        pass


class Server:
    """Takes records; refuses a param called `bad`, and everything while it is down."""

    def __init__(self) -> None:
        self.taken, self.is_down, self.asked = [], False, 0

    def deliver(self, records, files) -> None:
        self.asked += 1
        if self.is_down:
            raise Unreachable("no answer from http://127.0.0.1:1")
        for record in records:
            if isinstance(record, WordsTold) and "bad" in record.params:
                raise ParamChanged(record.run, "bad", old="1", new="2")
            if isinstance(record, PointsTold) and any(point.key == "bad" for point in record.points):
                raise ParamChanged(record.run, "bad", old="1", new="2")
        self.taken += records

    def close(self) -> None:
        pass


def opened(server, spool, left=()) -> Channel:
    backoff = Backoff(first=0.001, longest=0.002)
    return Channel(
        "http://127.0.0.1:1",
        spool=lambda: spool,
        delivery=lambda: server,
        left=lambda: iter(left),
        look_seconds=0.001,
        backoff=backoff,
    )


def until(holds) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def points_of(records, run=RUN) -> list[tuple]:
    told = [point for record in records if isinstance(record, PointsTold) and record.run == run for point in record.points]
    return [(point.key, point.value, point.at, point.step) for point in told]


def test_pauses_double_up_to_a_bound_and_differ() -> None:
    backoff = Backoff(first=1.0, longest=8.0, chance=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 8, 8]
    backoff.reset()
    assert backoff.next() == 1
    least = Backoff(first=1.0, longest=8.0, chance=lambda: 0.0)
    assert [least.next() for _ in range(3)] == [0.5, 1, 2]


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff()
    assert max(backoff.next() for _ in range(2000)) <= channels.LONGEST_PAUSE


def test_each_key_of_each_run_counts_its_own_steps() -> None:
    items = [
        (RUN, {"loss": 0.5, "score": 1.0}, None, 1),
        (RUN, {"loss": 0.4}, None, 2),
        (OTHER, {"loss": 9.0}, None, 3),
        (RUN, {"loss": 0.3}, 10, 4),
        (RUN, {"loss": 0.2}, None, 5),
    ]
    records = [unpacked(payload) for payload, _ in Numbering().records(items)]
    wanted = [("loss", 0.5, 1, 0), ("score", 1.0, 1, 0), ("loss", 0.4, 2, 1), ("loss", 0.3, 4, 10), ("loss", 0.2, 5, 11)]
    assert points_of(records) == wanted
    assert points_of(records, OTHER) == [("loss", 9.0, 3, 0)]


def test_other_records_keep_their_place_among_points() -> None:
    words = WordsTold(run=RUN, tags={"a": "b"})
    items = [(RUN, {"x": 1.0}, None, 1), words, (RUN, {"x": 2.0}, None, 2)]
    kinds = [type(unpacked(payload)) for payload, _ in Numbering().records(items)]
    assert kinds == [PointsTold, WordsTold, PointsTold]


def test_an_ended_run_begins_anew() -> None:
    numbering, ended = Numbering(), RunEnded(run=RUN, ended_at=datetime(2026, 1, 1, tzinfo=UTC))
    list(numbering.records([(RUN, {"x": 1.0}, None, 1), (OTHER, {"x": 1.0}, None, 1), ended]))
    again = [(RUN, {"x": 1.0}, None, 2), (OTHER, {"x": 1.0}, None, 2)]
    told = [unpacked(payload) for payload, _ in numbering.records(again)]
    assert (points_of(told)[0][3], points_of(told, OTHER)[0][3]) == (0, 1)


def test_many_points_are_several_records() -> None:
    items = [(RUN, {"x": float(place)}, None, place) for place in range(channels.FRAME_POINTS + 1)]
    assert [count for _, count in Numbering().records(items)] == [channels.FRAME_POINTS, 1]


def test_what_is_logged_arrives_in_order() -> None:
    spool, server = MemorySpool(), Server()
    channel = opened(server, spool)
    channel.start()
    for place in range(1000):
        channel.append((RUN, {"x": float(place)}, None, place))
    assert channel.settle(PATIENCE)
    assert points_of(server.taken) == [("x", float(place), place, place) for place in range(1000)]
    assert channel.leave(PATIENCE)
    assert spool.is_closed


def test_a_dead_server_is_told_of_once_and_loses_nothing(caplog) -> None:
    spool, server = MemorySpool(), Server()
    server.is_down = True
    channel = opened(server, spool)
    channel.start()
    with caplog.at_level(logging.WARNING, "kedge.client"):
        channel.append((RUN, {"x": 1.0}, None, 1))
        until(lambda: server.asked >= 5)
        assert not channel.settle(PATIENCE), "a fresh try fails: there is no use in waiting on"
        server.is_down = False
        assert channel.settle(PATIENCE)
        until(lambda: "answers again" in caplog.text)
    assert points_of(server.taken) == [("x", 1.0, 1, 0)]
    said = [record.getMessage() for record in caplog.records]
    assert len([one for one in said if "training goes on" in one]) == 1
    assert len([one for one in said if "answers again" in one]) == 1
    channel.leave(PATIENCE)


def test_what_has_not_arrived_at_the_end_is_said_in_one_sentence(caplog) -> None:
    spool, server = MemorySpool(), Server()
    server.is_down = True
    channel = opened(server, spool)
    channel.start()
    channel.append((RUN, {"x": 1.0}, None, 1))
    with caplog.at_level(logging.WARNING, "kedge.client"):
        assert not channel.leave(0.5, stay=True)
        assert not channel.leave(0.5)
    assert len([record for record in caplog.records if "kedge runs sync" in record.getMessage()]) == 1
    assert not spool.is_empty


def test_what_is_refused_takes_nothing_else_with_it(caplog) -> None:
    spool, server = MemorySpool(), Server()
    points = [PointTold("good", 1.0, 1, 0), PointTold("bad", 2.0, 1, 0)]
    told = [WordsTold(run=RUN, params={"bad": "2", "rate": "1"}, tags={"a": "b"}), PointsTold(run=RUN, points=points)]
    spool.append([packed(one) for one in told])
    with caplog.at_level(logging.WARNING, "kedge.client"):
        assert send_some(spool, server) == 2
    assert spool.is_empty
    assert points_of(server.taken) == [("good", 1.0, 1, 0)]
    words = [(one.params, one.tags) for one in server.taken if isinstance(one, WordsTold)]
    assert words == [({"rate": "1"}, {}), ({}, {"a": "b"})]
    assert sum("was refused" in record.getMessage() for record in caplog.records) == 2


def test_a_kept_file_is_dropped_once_it_has_arrived() -> None:
    spool, server = MemorySpool(), Server()
    spool.append([packed(FileTold(run=RUN, path="a.txt", kept="k1"))])
    server.is_down = True
    with pytest.raises(Unreachable):
        send_some(spool, server)
    assert spool.dropped == []
    server.is_down = False
    send_some(spool, server)
    assert spool.dropped == ["k1"]


def test_a_record_that_cannot_be_read_does_not_stop_the_others(caplog) -> None:
    spool, server = MemorySpool(), Server()
    spool.append([b"\xc1nonsense", packed(WordsTold(run=RUN, tags={"a": "b"}))])
    send_some(spool, server)
    assert len(server.taken) == 1
    assert "cannot be read" in caplog.text


def test_what_earlier_processes_left_is_sent_too() -> None:
    spool, left, server = MemorySpool(), MemorySpool(), Server()
    left.append([packed(WordsTold(run=OTHER, tags={"a": "b"})) for _ in range(7)])
    channel = opened(server, spool, left=[left])
    channel.start()
    until(lambda: left.is_closed)
    assert (left.is_empty, len(server.taken)) == (True, 7)
    channel.leave(PATIENCE)


def test_a_full_ring_drops_and_counts_when_nobody_empties_it(monkeypatch) -> None:
    monkeypatch.setattr(channels, "RING_LIMIT", 3)
    monkeypatch.setattr(channels, "_await", lambda holds, seconds: holds())
    channel = opened(Server(), MemorySpool())  # not started: nobody writes
    for place in range(3):
        assert channel.has_room(1)
        channel.append((RUN, {"x": float(place)}, None, place))
    assert not channel.has_room(2)
    assert channel.lost == 2


def test_what_cannot_be_written_is_told_and_the_writer_goes_on(caplog) -> None:
    server, spool = Server(), MemorySpool()
    channel = opened(server, spool)
    channel.start()
    channel.append((RUN, {"x": 1.0, "y": 1.0}, 2**80, 5))
    until(lambda: channel.lost == 2)
    channel.append((RUN, {"x": 2.0}, 1, 5))
    assert channel.settle(PATIENCE)
    channel.leave(PATIENCE)
    assert points_of(server.taken) == [("x", 2.0, 5, 1)]
    assert "cannot be written" in caplog.text


def test_runs_that_a_killed_process_had_open_are_ended(caplog) -> None:
    server, left = Server(), MemorySpool()
    left.mark(RUN, is_open=True)
    left.mark(OTHER, is_open=True)
    channel = opened(server, MemorySpool(), left=[left])
    channel.owned.add(OTHER)  # taken up again here
    channel.start()
    until(lambda: left.is_closed)
    channel.leave(PATIENCE)
    assert [(told.run, told.status, told.if_running) for told in server.taken] == [(RUN, RunStatus.KILLED, True)]

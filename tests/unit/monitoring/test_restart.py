"""A monitor that is killed after any window, or in the middle of one, comes to the same result."""

import pytest
from tests.unit.memory_journal import MemoryJournal
from tests.unit.monitoring.world import DAY, START, World, frame

from kedge.domain.ids import PredictionId
from kedge.domain.monitoring import COPIED
from kedge.ports import Position


def play(world: World, day: int) -> None:
    """One day with everything odd in it: labels before predictions, late ones, repeated and contradicting ones."""
    if day == 9:
        two = world.release(2, at=START + 9 * DAY)
        world.references().take(world.spec, two, frame(START + 9 * DAY, seed=2))
    if day == 5:  # a label that comes before its prediction, and one that comes for nothing
        early = [PredictionId("flights-6-3.1"), PredictionId("flights-nothing.0"), PredictionId("odd")]
        world.truth(early, [1.0, 1.0, 1.0], START + 6 * DAY)
    world.serve(day, requests=6)
    if day >= 11:  # what a shadow answers, a record later; one is a day late, one is about nothing
        for name in (f"{day}-1", f"{day}-1", f"{day - 1}-2", f"{day}-nothing"):
            at = START + int(name.partition("-")[0]) * DAY
            world.ask(name, at, versions=[2] * 4, shadow={1: [0.25 + day / 100] * 4}, variant=COPIED)
    if day == 4:
        world.serve(4, requests=2)  # the same requests again, after a killed client
    if day == 7:  # late records, for days whose windows were measured
        world.ask("late", START + 5 * DAY)
        world.ask("too-late", START - 20 * DAY)
    if day >= 2 and day != 8:
        world.tell(day - 2, requests=6, known=START + (day + 1) * DAY)
    if day == 8:
        world.tell(6, requests=3, known=START + 12 * DAY)  # known in the future: counts then
    if day == 10:
        world.tell(7, requests=6, known=START + 10 * DAY)  # again, with other values


class TwoWriters:
    """A journal that two processes write by turns: a segment each, read in the order of their names."""

    def __init__(self) -> None:
        self.records = {"b": [], "a": []}
        self.count = 0

    def append(self, payload: bytes) -> Position:
        self.count += 1
        segment = "ab"[self.count % 2]
        end = sum(len(one) for one in self.records[segment]) + len(payload)
        self.records[segment].append(payload)
        return Position(segment, end)

    def scan(self, after=None):
        for segment in sorted(self.records):
            end = 0
            for payload in list(self.records[segment]):
                end += len(payload)
                if end > (after or {}).get(segment, 0):
                    yield Position(segment, end), payload


def run(fresh, journal=MemoryJournal) -> list:
    world = World(predictions=journal(), truths=journal())
    world.release(1)
    monitoring = world.monitoring()
    world.references().take(world.spec, world.registry.versions[1], frame())
    seen = []
    for day in range(30):
        play(world, day)
        monitoring = world.monitoring() if fresh(day) else monitoring
        seen.append(world.measure(day, monitoring))
    return seen


@pytest.mark.parametrize("fresh", [lambda day: True, lambda day: day % 3 == 1, lambda day: day in (7, 8, 13, 21)])
def test_a_new_process_measures_what_the_old_one_would_have(fresh) -> None:
    assert run(fresh) == run(lambda day: False)
    assert run(fresh, TwoWriters) == run(lambda day: False, TwoWriters)


def test_oddities_are_counted_once() -> None:
    seen = run(lambda day: False)
    assert seen[4].join.repeated_predictions == 8
    assert (seen[7].join.late_predictions, seen[7].join.lost_predictions, seen[7].late) == (4, 4, 4)
    assert seen[5].join.unknown_labels == 1
    assert seen[5].join.waiting_labels == 2
    assert seen[6].join.waiting_labels == 1
    assert seen[10].join.repeated_labels + seen[10].join.contradicting_labels == 24
    assert seen[10].join.contradicting_labels > 0
    assert any("contradict" in note for note in seen[10].notes)
    assert seen[11].labels == 24 + 12


def test_a_window_measured_twice_is_measured_once() -> None:
    world = World()
    world.release(1)
    world.references().take(world.spec, world.registry.versions[1], frame())
    world.serve(0)
    first = world.measure(0)
    world.serve(1)
    assert world.measure(0) == first
    assert world.measure(1).rows == 96


def test_a_measurement_that_fails_halfway_leaves_nothing_behind(monkeypatch) -> None:
    world = World()
    world.release(1)
    monitoring = world.monitoring()
    world.references().take(world.spec, world.registry.versions[1], frame())
    whole = run(lambda day: False)
    for day in range(9):
        play(world, day)
        if day in (3, 6):
            with monkeypatch.context() as patch:
                patch.setattr(world.meta.watches, "put", lambda *_, **__: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    world.measure(day, monitoring)
        assert world.measure(day, monitoring) == whole[day]

"""What the log does not have: gaps, sampled entities, erased rows, personal columns; and what monitoring makes of it."""

import msgspec
import numpy as np
import pytest
from tests.unit.monitoring.world import DAY, START, World, frame

from kedge.domain.ids import PredictionId
from kedge.domain.records import encode_batch
from kedge.domain.rows import taken


@pytest.fixture
def world() -> World:
    made = World()
    made.release(1)
    made.references().take(made.spec, made.registry.versions[1], frame())
    return made


def test_rows_that_could_not_be_logged_are_counted_in_and_are_no_silence(world):
    world.ask("a", START, rows=3)
    world.ask("gap", START, rows=0, entities=[], missing=7)
    health = world.measure(0)
    assert (health.rows, health.missing, health.answered) == (3, 7, 10)
    assert "7 answered rows are missing from the log, which could not be written" in health.notes
    for day in (1, 2, 3):
        world.ask(f"gap-{day}", START + day * DAY, rows=0, entities=[], missing=5)
        assert not [alert for alert in world.measure(day).alerts if "predictions" in alert.message]


def test_a_sample_is_weighed(world):
    world.ask("a", START, share=0.1)
    health = world.measure(0)
    assert (health.rows, health.answered) == (4, 40)


def test_labels_find_the_rows_that_are_kept(world):
    asked = world.ask("a", START, outputs=[0.9, 0.2, 0.5, 0.5])
    kept = taken(msgspec.structs.replace(asked, request="flights-b"), [1, 3])
    world.predictions.append(encode_batch(kept))
    names = [PredictionId(f"flights-b.{row}") for row in (0, 1, 3)]
    world.truth(names, [1.0, 1.0, 0.0], START + DAY)
    health = world.measure(0)
    assert (health.labels, health.join.unknown_labels) == (2, 1), "row 0 is not in the log"
    assert health.loss == pytest.approx(-(np.log(0.2) + np.log(0.5)) / 2)


def test_a_label_that_waited_too_long_is_unknown_once(world):
    world.truth([PredictionId("flights-never.0")], [1.0], START)
    world.ask("a", START)
    assert world.measure(0).join.waiting_labels == 1
    step = world.spec.step_seconds / DAY.total_seconds()
    late = int(27 * step)
    world.measure(late)
    found = [world.measure(late + day).join for day in (1, 2)]
    assert [(each.unknown_labels, each.waiting_labels) for each in found] == [(1, 0), (0, 0)]


def test_a_personal_column_is_not_watched_and_raises_no_alarm(world):
    hidden = {"x": ["5f4d"] * 4, "carrier": ["AA"] * 4}
    for hour in range(24):
        world.ask(f"h{hour}", START + hour * DAY / 24, columns=lambda _: hidden, hidden=["x"])
        world.ask(f"o{hour}", START + hour * DAY / 24, columns=lambda _: {"carrier": ["AA"] * 4}, hidden=["x"])
    health = world.measure(0)
    (moved,) = [each for each in health.drift if each.column == "x"]
    assert not moved.alarm
    assert moved.evidence <= 1
    assert [note for note in health.notes if note.startswith("x")] == [
        "x: personal, so its values are not in the log and it is not watched"
    ]

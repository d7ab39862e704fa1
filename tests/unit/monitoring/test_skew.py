"""Prediction skew is told with the columns, the rows and both values; a sound service is not accused."""

from datetime import timedelta

import msgspec
import pytest
from tests.unit.monitoring.world import DAY, START, World, frame, line

from kedge.domain.alerting import AlertKind
from kedge.domain.channels import calm_windows
from kedge.domain.features import Mismatch, ParityReport
from kedge.domain.ids import prediction_id
from kedge.errors import NotFound, SourceFailed
from kedge.monitoring.quality.skew import MOST_REQUESTS, MOST_ROWS, sample_of
from kedge.monitoring.quality.skewed import SkewState


class Joined:
    """A parity room whose join gives `x` otherwise in every row, or fails, or agrees."""

    def __init__(self, wrong: bool = False, broken: bool = False) -> None:
        self.wrong, self.broken, self.asked = wrong, broken, []

    def compare_batches(self, spec, batches) -> ParityReport:
        if self.broken:
            raise SourceFailed("the table weather.csv cannot be read")
        self.asked.append(sum(len(batch.versions) for batch in batches))
        names = [prediction_id(batch.request, row) for batch in batches for row in range(len(batch.versions))]
        count = len(names) if self.wrong else 0
        found = tuple(
            Mismatch(prediction=name, at=START, column="x", served=0.5, joined=0.25) for name in names[: min(count, 20)]
        )
        return ParityReport(
            rows=len(names),
            values=len(names),
            mismatched=count,
            skewed=count,
            by_column={"x": count} if count else {},
            mismatches=found,
            columns=("x",),
        )


def run(joined: Joined, days: int, *, answer=lambda x: line(1, x)) -> list:
    world = World()
    world.release(1)
    monitoring = world.monitoring()
    monitoring._parity = lambda: joined
    world.references().take(world.spec, world.registry.versions[1], frame())
    seen = []
    for day in range(days):
        for hour in range(4):
            x = world.random.random(5)
            world.ask(
                f"{day}-{hour}",
                START + day * DAY + timedelta(hours=hour),
                rows=5,
                columns=lambda of, x=x: {"x": x.tolist(), "carrier": of["carrier"]},
                outputs=answer(x).tolist(),
            )
        seen.append(world.measure(day, monitoring))
    return seen


def skew_alerts(seen: list) -> list:
    return [alert for each in seen for alert in each.alerts if alert.kind is AlertKind.PREDICTION_SKEW]


def test_features_that_the_join_gives_otherwise_are_named_with_rows_and_values() -> None:
    seen = run(Joined(wrong=True), 6)
    first = seen[0].skew
    assert (first.rows, first.skewed, first.columns) == (20, 20, {"x": 20})
    assert (first.mismatches[0].prediction, first.mismatches[0].served, first.mismatches[0].joined) == (
        "flights-0-0.0",
        0.5,
        0.25,
    )
    (alert,) = skew_alerts(seen)
    assert alert.subject == "x"
    began = next(place for place, each in enumerate(seen) if each.alerts)
    assert [alert.id in each.standing for each in seen[began:]] == [True] * (6 - began), "the bets start again; it holds"
    elsewhere = msgspec.structs.replace(alert, subject="x, carrier")
    assert elsewhere.id == alert.id, "other columns are no other condition"
    assert "for one, flights-" in alert.message
    assert "20 of 20 sampled rows" in alert.message


def test_answers_that_the_model_does_not_give_are_named() -> None:
    seen = run(Joined(), 6, answer=lambda x: line(1, x) + 0.01)
    first = seen[0].skew
    assert (first.answers, first.changed, first.skewed) == (20, 20, 0)
    assert first.examples[0].again == pytest.approx(first.examples[0].answered - 0.01)
    (alert,) = skew_alerts(seen)
    assert alert.subject == "answers"


def test_calm_is_seen_in_samples_and_not_taken_for_granted() -> None:
    world, joined = World(), Joined(wrong=True)
    world.release(1)
    monitoring = world.monitoring()
    monitoring._parity = lambda: joined
    world.references().take(world.spec, world.registry.versions[1], frame())
    seen = []
    for day in range(20):
        joined.wrong = day < 3
        world.serve(day)
        seen.append(world.measure(day, monitoring))
    began = next(place for place, each in enumerate(seen) if skew_alerts([each]))
    assert began < 3
    quiet = calm_windows(world.spec.alerts, DAY)
    sampled = [place for place, each in enumerate(seen) if each.skew is not None]
    assert set(range(3 + quiet)) <= set(sampled), "each window until the episode is over"
    assert len(sampled) < 20, "then once a step again"
    for each in seen:
        assert each.could_show(AlertKind.PREDICTION_SKEW) == (each.skew is not None)
    assert seen[-1].could_show(AlertKind.DATA_DRIFT)


def test_a_sound_service_is_sampled_once_a_step_and_never_accused() -> None:
    joined = Joined()
    seen = run(joined, 30)
    assert skew_alerts(seen) == []
    assert [place for place, each in enumerate(seen) if each.skew is not None] == [0, 7, 14, 21, 28]
    assert seen[0].skew.answers == 20
    assert seen[0].skew.share == 0.0


def test_a_source_that_cannot_be_read_is_a_note_and_no_alarm() -> None:
    seen = run(Joined(broken=True), 3)
    assert skew_alerts(seen) == []
    assert any("cannot be read" in note for note in seen[0].notes)
    assert seen[0].skew.answers == 20


def test_a_version_that_cannot_be_asked_again_is_a_note_and_no_alarm() -> None:
    world = World()
    world.release(1)
    world.serve(0)
    monitoring = world.monitoring()
    monitoring._parity = lambda: Joined(broken=True)

    def gone(model, columns):
        raise NotFound("the model's files are gone")

    world.evaluation.score = gone
    health = world.measure(0, monitoring)
    assert (health.skew.answers, health.skew.rows, skew_alerts([health])) == (0, 0, [])
    assert [note for note in health.notes if note.startswith("skew: ")] == [
        "skew: version 1 could not be asked again: the model's files are gone",
        "skew: the features could not be joined again: the table weather.csv cannot be read",
    ]
    assert not health.could_show(AlertKind.PREDICTION_SKEW)


def test_a_sample_is_bounded_and_spread_over_the_window() -> None:
    world = World()
    world.release(1)
    for hour in range(24):
        world.ask(f"0-{hour}", START + timedelta(hours=hour), rows=40)
    state, join = world.monitoring()._resume(world.spec, world.window(0))
    join.read(world.predictions, world.truths, floor=START)
    batches = sample_of(join.answered(START, START + DAY))
    assert len(batches) == MOST_REQUESTS
    assert sum(len(batch.versions) for batch in batches) == MOST_ROWS
    assert {batches[0].request, batches[-1].request} == {"flights-0-0", "flights-0-23"}
    assert sample_of([]) == []
    assert state.skew.evidence == 0.0


def test_windows_without_a_skewed_row_raise_no_evidence() -> None:
    state = SkewState()
    assert [state.bet(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    risen = state.bet(0.05)
    fallen = [state.bet(0.0) for _ in range(5)]
    assert risen > fallen[0]
    assert fallen == sorted(fallen, reverse=True)


def test_one_late_row_in_a_hundred_is_within_the_tolerance() -> None:
    state = SkewState()
    assert max(state.bet(0.01) for _ in range(300)) < 1000
    state = SkewState()
    assert max(state.bet(share) for share in [0.0, 0.02] * 150) < 1000
    state = SkewState()
    assert max(state.bet(0.1) for _ in range(6)) > 1000

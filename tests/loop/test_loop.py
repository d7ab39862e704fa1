"""The whole loop on small data: it closes by itself, decides the same twice, and pays."""

from dataclasses import replace

import pytest
from tests.loop.small import PROJECT, opened, played, write

from kedge.domain.events import EventKind
from kedge.replay import rehearsal
from kedge.replay.play import play
from kedge.replay.rehearsal import InProcess, _by_window
from kedge.replay.timeline import lay_out
from kedge.security.audit import verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("loop") / "small")


@pytest.fixture(scope="module")
def live(folder):
    return played(folder)


def test_the_loop_closes_by_itself(live, folder) -> None:
    assert live.rows == 39 * 60
    assert live.trainings >= 2
    assert [p.version for p in live.promotions] == sorted({p.version for p in live.promotions})
    assert all(p.actor == "policy:ledger" for p in live.promotions)
    assert all("has reached the price of a retraining" in p.reason for p in live.promotions[1:])
    house, _ = opened(folder)
    kinds = {event.kind for _, event in house.meta.events.list(limit=100_000)}
    assert kinds >= {
        EventKind.DATASET_COMMITTED,
        EventKind.DATA_VALIDATED,
        EventKind.RUN_FINISHED,
        EventKind.GATE_JUDGED,
        EventKind.MODEL_REGISTERED,
        EventKind.ROLLOUT_STARTED,
        EventKind.WINDOW_MEASURED,
        EventKind.RETRAINING_DECIDED,
        EventKind.TURN_ENDED,
    }
    assert verify(house.meta.events.chain()).holds
    house.close()


def test_it_pays_where_the_concept_changes(live, tmp_path) -> None:
    never = played(write(tmp_path / "small", project=PROJECT.replace("[retraining]", '[retraining]\npolicy = "never"')))
    assert never.trainings == 0
    assert live.cost(retrain=5.0) < never.cost(retrain=5.0)


def test_the_same_past_gives_the_same_decisions(live, tmp_path) -> None:
    assert played(write(tmp_path / "small")).digest == live.digest


def test_a_second_call_finds_everything_done(live, folder) -> None:
    assert played(folder).digest == live.digest


def test_a_twin_with_the_same_policy_decides_the_same(live, folder) -> None:
    from kedge.app import rehearse
    from kedge.replay.clock import SetClock
    from kedge.replay.score import track

    house, _ = opened(folder)
    timeline = lay_out(_by_window(house.spec), house.data.rows(house.spec))
    clock = SetClock(timeline.start)
    twin = rehearse(replace(house), house.spec, clock=clock)
    play(twin, clock, timeline, InProcess(twin, timeline))
    kept = track(twin, house.spec, policy="twin")
    assert kept.digest == live.digest
    house.close()


def test_rows_joined_a_few_at_a_time_are_answered_alike(live, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rehearsal, "ROWS_AHEAD", 150)  # two windows and a half
    assert played(write(tmp_path / "small")).digest == live.digest


def test_each_policy_pays_for_the_looks_that_it_took(folder, tmp_path) -> None:
    looking = PROJECT.replace("retrain = 5.0", "retrain = 400.0, cpu_hour = 0.01")
    track = played(write(tmp_path / "looking", project=looking))
    assert track.looks > 0
    assert track.refused == 0
    house, _ = opened(tmp_path / "looking")
    versions = house.meta.models.list(house.spec.name)
    behind = {run for version in versions for run in (version.run, version.candidate_run)}
    spare = [run for run in house.meta.runs.list(house.spec.name, limit=1000) if run.id not in behind]
    house.close()
    assert track.looks - track.trainings <= len(spare) <= track.looks
    assert track.spare_cpu_seconds == sum(run.usage.cpu_seconds for run in spare) > 0
    dear = track.cost(retrain=400.0, cpu_hour=3600.0) - track.cost(retrain=400.0)
    assert dear == pytest.approx(track.spare_cpu_seconds)

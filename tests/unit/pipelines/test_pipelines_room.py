"""A training is made once for the same inputs, by one process at a time, within its budget; its failures are kept."""

from datetime import datetime, timedelta

import msgspec
import pytest

from kedge.domain.ids import run_id
from kedge.domain.project import Budget
from kedge.domain.tracking import RunStatus
from kedge.errors import StoreFull, TrainingFailed
from kedge.pipelines.room import LEASE_MARGIN_SECONDS, POLL_SECONDS
from kedge.pipelines.run import Made


def with_training(spec, **changes):
    return msgspec.structs.replace(spec, training=msgspec.structs.replace(spec.training, **changes))


def test_a_candidate_and_its_run(house, spec, frame) -> None:
    candidate = house.pipelines.train(spec, frame)
    (run,) = house.runs_by_age()
    assert (candidate.run, candidate.digest, candidate.format) == (run.id, run.artifacts["model"], "skops")
    assert candidate.trained_upto == frame.trained_upto
    assert candidate.cpu_seconds == 1800.0
    assert [column.name for column in candidate.signature.inputs] == ["wind", "carrier"]
    assert candidate.signature.positive == "1"
    assert house.blobs.kept[candidate.digest] == {"model": b"tree"}
    assert (run.status, house.experiments.get(run.experiment).name, run.name, run.inputs) == (
        RunStatus.FINISHED,
        "delay",
        "boosting",
        frame.versions,
    )
    assert run.params == {"pipeline": "built-in gradient boosting", "rows": "all", "half_life": "10.0", "seed": "0"}
    assert run.metrics == {"training_loss": 0.5}
    assert run.tags["service"] == "delay"
    assert house.runs.leases == {}


def test_the_job_gets_the_project_and_the_time_limit(house, spec, frame) -> None:
    house.pipelines.train(with_training(spec, pipeline="train.py:model", time_limit="90s"), frame)
    ((root, reference, work, seconds),) = house.jobs.calls
    assert root.endswith("pipelines")
    assert (reference, seconds) == ("train.py:model", 90.0)
    assert work.data.x.shape == (10, 2)


def test_the_same_training_is_made_once(house, spec, frame) -> None:
    first = house.pipelines.train(spec, frame)
    assert house.pipelines.train(spec, frame) == first
    assert house.beside("there").pipelines.train(spec, frame) == first
    assert len(house.jobs.calls) == 1


def test_a_twin_takes_the_result_and_tracks_a_run_of_its_own(house, spec, frame) -> None:
    first, twin = house, house.twin()
    candidate = first.pipelines.train(spec, frame)
    assert twin.pipelines.train(spec, frame) == candidate
    assert twin.jobs.calls == []
    (run,) = twin.runs_by_age()
    assert run == first.runs_by_age()[0]
    assert twin.shared.leases == {}


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"pipeline": "train.py:model"}, {"rows": "5d"}, {"half_life": None}, {"half_life": 3.0}]
)
def test_another_rule_is_another_training(house, spec, frame, changes) -> None:
    one = house.pipelines.train(spec, frame)
    two = house.pipelines.train(with_training(spec, **changes), frame)
    assert one.run != two.run


def test_other_code_is_another_training(house, spec, frame) -> None:
    one = house.pipelines.train(spec, frame)
    house.project.commit = "def"
    assert house.pipelines.train(spec, frame).run != one.run


def test_limits_do_not_change_what_is_trained(house, spec, frame) -> None:
    one = house.pipelines.train(spec, frame)
    two = house.pipelines.train(with_training(spec, time_limit="1h", budget=Budget(runs_per_week=9)), frame)
    assert one == two


def test_a_failure_is_kept_and_the_next_try_is_another_run(house, spec, frame) -> None:
    def raises(work):
        raise ValueError("token=abc123secret is no number")

    house.made, works = raises, house.made
    with pytest.raises(TrainingFailed) as caught:
        house.pipelines.train(spec, frame)
    (failed,) = house.runs_by_age()
    assert failed.status is RunStatus.FAILED
    assert failed.error in str(caught.value)
    assert failed.id in str(caught.value)
    assert "training of delay at test_pipelines_room.py:" in failed.error
    assert "ValueError: token=*** is no number" in failed.error
    kept = house.blobs.kept[failed.artifacts["traceback"]].decode()
    assert "Traceback" in kept
    assert "abc123secret" not in kept
    assert house.runs.leases == {}

    house.made = works
    assert house.pipelines.train(spec, frame).run != failed.id
    assert [run.status for run in house.runs_by_age()] == [RunStatus.FAILED, RunStatus.FINISHED]


def test_a_failure_without_a_line_of_the_project(house, spec, frame) -> None:
    from kedge.domain.tracking import Usage
    from kedge.ports import JobFailed

    house.jobs.call = lambda *_, seconds: (JobFailed(f"ran longer than {seconds:g} s", ""), Usage())
    with pytest.raises(TrainingFailed, match=r"^training of delay: ran longer than 1800 s \(run [0-9a-f]{16}\)$"):
        house.pipelines.train(spec, frame)
    assert house.runs_by_age()[0].artifacts == {}


def test_a_killed_training_is_taken_up_again(house, spec, frame) -> None:
    def killed(work):
        raise KeyboardInterrupt

    house.made, works = killed, house.made
    house.runs.release = lambda key, owner: None  # a killed process releases nothing
    with pytest.raises(KeyboardInterrupt):
        house.pipelines.train(spec, frame)
    (left,) = house.runs_by_age()
    assert left.status is RunStatus.RUNNING
    house.made = works
    assert house.pipelines.train(spec, frame).run == left.id == run_id(left.content_key)


def test_a_full_disk_leaves_the_run_to_be_taken_up(house, spec, frame) -> None:
    put = house.blobs.put_tree

    def full(files):
        raise StoreFull("no space")

    house.blobs.put_tree = full
    with pytest.raises(StoreFull):
        house.pipelines.train(spec, frame)
    assert house.runs.leases == {}
    house.blobs.put_tree = put
    assert house.pipelines.train(spec, frame).run == house.runs_by_age()[0].id


def test_who_comes_second_waits_for_the_first(house, spec, frame) -> None:
    first, second = house, house.beside("there")
    answers = []

    def first_finishes() -> None:
        answers.append(first.pipelines.train(spec, frame))

    key = first.pipelines._content_key(spec, frame)
    first.runs.claim(key, "here", now=first.clock.now(), seconds=60)
    second.while_paused = first_finishes
    assert second.pipelines.train(spec, frame) == answers[0]
    assert second.paused == [POLL_SECONDS]
    assert second.jobs.calls == []


def test_the_claim_of_the_dead_ends_by_real_time_while_the_past_is_played(house, spec, frame) -> None:
    key = house.pipelines._content_key(spec, frame)
    house.runs.claim(key, "a process that died", now=house.wall.now(), seconds=5)
    house.clock.time += timedelta(days=300)
    assert house.pipelines.train(spec, frame)
    assert sum(house.paused) == pytest.approx(5)
    assert house.runs.leases == {}


def test_a_lease_outlives_the_time_limit(house, spec, frame) -> None:
    seen = []

    def look(work) -> Made:
        seen.extend(house.runs.leases.values())
        return Made(files={}, format="skops", metrics={})

    house.made = look
    house.pipelines.train(with_training(spec, time_limit="10s"), frame)
    assert seen == [("here", house.wall.now() + timedelta(seconds=10 + LEASE_MARGIN_SECONDS))]


def test_a_run_that_finished_before_the_claim_is_not_made_again(house, spec, frame) -> None:
    other = house.beside("there")
    claim = house.runs.claim

    def late(key, owner, *, now, seconds):
        house.runs.claim = claim
        other.pipelines.train(spec, frame)
        return claim(key, owner, now=now, seconds=seconds)

    house.runs.claim = late
    assert house.pipelines.train(spec, frame)
    assert house.jobs.calls == []
    assert house.runs.leases == {}


def test_trainings_of_a_week_are_limited(house, spec, frame) -> None:
    one, two, three = (with_training(spec, seed=seed, budget=Budget(runs_per_week=2)) for seed in range(3))
    house.pipelines.train(one, frame)
    house.pipelines.train(two, frame)
    with pytest.raises(TrainingFailed, match=r"2 runs in the last seven days.*budget is 2 \(runs_per_week\)"):
        house.pipelines.train(three, frame)
    assert house.pipelines.train(two, frame)  # what was made is given all the same
    assert len(house.runs_by_age()) == 2
    assert house.runs.leases == {}
    house.clock.time += timedelta(days=7)
    assert house.pipelines.train(three, frame)


def test_hours_of_a_month_are_limited(house, spec, frame) -> None:
    house.clock.time = datetime(2013, 3, 31, 23, 59, tzinfo=frame.upto.tzinfo)
    one, two, three = (with_training(spec, seed=seed, budget=Budget(cpu_hours=1)) for seed in range(3))
    house.pipelines.train(one, frame)
    house.pipelines.train(two, frame)
    with pytest.raises(TrainingFailed, match=r"1.00 hours of CPU used since 2013-03-01.*budget is 1 a month \(cpu_hours\)"):
        house.pipelines.train(three, frame)
    house.clock.time += timedelta(minutes=1)
    assert house.pipelines.train(three, frame)


def test_a_training_that_was_killed_does_not_use_up_its_own_budget(house, spec, frame) -> None:
    limited = with_training(spec, budget=Budget(runs_per_week=1))
    test_a_killed_training_is_taken_up_again(house, limited, frame)

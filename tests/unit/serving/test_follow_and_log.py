"""The threads beside the answer path: following the deployment, keeping the log synced."""

import time
from collections.abc import Callable

from tests.unit.serving.fakes import Around, Journal, body_of

from kedge.errors import StoreFull
from kedge.serving.follow import Follower
from kedge.serving.log import PredictionLog


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_the_newest_revision_is_taken_up() -> None:
    around = Around()
    follower = Follower(around.host, seconds=0.01)
    around.deployments.deploy(1)
    follower.start()
    try:
        assert around.plane.require().deployment.revision == 1
        around.deployments.deploy(1, 2, share=0.1)
        assert eventually(lambda: around.plane.require().deployment.revision == 2)
    finally:
        follower.stop()
    assert around.registry.verified == [1, 2], "what was loaded is not loaded again"


def test_a_broken_revision_is_told_once_and_tried_again_after_a_rest(caplog: object) -> None:
    around = Around().deployed(1)
    around.registry.broken.add(2)
    around.deployments.deploy(2)
    follower = Follower(around.host)
    for _ in range(50):
        follower.look()
    assert around.registry.verified == [1, 2]
    assert around.plane.metrics.load_failures.value == 1
    around.registry.broken.clear()
    follower.look()
    assert around.plane.require().deployment.revision == 2


def test_a_newer_revision_ends_the_rest() -> None:
    around = Around().deployed(1)
    around.registry.broken.add(2)
    around.deployments.deploy(2)
    follower = Follower(around.host)
    follower.look()
    around.deployments.deploy(3)
    follower.look()
    assert around.plane.require().deployment.champion == 3


def test_a_version_on_trial_that_cannot_be_loaded_fails_on_its_rows_and_harms_nobody() -> None:
    around = Around()
    around.registry.broken.add(2)
    around.deployments.deploy(1, 2, share=1.0, salt="s")
    Follower(around.host).look()
    assert around.host.ready()
    answer = around.infer(body_of(2))
    assert (answer.status, answer.output("version")) == (200, [1, 1])
    (batch,) = around.logged()
    assert list(batch.errors) == [0, 1]
    assert "it could not be loaded: version 2 answers otherwise" in batch.errors[0]
    assert around.call("POST", "/v2/models/flights/versions/2/infer", body_of(1)).status == 422
    around.deployments.deploy(1)
    Follower(around.host).look()
    assert around.infer(body_of(1, id="r2")).status == 200


def test_a_version_that_is_gone_or_needs_another_service_is_not_served() -> None:
    around = Around().deployed(1)
    around.deployments.deploy(9)
    Follower(around.host).look()
    assert around.plane.require().deployment.champion == 1


def test_a_store_that_is_away_stops_nothing() -> None:
    around = Around().deployed(1)
    around.deployments.error = RuntimeError("connection refused")
    follower = Follower(around.host)
    follower.look()
    assert around.infer(body_of(1)).status == 200
    around.deployments.error = None
    around.deployments.deploy(2)
    for _ in range(51):
        follower.look()
    assert around.plane.require().deployment.champion == 2


def test_rows_are_synced_in_the_background_and_at_the_end() -> None:
    around, journal = Around().deployed(), Journal()
    log = PredictionLog(journal, sync_seconds=0.01)
    around.infer(body_of(3))
    (batch,) = around.logged()
    log.start()
    assert log.append(batch)
    assert log.lag_rows in (0, 3)
    assert eventually(lambda: log.lag_rows == 0)
    assert log.lag_seconds == 0.0
    log.stop()
    assert journal.syncs == 1, "nothing new, nothing synced"


def test_many_rows_do_not_wait_for_the_interval() -> None:
    around, journal = Around().deployed(), Journal()
    log = PredictionLog(journal, sync_seconds=60, sync_rows=4)
    around.infer(body_of(4))
    log.start()
    log.append(around.logged()[0])
    assert eventually(lambda: journal.syncs == 1)
    log.stop()


def test_a_sync_that_fails_is_counted(monkeypatch: object) -> None:
    class Failing(Journal):
        def sync(self) -> None:
            raise StoreFull("no space")

    around = Around().deployed()
    log = PredictionLog(Failing())
    around.infer(body_of(1))
    log.append(around.logged()[0])
    assert log.lag_seconds > 0
    log.sync()
    assert log.sync_failures == 1

"""What a server does beside serving: closed segments become Parquet, in a process of their own."""

from time import monotonic

import pytest
from tests.unit.storage.answers import answered

from kedge.app import open_house
from kedge.config import bare_project, settings
from kedge.domain.records import encode_batch
from kedge.errors import StoreBroken
from kedge.log_keeper import LogKeeper


@pytest.fixture
def house(tmp_path):
    made = open_house(settings(tmp_path, store=str(tmp_path / ".kedge")), bare_project(tmp_path), writer="serve")
    yield made
    made.close()


def keeper(house, **more):
    where = house.settings
    return LogKeeper(where.project, where.store, archives=(house.archive, house.truth_archive), **more)


def test_what_is_closed_is_compacted_and_the_rest_is_left(house):
    house.predictions.append(encode_batch(answered(1)))
    kept = keeper(house)
    kept._looked = monotonic()  # old predictions were looked for just now
    assert not kept.look(), "its writer lives"
    house.predictions.close()
    assert kept.look()
    assert (house.archive.stored().parts, house.archive.stored().segments) == (1, 0)
    assert not kept.look()


def test_it_works_beside_the_server_and_ends_with_it(house):
    house.predictions.append(encode_batch(answered(1)))
    house.predictions.close()
    kept = keeper(house, seconds=0.01)
    kept.start()
    try:
        for _ in range(3000):
            if house.archive.stored().parts:
                break
            kept._stopping.wait(0.01)
        assert house.archive.stored().parts == 1
    finally:
        kept.stop()
    assert not kept._thread.is_alive()


def test_that_another_process_is_at_it_is_no_failure(house, caplog):
    house.predictions.append(encode_batch(answered(1)))
    house.predictions.close()
    with house.archive._alone():
        assert keeper(house).look()
    assert "was not compacted" not in caplog.text
    assert house.archive.stored().segments == 1


def test_a_failure_is_told_and_nothing_more(house, caplog):
    house.predictions.append(encode_batch(answered(1)))
    house.predictions.close()
    (house.settings.folder / "predictions" / "compacted").write_text("no folder")
    assert keeper(house).look()
    assert "was not compacted" in caplog.text
    assert [path.stat().st_size > 0 for path in (house.settings.folder / "predictions").glob("*.log")] == [True]


def test_facts_of_this_process_are_closed_when_it_is_asked_for_and_no_failure_ends_the_keeper(house, caplog):
    house.truths.append(b"fact")
    (house.settings.folder / "truths" / "close").touch()

    class Broken:
        looks = 0

        def waits(self):
            self.looks += 1
            raise StoreBroken("no manifest")

    broken = Broken()
    kept = LogKeeper(
        house.settings.project, "postgresql://u:hidden@h/d", archives=(broken,), seconds=0.01, tended=(house.truths,)
    )
    assert "hidden" not in " ".join(kept._words)
    kept._looked = monotonic()
    kept.start()
    while broken.looks < 2:
        kept._stopping.wait(0.01)
    kept.stop()
    assert house.truths._open is None
    assert "no manifest" in caplog.text

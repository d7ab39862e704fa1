"""The small replay on PostgreSQL decides the same as on SQLite."""

import pytest
from tests.contract.metastore import MISSING, fresh_schema, postgresql_url
from tests.loop.small import opened, played, write

from kedge.security.audit import verify


@pytest.fixture
def url():
    """Give the URL of an empty PostgreSQL store."""
    if (server := postgresql_url()) is None:
        pytest.skip(MISSING)
    with fresh_schema(server) as url:
        yield url


def test_a_replay_decides_the_same_on_postgresql(url, tmp_path) -> None:
    folder = write(tmp_path / "postgresql")
    made = played(folder, store=url)
    assert made.trainings >= 2
    assert made.digest == played(write(tmp_path / "sqlite")).digest
    assert played(folder, store=url).digest == made.digest, "the same command again finds everything done"
    house, _ = opened(folder, store=url)
    assert verify(house.meta.events.chain()).holds
    house.close()

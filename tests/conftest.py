"""One OpenMP thread for the whole suite: many small parallel regions on busy cores cost more in waiting than in work.

No example of a property has a time limit: on a busy machine it would tell of the machine.
"""

import os

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("kedge", deadline=None)
settings.load_profile("kedge")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the browser's tests last: its driver keeps an event loop running in this thread until the end."""
    items.sort(key=lambda item: "tests/ui/" in item.nodeid)

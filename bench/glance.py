"""What a look costs where much is watched: a thousand windows of one model, one each of two hundred more.

    python bench/glance.py

Each page is asked for after something has happened, so that nothing is answered from what was told before. Median and
greatest of 21 looks, wall time in this process, without a network. Limits: 200 ms a page, 100 ms a scrape.
"""

import os
import platform
import statistics
import sys
import time
from pathlib import Path

from litestar.testing import TestClient

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.ui.crowded import crowd  # noqa: E402
from tests.ui.filled import FilledHouse  # noqa: E402

from kedge.domain.events import EventKind  # noqa: E402
from kedge.server.application import application  # noqa: E402
from kedge.storage.sql import open_store  # noqa: E402

LIMITS = {"/": 200, "/monitoring": 200, "/monitoring/alerts": 200, "/metrics": 100}
LOOKS = 21


def main() -> int:
    """Look at each page, print what it took; 1 where a limit is not kept."""
    meta = open_store("sqlite://")
    event, kept = crowd(meta), True
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    with TestClient(application(FilledHouse(meta)), base_url="http://127.0.0.1:8400") as client:
        for path, limit in LIMITS.items():
            took = []
            for look in range(-1, LOOKS):
                meta.events.append(event(EventKind.ALERT_RAISED, path, look))
                began = time.perf_counter()
                client.get(path, headers={"accept": "text/html"}).raise_for_status()
                if look >= 0:
                    took.append((time.perf_counter() - began) * 1000)
            middle = statistics.median(took)
            kept &= middle <= limit
            said = "ok" if middle <= limit else "OVER"
            print(f"{path:<22}{middle:6.0f} ms (at most {max(took):.0f})   limit {limit} ms: {said}")
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())

"""The outbox of alerts: ten thousand deliveries by two senders, of which one is killed again and again. None may be lost.

A delivery whose sender dies between sending and writing that down is sent again under the same id: at most one a kill.
Prints what came, how often, and how many went out in a second. `--count` and `--kills` choose.
"""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.faults.outboxes import drained  # noqa: E402


def main() -> None:
    """Fill, send, kill, count."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=10_000, help="deliveries")
    asked.add_argument("--kills", type=int, default=8, help="senders that are killed on the way")
    asked.add_argument("--limit", type=float, default=900.0, help="seconds at most")
    given = asked.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, SQLite"
    )
    with tempfile.TemporaryDirectory() as folder:
        came = drained(Path(folder), given.count, kills=given.kills, limit=given.limit)
    print(f"{came.due:,} due, {came.came:,} came, {came.sent:,} ended as sent; {came.due - came.came} lost")
    print(f"{came.doubled} came once more under the same id, by {came.kills} kills")
    print(f"{came.seconds:.0f} s, {came.came / came.seconds:.0f} a second")
    if came.came != came.due or came.sent != came.due or came.doubled > came.kills:
        raise SystemExit("lost or doubled")


if __name__ == "__main__":
    main()

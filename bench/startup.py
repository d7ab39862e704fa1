"""Start-up: `import kedge` (limit 80 ms) and `kedge --help` (limit 150 ms), beside a bare interpreter. Medians of 15."""

import os
import platform
import statistics
import subprocess
import sys
import time

RUNS = 15


def milliseconds(*words: str) -> float:
    """Run a command a few times; give the median of its wall time."""
    took = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


def main() -> None:
    """Measure and print, figure beside limit."""
    bare = milliseconds("-c", "pass")
    imported = milliseconds("-c", "import kedge") - bare
    helped = milliseconds("-m", "kedge", "--help")
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"bare interpreter  {bare:6.0f} ms")
    print(f"import kedge      {imported:6.0f} ms over it   limit  80 ms   {'ok' if imported <= 80 else 'OVER'}")
    print(f"kedge --help      {helped:6.0f} ms in all      limit 150 ms   {'ok' if helped <= 150 else 'OVER'}")


if __name__ == "__main__":
    main()

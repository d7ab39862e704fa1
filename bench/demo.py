"""The demo: a year of flights with the rehearsed policies, in an empty store. Limits: 180 s on 2 cores, 1.5 GiB at peak.

Peak memory is the greatest sum, over all processes of the demo, of the memory that is theirs alone plus their share of
what they share (PSS), sampled four times a second.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time

import psutil


def tree_bytes(root: psutil.Process) -> int:
    """Sum the proportional memory of a process and all below it."""
    total = 0
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def main() -> None:
    """Run the demo once and print what it took beside its limits."""
    with tempfile.TemporaryDirectory() as store:
        started = time.perf_counter()
        words = [sys.executable, "-m", "kedge", "demo", "--exit", "--json", "--store", store]
        demo = subprocess.Popen(words, stdout=subprocess.PIPE)
        peak, root = 0, psutil.Process(demo.pid)
        while demo.poll() is None:
            try:
                peak = max(peak, tree_bytes(root))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.25)
        output, _ = demo.communicate()
        seconds = time.perf_counter() - started
    made = json.loads(output)
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"wall time    {seconds:7.0f} s    limit 180 s      {'ok' if seconds <= 180 else 'OVER'}")
    print(f"CPU time     {made['cpu_seconds']:7.0f} s")
    print(f"peak memory  {peak / 2**30:7.2f} GiB  limit 1.50 GiB   {'ok' if peak <= 1.5 * 2**30 else 'OVER'}")
    for name, policy in made["policies"].items():
        print(f"{name:8} log loss {policy['log_loss']:.4f}  trainings {policy['trainings']:3d}  cost {policy['cost']:9.0f}")


if __name__ == "__main__":
    main()

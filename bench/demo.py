"""The demo: a year of flights with the rehearsed policies, in an empty store. Limits: 180 s on 2 cores, 1.5 GiB at peak.

Peak memory is the greatest sum, over all processes of the demo, of the memory that is theirs alone plus their share of
what they share (PSS), sampled four times a second. A training's matrix on its way to its process lies in a file in
memory: it counts for the process that has mapped it. Below the peak stand the processes that it is made of.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time

import psutil

PARTS = {"--while-input": "data plane", "kedge.adapters.worker": "training", "spawn_main": "rehearsal"}


def part_of(words: list[str]) -> str:
    """Name what a process of the demo is for, by its command line."""
    return next((part for mark, part in PARTS.items() if any(mark in word for word in words)), "live loop and others")


def tree_bytes(root: psutil.Process) -> dict[str, int]:
    """Sum the proportional memory of a process and all below it, by what they are for."""
    found: dict[str, int] = {}
    for process in (root, *root.children(recursive=True)):
        try:
            part = part_of(process.cmdline())
            found[part] = found.get(part, 0) + process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def main() -> None:
    """Run the demo once and print what it took beside its limits."""
    with tempfile.TemporaryDirectory() as store:
        started = time.perf_counter()
        words = [sys.executable, "-m", "kedge", "demo", "--exit", "--json", "--store", store]
        demo = subprocess.Popen(words, stdout=subprocess.PIPE)
        most: dict[str, int] = {}
        root = psutil.Process(demo.pid)
        while demo.poll() is None:
            try:
                most = max(most, tree_bytes(root), key=lambda parts: sum(parts.values()))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.25)
        output, _ = demo.communicate()
        seconds = time.perf_counter() - started
    made, peak = json.loads(output), sum(most.values())
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"wall time    {seconds:7.0f} s    limit 180 s      {'ok' if seconds <= 180 else 'OVER'}")
    print(f"CPU time     {made['cpu_seconds']:7.0f} s")
    print(f"peak memory  {peak / 2**30:7.2f} GiB  limit 1.50 GiB   {'ok' if peak <= 1.5 * 2**30 else 'OVER'}")
    for part, size in sorted(most.items(), key=lambda one: -one[1]):
        print(f"    {part:21} {size / 2**20:5.0f} MiB")
    print(f"state digest {made['digest'][:16]}")
    for name, policy in made["policies"].items():
        print(f"{name:8} log loss {policy['log_loss']:.4f}  trainings {policy['trainings']:3d}  cost {policy['cost']:9.0f}")


if __name__ == "__main__":
    main()

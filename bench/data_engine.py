"""The chunk store alone: files in, in again, out, verified, removed. What `kedge data` stands on, without its start-up.

python bench/data_engine.py [FOLDER] [--gib 1] [--files 20000]
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kedge.ports import TreeFile
from kedge.records import open_records
from kedge.settings import Settings

BLOCK = 16 << 20


def main() -> None:
    """Measure each step on files that are made for it."""
    words = argparse.ArgumentParser()
    words.add_argument("folder", nargs="?", default=tempfile.gettempdir())
    words.add_argument("--gib", type=float, default=1.0)
    words.add_argument("--files", type=int, default=20_000)
    asked = words.parse_args()
    base = Path(tempfile.mkdtemp(prefix="kedge-engine-", dir=asked.folder))
    try:
        one = base / "one"
        with one.open("wb") as file:
            for _ in range(int(asked.gib * (1 << 30)) // BLOCK):
                file.write(os.urandom(BLOCK))
        many = []
        for at in range(asked.files):
            path = base / "many" / f"{at // 1000:03}" / f"{at:06}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(10_240))
            many.append((str(path.relative_to(base)), path))
        os.sync()
        measure(base, f"{asked.gib:g} GiB", [("one", one)])
        measure(base, f"{asked.files} files", many)
    finally:
        shutil.rmtree(base)


def measure(base: Path, what: str, files: list[tuple[str, Path]]) -> None:
    """Take files in twice, and out."""
    folder = base / f"store-{len(files)}"
    records = open_records(Settings(project=base, store=str(folder)))
    blobs = records.blobs

    def add() -> str:
        kept = list(blobs.put_files(files, told=lambda count, size: None))
        return blobs.put_manifest(TreeFile(file.name, file.digest, file.size) for file in kept)

    tree = timed(f"add {what}", add)
    timed("add again", add)
    out = base / "out"
    timed("restore", lambda: list(blobs.restore(((f, out / f.name) for f in blobs.manifest(tree)), told=lambda n, s: None)))
    stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    given = sum(path.stat().st_size for _, path in files)
    print(f"  {stored / given:.3f} stored per byte; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    records.close()
    shutil.rmtree(out)


def timed(what: str, step: Callable[[], object]) -> object:
    """Print how long a step takes, wall and processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = step()
    print(f"  {what:24} {time.perf_counter() - wall:6.2f} s  ({time.process_time() - cpu:.2f} s of processors)")
    return result


if __name__ == "__main__":
    main()

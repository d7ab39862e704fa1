"""Versioning data that is larger than memory: one big file, and very many small ones. How much memory, time, how fast.

python bench/large.py            1 GiB and 20,000 files: about a minute
python bench/large.py --large    20 GiB and 1,000,000 files: about an hour, and three times the space of the file

Each command is a process of its own, asked for its memory every 20 ms: `memory` is the most that was its own, `mapped`
what of files it had in view besides, which the system takes back when it needs room. BENCH_FOLDER is where the data goes.
"""

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 500 << 20
SMALL = 1000
_PIECE = 8 << 20


def asked(folder: Path, *words: str) -> dict[str, float]:
    """Run a command of `kedge data`; give its seconds, and the most memory that it had."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    env.pop("KEDGE_STORE", None)
    began = time.perf_counter()
    command = [sys.executable, "-m", "kedge", "data", *words]
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    most = {"memory": 0, "mapped": 0}

    def watch() -> None:
        while process.returncode is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except OSError:
                return
            said = dict(line.split(":", 1) for line in lines if ":" in line)
            for name, field in (("memory", "RssAnon"), ("mapped", "RssFile")):
                most[name] = max(most[name], int(said.get(field, "0 kB").split()[0]) << 10)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - began
    watcher.join()
    assert process.returncode == 0, (words, said.decode())
    return {"seconds": seconds, **most}


def write_big(path: Path, *, size: int) -> None:
    """Write random bytes, made quickly: a generator's, which is as hard to shorten as the system's."""
    source = random.Random(1)
    with path.open("wb") as file:
        for _ in range(size // _PIECE):
            file.write(source.randbytes(_PIECE))


def write_many(folder: Path, *, files: int) -> None:
    """Write small files, a thousand in each folder."""
    source = random.Random(2)
    for number in range(files):
        if number % 1000 == 0:
            home = folder / f"{number // 1_000_000:02d}" / f"{number // 1000 % 1000:03d}"
            home.mkdir(parents=True)
        (home / f"{number % 1000:03d}.bin").write_bytes(source.randbytes(SMALL))


def change_some(folder: Path, *, files: int) -> None:
    """Write one file in a hundred anew."""
    for number in range(0, files, 100):
        path = folder / f"{number // 1_000_000:02d}" / f"{number // 1000 % 1000:03d}" / f"{number % 1000:03d}.bin"
        path.write_bytes(os.urandom(SMALL))


def one_file(folder: Path, *, size: int) -> dict[str, dict[str, float]]:
    """Add a big file, look, add it again longer, and bring the version before back."""
    write_big(folder / "big.bin", size=size)
    time.sleep(1)
    found = {"add": asked(folder, "add", "big.bin") | {"bytes": size}}
    found["status, nothing changed"] = asked(folder, "status")
    with (folder / "big.bin").open("ab") as file:
        file.write(os.urandom(size // 100))
    found["add, 1 % appended"] = asked(folder, "add", "big.bin") | {"bytes": size}
    found["checkout of the first"] = asked(folder, "checkout", "big.bin@1") | {"bytes": size}
    found["verify"] = asked(folder, "verify") | {"bytes": size}
    return found


def many_files(folder: Path, *, files: int) -> dict[str, dict[str, float]]:
    """Add very many files, look, add them again where some changed, and bring the version before back."""
    write_many(folder / "many", files=files)
    time.sleep(1)
    found = {"add": asked(folder, "add", "many") | {"files": files}}
    found["status, nothing changed"] = asked(folder, "status") | {"files": files}
    change_some(folder / "many", files=files)
    found["add, 1 % changed"] = asked(folder, "add", "many") | {"files": files}
    found["diff of the two"] = asked(folder, "diff", "many@1", "@2") | {"files": files}
    found["checkout of the first"] = asked(folder, "checkout", "many@1") | {"files": files}
    shutil.rmtree(folder / "many")
    found["checkout of all"] = asked(folder, "checkout", "many") | {"files": files}
    return found


def show(title: str, found: dict[str, dict[str, float]]) -> int:
    """Print what was found; give how many pieces took more memory than they may."""
    print(f"\n{title}\n{'':<28}{'time':>10}{'rate':>16}{'memory':>12}{'mapped':>12}")
    missed = 0
    for piece, one in found.items():
        if "bytes" in one:
            rate = f"{one['bytes'] / one['seconds'] / 1e6:,.0f} MB/s"
        else:
            rate = f"{one['files'] / one['seconds']:,.0f} files/s" if "files" in one else ""
        holds = one["memory"] <= LIMIT
        missed += not holds
        memory, mapped = (f"{one[name] / (1 << 20):,.0f} MiB" for name in ("memory", "mapped"))
        print(f"{piece:<28}{one['seconds']:>9.1f}s{rate:>16}{memory:>12}{mapped:>12}{'' if holds else '   MISSED'}")
    return missed


def main() -> None:
    """Print the tables; exit with 1 where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="20 GiB and 1,000,000 files")
    parser.add_argument("--gib", type=int, help="of the big file; 0 leaves it out")
    parser.add_argument("--files", type=int, help="how many small ones; 0 leaves them out")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    gib = given.gib if given.gib is not None else 20 if given.large else 1
    files = given.files if given.files is not None else 1_000_000 if given.large else 20_000
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(ROOT / "src")], check=True)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for title, amount, work in (
        (f"one file of {gib:,} GiB of random bytes", gib << 30, lambda home: one_file(home, size=gib << 30)),
        (f"{files:,} files of {SMALL:,} bytes", files, lambda home: many_files(home, files=files)),
    ):
        if amount:
            with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
                found[title] = work(Path(folder))
    if given.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    print(f"memory may be {LIMIT >> 20} MiB at most")
    missed = sum(show(title, pieces) for title, pieces in found.items())
    print("\nthe limit holds" if not missed else f"\nthe limit is missed {missed} times")
    raise SystemExit(bool(missed))


if __name__ == "__main__":
    main()

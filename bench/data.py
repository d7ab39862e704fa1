"""Versioning data with Kedge, DVC and Oxen: the same work on the same files, taken in turns in one run.

python bench/data.py [--size MIB] [--files N] [--rounds N] [--json]        about ten minutes at full size

DVC and Oxen run in environments of their own: DVC_PYTHON and OXEN_PYTHON name their Pythons, else .peers/dvc and
.peers/oxen are made. Each figure is the best of its rounds, process start included, except for Oxen, which runs in a
process that is up. Each tool's store is made before the clock runs (`dvc init`, Oxen's `init`; Kedge makes its own when
the first file is added). Space is what the store grew by, in bytes allotted on the disk. Below the table: what the disk and
the processor alone need for the big file, so that the reader sees what is left to gain.
"""

import argparse
import json
import mmap
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from blake3 import blake3

from kedge.storage.blobs.cut import cut

ROOT = Path(__file__).parents[1]
PEERS = {"dvc": "dvc==3.67.1", "oxen": "oxenai==0.65.1"}
LIMITS = {  # ratio to DVC, ratio to Oxen
    "add one big file": (0.15, 0.4),
    "status of it, nothing changed": (0.15, None),
    "add it again, 1 % appended": (0.1, None),
    "add it again, 4 KiB inserted": (0.1, None),
    "switch it to the version before": (0.4, None),
    "add many small files": (0.15, 0.4),
    "status of them, nothing changed": (0.15, None),
    "switch them to the version before": (0.4, None),
}
SMALL = 10_000
WORKER = """
import json, os, sys, time
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Oxen itself prints what it does
from oxen import Repo
repo = None
for line in sys.stdin:
    words = json.loads(line)
    began = time.perf_counter()
    if words[0] == "init":
        repo = Repo(words[1]); repo.init()
    elif words[0] == "add":
        repo.add(words[1]); repo.commit(words[2])
    elif words[0] == "status":
        repo.status()
    print(json.dumps(time.perf_counter() - began), file=answers, flush=True)
"""


class Kedge:
    """`kedge data`, beside git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        self.env.pop("KEDGE_STORE", None)
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start would compile: what is installed is compiled
        self.store = folder / ".kedge"
        git(folder, "init", "-q")
        (folder / ".kedge").mkdir()
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(ROOT / "src")], env=self.env, check=True)
        (folder / "first.txt").write_text("first")
        self.run("add", "first.txt")

    def run(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "kedge", "data", *words], cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    def add(self, name: str) -> None:
        self.run("add", name)
        commit(self.folder)

    def status(self) -> None:
        self.run("status")

    def back(self, name: str) -> None:
        git(self.folder, "checkout", "-q", "HEAD~1")
        self.run("checkout", name)

    def close(self) -> None:
        """Nothing runs on."""


class Dvc(Kedge):
    """`dvc`, beside git."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.python = folder, python
        self.env = os.environ | {"DVC_NO_ANALYTICS": "1"}
        self.store = folder / ".dvc" / "cache"
        git(folder, "init", "-q")
        self.run("init", "-q")
        self.run("config", "core.analytics", "false")
        self.run("config", "core.check_update", "false")

    def run(self, *words: str) -> None:
        done = subprocess.run(
            [self.python, "-m", "dvc", *words], cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)


class Oxen:
    """Oxen's own library, in a process that is up."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.store = folder, folder / ".oxen"
        env = os.environ | {"HOME": str(folder.parent), "OXEN_USER_NAME": "bench"}
        config = folder.parent / ".config" / "oxen"
        config.mkdir(parents=True, exist_ok=True)
        (config / "user_config.toml").write_text('name = "bench"\nemail = "bench@example.com"\n')
        self.process = subprocess.Popen(
            [python, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
        )
        self.ask("init", str(folder))

    def ask(self, *words: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise RuntimeError(f"Oxen ended at {words}")

    def add(self, name: str) -> None:
        self.ask("add", str(self.folder / name), "more")

    def status(self) -> None:
        self.ask("status")

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def git(folder: Path, *words: str) -> None:
    """Run git."""
    me = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    subprocess.run(["git", *me, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    """Commit the pointers."""
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "more", "--allow-empty")


def clocked(act) -> float:
    """Give the seconds that some work took."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def space(folder: Path) -> int:
    """Count the bytes that a folder takes on the disk."""
    found = 0
    for home, _, files in os.walk(folder):
        for name in files:
            found += os.lstat(os.path.join(home, name)).st_blocks * 512
    return found


def big(folder: Path, *, size: int, seed: int) -> Path:
    """Write a file of random bytes."""
    path = folder / "big.bin"
    source = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(source.randbytes(1 << 20))
    return path


def many(folder: Path, *, files: int, seed: int) -> Path:
    """Write small files of random bytes."""
    source = random.Random(seed)
    for number in range(files):
        path = folder / "many" / f"{number % 100:02d}" / f"{number:06d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(SMALL))
    return folder / "many"


def append(path: Path, *, share: float) -> int:
    """Make a file longer."""
    data = os.urandom(int(path.stat().st_size * share))
    with path.open("ab") as file:
        file.write(data)
    return len(data)


def insert(path: Path, *, size: int) -> int:
    """Put bytes into the middle of a file."""
    data = path.read_bytes()
    half = len(data) // 2
    with path.open("wb") as file:
        file.write(data[:half] + os.urandom(size) + data[half:])
    return size


def change(folder: Path, *, share: float) -> int:
    """Write some files anew."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = paths[:: int(1 / share)]
    for path in chosen:
        path.write_bytes(os.urandom(SMALL))
    return len(chosen) * SMALL


def least(folder: Path, *, size: int) -> dict[str, float]:
    """Give the seconds that the parts of keeping a big file take on this machine by themselves, each by one thread."""
    piece, rounds = 4 << 20, max(1, size >> 22)
    data = mmap.mmap(-1, piece)
    data.write(random.Random(0).randbytes(piece))
    path = folder / "least.bin"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        direct = os.open(path, os.O_WRONLY | getattr(os, "O_DIRECT", 0))
    except OSError:
        direct = os.dup(descriptor)

    def write() -> None:
        for number in range(rounds):
            os.pwrite(direct, data, number * piece)
        os.fsync(descriptor)

    def read() -> None:
        for number in range(rounds):
            os.preadv(descriptor, [data], number * piece)

    found = {"written and synced": clocked(write)}
    read()
    found["read from memory"] = min(clocked(read) for _ in range(2))
    found["hashed"] = rounds * min(clocked(lambda: blake3(data)) for _ in range(5))
    found["cut"] = rounds * min(clocked(lambda: list(cut(bytes(data)))) for _ in range(5))
    os.close(direct)
    os.close(descriptor)
    path.unlink()
    return found


def work(tools, *, size: int, files: int, seed: int, into: dict) -> None:
    """Do all of the work once, each piece with each tool in turn."""

    def noted(piece: str, acts, *, grown: int | None = None) -> None:
        for name, act in acts.items():
            before = space(tools[name].store) if grown is not None else 0
            seconds = clocked(act)
            entry = into.setdefault(piece, {}).setdefault(name, {"seconds": []})
            entry["seconds"].append(seconds)
            if grown is not None:
                entry["stored"] = space(tools[name].store) - before
                entry["new"] = grown
            time.sleep(0.05)

    def each(verb: str, *words: str) -> dict:
        able = {name: tool for name, tool in tools.items() if hasattr(tool, verb)}
        return {name: (lambda tool=tool: getattr(tool, verb)(*words)) for name, tool in able.items()}

    for tool in tools.values():
        big(tool.folder, size=size, seed=seed)
    time.sleep(0.1)
    noted("add one big file", each("add", "big.bin"), grown=size)
    noted("status of it, nothing changed", each("status"))
    grown = [append(tool.folder / "big.bin", share=0.01) for tool in tools.values()]
    noted("add it again, 1 % appended", each("add", "big.bin"), grown=grown[0])
    grown = [insert(tool.folder / "big.bin", size=4096) for tool in tools.values()]
    noted("add it again, 4 KiB inserted", each("add", "big.bin"), grown=grown[0])
    noted("switch it to the version before", each("back", "big.bin"))
    for tool in tools.values():
        if not isinstance(tool, Oxen):
            git(tool.folder, "checkout", "-q", "-B", "more")
        many(tool.folder, files=files, seed=seed)
    time.sleep(0.1)
    noted("add many small files", each("add", "many"), grown=files * SMALL)
    noted("status of them, nothing changed", each("status"))
    grown = [change(tool.folder / "many", share=0.01) for tool in tools.values()]
    noted("add them again, 1 % changed", each("add", "many"), grown=grown[0])
    noted("switch them to the version before", each("back", "many"))


def python_of(name: str) -> str | None:
    """Find a peer's Python, or make its environment."""
    if given := os.environ.get(f"{name.upper()}_PYTHON"):
        return given
    home = ROOT / ".peers" / name
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        done = subprocess.run([python, "-m", "pip", "install", "-q", PEERS[name]])
        if done.returncode:
            shutil.rmtree(home)
            return None
    return str(python)


def main() -> None:
    """Print the table; exit with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="of the big file, in MiB")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--without", nargs="*", default=[], choices=list(PEERS))
    asked = parser.parse_args()
    found: dict = {}
    bounds: list[dict[str, float]] = []
    pythons = {name: python_of(name) for name in PEERS if name not in asked.without}
    for seed in range(asked.rounds):
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
            tools: dict = {}
            for name, made in (("kedge", Kedge), ("dvc", Dvc), ("oxen", Oxen)):
                home = Path(folder) / name / "work"
                home.mkdir(parents=True)
                if name == "kedge":
                    tools[name] = made(home)
                elif pythons.get(name):
                    tools[name] = made(home, pythons[name])
            bounds.append(least(Path(folder), size=asked.size << 20))
            work(tools, size=asked.size << 20, files=asked.files, seed=seed, into=found)
            for tool in tools.values():
                tool.close()
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    alone = {part: min(each[part] for each in bounds) for part in bounds[0]}
    raise SystemExit(show(found, asked, alone=alone))


def show(found, asked, *, alone: dict[str, float]) -> int:
    """Print what was found; give 1 where a limit is missed."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    print(
        f"one file of {asked.size:,} MiB of random bytes; {asked.files:,} files of {SMALL:,} bytes; best of {asked.rounds}\n"
    )
    print(f"{'':<36}{'kedge':>9}{'dvc':>9}{'oxen':>9}   ratio and limit")
    missed = 0
    for piece, tools in found.items():
        best = {name: min(entry["seconds"]) for name, entry in tools.items()}
        line = f"{piece:<36}" + "".join(
            f"{best[name]:>8.2f}s" if name in best else f"{'':>9}" for name in ("kedge", "dvc", "oxen")
        )
        for peer, limit in zip(("dvc", "oxen"), LIMITS.get(piece, (None, None)), strict=True):
            if peer in best:
                ratio = best["kedge"] / best[peer]
                holds = limit is None or ratio <= limit
                missed += not holds
                line += f"   {peer} {ratio:.2f}" + (f" ({'<=' if holds else 'MISSED'} {limit})" if limit else "")
        print(line)
        grown = {name: entry for name, entry in tools.items() if "stored" in entry}
        if grown:
            said = ", ".join(f"{name} {entry['stored'] / 1e6:,.1f} MB" for name, entry in grown.items())
            print(f"    {next(iter(grown.values()))['new'] / 1e6:,.2f} MB are new; stored: {said}")
    parts = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in alone.items())
    busy = (alone["read from memory"] + 2 * alone["hashed"] + alone["cut"]) / (os.cpu_count() or 1)
    print(f"\n{asked.size:,} MiB alone, by one thread: {parts}")
    print(f"an add reads, cuts, hashes twice (the file and its chunks) and writes: at least {busy:.2f} s on all cores,")
    print(f"    and at least {alone['written and synced']:.2f} s on the disk")
    print("\nall limits hold" if not missed else f"\n{missed} limits missed")
    return bool(missed)


if __name__ == "__main__":
    main()

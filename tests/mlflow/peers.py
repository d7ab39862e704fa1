"""Find, or make, the environments of the MLflow clients that the tests run: the newest release and one of a year before.

python -m tests.mlflow.peers        makes both under .peers/ from new.txt and old.txt

KEDGE_TEST_MLFLOW_NEW and KEDGE_TEST_MLFLOW_OLD name an interpreter instead, where one is there already.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".peers"
PEERS = ("new", "old")


def find(peer: str) -> Path | None:
    """Find the interpreter of a peer."""
    named = os.environ.get(f"KEDGE_TEST_MLFLOW_{peer.upper()}")
    path = Path(named) if named else FOLDER / peer / "bin" / "python"
    return path if path.exists() and (named or (FOLDER / peer / "made").exists()) else None


def make(peer: str) -> Path:
    """Make the environment of a peer, unless it is there."""
    if (found := find(peer)) is not None:
        return found
    folder = FOLDER / peer
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / f"{peer}.txt"], check=True)
    (folder / "made").touch()
    return python


if __name__ == "__main__":
    for one in PEERS:
        sys.stdout.write(f"{one}: {make(one)}\n")

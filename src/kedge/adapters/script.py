"""What a training script is: the commit it stands at and what differs from it, its command line, its environment."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from threading import Timer

import msgspec

DIFF_BYTES = 1 << 20
_SECONDS = 10.0


class ScriptFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Tags that describe a script, the diff of its repository ("" where nothing differs), the installed packages."""

    tags: dict[str, str]
    diff: str
    packages: tuple[str, ...]


def look_at_script() -> ScriptFacts:
    """Look at the script that runs, once."""
    words = sys.orig_argv or sys.argv
    script = Path(sys.argv[0]) if sys.argv and sys.argv[0] else None
    folder = script.resolve().parent if script is not None and script.is_file() else Path.cwd()
    commit, branch, dirty = _state(folder)
    tags = {
        "kedge.command": shlex.join(words),
        "kedge.host": platform.node(),
        "kedge.python": f"{platform.python_implementation()} {platform.python_version()}",
        "kedge.platform": platform.platform(),
        "kedge.git.branch": branch,
        "kedge.git.dirty": "true" if dirty else "false" if commit else "",
        "mlflow.source.git.commit": commit,
        "mlflow.source.name": str(script) if script is not None else "",
    }
    packages = tuple(sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower))
    return ScriptFacts(tags=tags, diff=_diff(folder) if dirty else "", packages=packages)


def _state(folder: Path) -> tuple[str, str, bool]:
    """Ask git for commit, branch, and whether tracked files differ; empty outside a repository."""
    told = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no", limit=DIFF_BYTES)
    heads = {line.split()[1]: line.split(maxsplit=2)[2] for line in told.splitlines() if line.startswith("# branch.")}
    commit = heads.get("branch.oid", "")
    dirty = any(not line.startswith("#") for line in told.splitlines())
    return (commit if commit.isalnum() else ""), heads.get("branch.head", ""), dirty and commit.isalnum()


def _diff(folder: Path) -> str:
    """Read what differs from the commit; cut, and said so, where it is long."""
    told = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", limit=DIFF_BYTES + 1)
    if len(told.encode()) <= DIFF_BYTES:
        return told
    return f"{told[:DIFF_BYTES]}\n[cut here: the diff is longer than {DIFF_BYTES >> 20} MiB]\n"


def _git(folder: Path, *words: str, limit: int) -> str:
    """Run git, and read its first `limit` bytes; "" where there is no git, no repository, or no answer in time."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # to look must not lock out the user's own git
    try:
        asked = subprocess.Popen(
            ["git", "-C", str(folder), *words],  # noqa: S607 - the git that the user's own path names
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError:
        return ""
    ends = Timer(_SECONDS, asked.kill)
    ends.daemon = True
    ends.start()
    with asked:
        data = asked.stdout.read(limit) if asked.stdout is not None else b""
        asked.kill()
    ends.cancel()
    return data.decode("utf-8", "replace") if len(data) >= limit or asked.returncode in (0, -9) else ""

"""`kedge data add` and `checkout`: what is done all day, so plain words start without the command line's library."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from kedge.cli.progress import HowFar
from kedge.cli.who import person
from kedge.domain.counts import count, size
from kedge.errors import KedgeError, NotFound
from kedge.filing import Filing, filed
from kedge.settings import project_root, settings
from kedge.workspaces import open_workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from kedge.data.files.versions import Added, CheckedOut

_FLAGS = {"--json", "--force"}


def quick(words: list[str]) -> int | None:
    """Do `add` and `checkout` of plain words, and give the exit code; None for what needs the whole command line."""
    command, *rest = words
    flags = {word for word in rest if word.startswith("-")}
    named = [word for word in rest if not word.startswith("-")]
    message = ""
    if command == "add" and rest[1:2] in (["-m"], ["--message"]) and len(rest) == 3 and rest[0] in named:
        flags, named, message = set(), rest[:1], rest[2]
    if command == "add" and named and flags <= {"--json"}:
        add(named, message=message, as_json="--json" in flags)
        return 0
    if command == "checkout" and flags <= _FLAGS:
        return checkout(named, force="--force" in flags, as_json="--json" in flags)
    return None


def add(paths: list[str], *, message: str = "", name: str = "", store: str | None = None, as_json: bool = False) -> None:
    """Make files or folders the newest versions of their datasets."""
    done: list[Added] = []
    _require_there(paths, store)
    with _filed(store, make=True) as filing:
        for path in paths:
            place = _place(filing, path)
            with HowFar(f"adding {path}") as shown:
                done.append(filing.files.add(place, actor=person(), told=shown.told, name=name, message=message))
            if not as_json:
                print_added(done[-1])
    if as_json:
        _print_json(done)


def checkout(references: list[str], *, force: bool = False, store: str | None = None, as_json: bool = False) -> int:
    """Bring data in the workspace to versions; give the exit code."""
    done: list[CheckedOut] = []
    with _filed(store) as filing:
        wanted = references or [f"{place}" for place in filing.workspace.places()]
        failed = 0
        for reference in wanted:
            try:
                version, place = filing.files.resolve(reference)
                if place is None:
                    place = version.source
                    if not place or version.tree is None:
                        raise NotFound(f"no path here belongs to {version.dataset!r}; write it to one: kedge data export")
                with HowFar(f"checking out {place}", files=version.files, bytes=version.bytes) as shown:
                    done.append(filing.files.checkout(place, version, told=shown.told, force=force))
            except KedgeError as error:
                if len(wanted) == 1:
                    raise
                failed += 1
                _say(f"error: {error}", to=sys.stderr)
                continue
            if not as_json:
                print_checked_out(done[-1])
    if as_json:
        _print_json(done)
    return 1 if failed else 0


def print_added(done: Added) -> None:
    """Say what an add or an import did."""
    version = done.version
    what = f"{count(version.files, 'file')}, {size(version.bytes)}"
    if done.new:
        _say(f"{done.place}: {version.dataset} v{version.number} ({version.digest[:12]}), {what}; {done.read:,} read")
    else:
        _say(f"{done.place}: nothing changed since {version.dataset} v{version.number} ({what})")
    for warning in done.warnings:
        _say(f"warning: {warning}", to=sys.stderr)


def print_checked_out(done: CheckedOut) -> None:
    """Say what a checkout did."""
    left = f"; left as they are, for it does not have them: {count(done.left, 'file')}" if done.left else ""
    what = f"{count(done.written, 'file')} written, {done.removed:,} removed{left}"
    _say(f"{done.place}: {done.version.dataset} v{done.version.number}, {what}")


def _filed(store: str | None, *, make: bool = False) -> AbstractContextManager[Filing]:
    """Open the store that this folder belongs to."""
    return filed(settings(project_root(Path()), store=store), make=make)


def _place(filing: Filing, path: str) -> str:
    """Take a path, or the name of a dataset that lies here."""
    place = filing.workspace.place(path)
    if filing.workspace.kind(place) is None and not Path(path).exists():
        try:
            return filing.files.place_of(filing.files.dataset_of(path)) or place
        except NotFound:
            return place
    return place


def _require_there(paths: list[str], store: str | None) -> None:
    """Raise NotFound where there is neither a store nor what it is to be made of."""
    here = settings(project_root(Path()), store=store)
    if here.has_store:
        return
    from kedge.data.files.versions import absent

    workspace = open_workspace(here.project)
    for place in map(workspace.place, paths):
        if workspace.kind(place) is None:
            raise absent(place, workspace.pointer(place))


def _say(text: str, *, to: TextIO | None = None) -> None:
    stream = to or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def _print_json(value: object) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    sys.stdout.flush()

"""`kedge data status`: what has changed in the workspace. Reads what is remembered of it, and no store.

It is asked for all the time, so it costs as little as a process can: `quick` answers before the command line's library is
imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kedge.data.files.looking import look
from kedge.domain.workspace import Change, PlaceState, PlaceStatus
from kedge.settings import project_root, settings
from kedge.workspaces import open_workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kedge.ports.workspace import Workspace

_SIGNS = {Change.ADDED: "+", Change.MODIFIED: "~", Change.DELETED: "-"}
_SHOWN = 20
_NO = 3


def quick(words: list[str]) -> int | None:
    """Answer `status` and its plain flags, and give the exit code; None for what needs the whole command line."""
    flags = {word for word in words if word.startswith("-")}
    if not flags <= {"--check", "--all", "--json"}:
        return None
    paths = [word for word in words if not word.startswith("-")]
    return answer(paths, check="--check" in flags, all_files="--all" in flags, as_json="--json" in flags, store=None)


def answer(paths: list[str], *, check: bool, all_files: bool, as_json: bool, store: str | None) -> int:
    """Print what has changed; give the exit code."""
    workspace = open_workspace(project_root(Path()))
    places = [workspace.place(path) for path in paths] if paths else list(workspace.places())
    shown = 2**62 if all_files else _SHOWN
    found = [_looked(workspace, place, shown=shown, store=store) for place in places]
    if as_json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    else:
        for one in found:
            _print(one)
        if not found:
            _say("no data is versioned here yet; make a first version with: kedge data add PATH")
    sys.stdout.flush()
    if any(one.problem for one in found):
        return 1
    return _NO if check and any(one.state is not PlaceState.CLEAN for one in found) else 0


def _looked(workspace: Workspace, place: str, *, shown: int, store: str | None) -> PlaceStatus:
    found = look(workspace, place, shown=shown)
    if found.state is PlaceState.UNKNOWN and not found.problem:
        # nothing is remembered (a fresh clone, say): the store knows what belongs there
        if not settings(project_root(Path()), store=store).has_store:
            return found
        from kedge.cli.data.opening import recorded

        with recorded(store) as records:
            adopted = records.files.adopt(place)
        if adopted:
            found = look(workspace, place, shown=shown)
    return found


def _print(one: PlaceStatus) -> None:
    number = f" v{one.number}" if one.number else ""
    name = f"{one.place} ({one.dataset}{number})" if one.dataset else one.place
    if one.problem:
        sys.stderr.write(f"{_plain(name)}: {_plain(one.problem)}\n")
        return
    _say(f"{name}: {_said(one)}")
    for change in one.changes:
        _say(f"  {_SIGNS[change.change]} {change.name}")
    if one.edits > len(one.changes):
        _say(f"  ... and {one.edits - len(one.changes):,} more (--all names them)")


def _say(text: str) -> None:
    sys.stdout.write(f"{_plain(text)}\n")


def _plain(text: str) -> str:
    """Write what cannot be seen as backslash escapes: a terminal would obey it."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _said(one: PlaceStatus) -> str:
    edits = f"{one.added:,} added, {one.modified:,} modified, {one.deleted:,} deleted"
    match one.state:
        case PlaceState.CLEAN:
            return f"nothing changed ({one.files:,} file{'' if one.files == 1 else 's'})"
        case PlaceState.EDITED:
            return f"{edits}; keep it with: kedge data add {one.place}"
        case PlaceState.MISSING:
            return f"not here; get it with: kedge data checkout {one.place}"
        case PlaceState.BEHIND:
            mine = f"; edited here: {edits}" if one.edits else ""
            return f"another version lies here than its pointer names; switch with: kedge data checkout {one.place}{mine}"
        case PlaceState.INTERRUPTED:
            return f"a checkout did not end; run it again: kedge data checkout {one.place}"
        case PlaceState.UNKNOWN:
            return f"its version is not in this store; get it with: kedge data pull {one.place}"

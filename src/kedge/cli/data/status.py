"""`kedge data status`: what has changed in the workspace. Reads what is remembered of it, and no store."""

from pathlib import Path
from typing import Annotated

import typer

from kedge.cli.options import Json, Store, print_json
from kedge.data.looking import look
from kedge.domain.workspace import Change, PlaceState, PlaceStatus
from kedge.ports.workspace import Workspace
from kedge.settings import project_root
from kedge.workspaces import open_workspace

_SIGNS = {Change.ADDED: "+", Change.MODIFIED: "~", Change.DELETED: "-"}
_SHOWN = 20
_NO = 3


def status(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH...]", help="Data to look at.", show_default="all")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 unless everything is as its pointer says.")] = False,
    all_files: Annotated[bool, typer.Option("--all", help="Name every file that differs, not the first ones.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show what has changed in the workspace."""
    workspace = open_workspace(project_root(Path()))
    places = [workspace.place(path) for path in paths] if paths else list(workspace.places())
    shown = 2**62 if all_files else _SHOWN
    found = [_looked(workspace, place, shown=shown, store=store) for place in places]
    if as_json:
        print_json(found)
    else:
        for one in found:
            _print(one)
        if not found:
            typer.echo("no data is versioned here yet; make a first version with: kedge data add PATH")
    if any(one.problem for one in found):
        raise typer.Exit(1)
    if check and any(one.state is not PlaceState.CLEAN for one in found):
        raise typer.Exit(_NO)


def _looked(workspace: Workspace, place: str, *, shown: int, store: str | None) -> PlaceStatus:
    found = look(workspace, place, shown=shown)
    if found.state is PlaceState.UNKNOWN and not found.problem:
        # nothing is remembered (a fresh clone, say): the store knows what belongs there
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
        typer.echo(f"{name}: {one.problem}", err=True)
        return
    typer.echo(f"{name}: {_said(one)}")
    for change in one.changes:
        typer.echo(f"  {_SIGNS[change.change]} {change.name}")
    if one.edits > len(one.changes):
        typer.echo(f"  ... and {one.edits - len(one.changes):,} more (--all names them)")


def _said(one: PlaceStatus) -> str:
    edits = f"{one.added:,} added, {one.modified:,} modified, {one.deleted:,} deleted"
    match one.state:
        case PlaceState.CLEAN:
            return f"nothing changed ({one.files:,} files)"
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

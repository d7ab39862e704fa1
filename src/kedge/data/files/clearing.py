"""A checkout makes way where a folder lies and a file is wanted, or the other way round.

What lies there goes only where a version has it, or by force; and what no version can hold stays, and stops the checkout.
"""

from __future__ import annotations

from kedge.data.files.looking import changes
from kedge.domain.data import DatasetVersion
from kedge.domain.workspace import Change
from kedge.errors import LocalEdits
from kedge.ports.workspace import PlaceMemory, Workspace


def in_the_way(
    space: Workspace, place: str, *, memory: PlaceMemory, folder: bool, force: bool, version: DatasetVersion
) -> list[str]:
    """Name what must go from a place that is of the other kind than a version; `folder` is what lies there.

    Raises LocalEdits where it would be lost.
    """
    was, wanted = ("folder", "file") if folder else ("file", "folder")
    if foreign := space.foreign(place):
        raise LocalEdits(
            f"{place} is a {was} here and a {wanted} in version {version.number}, and {foreign} is of another tool;"
            " move it out of the way"
        )
    found = [one.name for one in space.scan(place)]
    edits = () if force else (one for one in changes(space, place, memory=memory, folder=folder))
    if edited := next((one.name for one in edits if one.change is not Change.DELETED), None):
        raise LocalEdits(
            f"{place} is a {was} here and a {wanted} in version {version.number}, and no version has {edited} as it is here;"
            f" keep it with `kedge data add {place}`, or give --force to lose it"
        )
    return found

"""The workspace alone: what a look at the project's folder needs. It imports no database, no frames, no server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kedge.storage.workspace.local import LocalWorkspace

if TYPE_CHECKING:
    from kedge.ports.workspace import Workspace


def open_workspace(project: Path) -> Workspace:
    """Open a project's folder as a workspace."""
    return LocalWorkspace(project.resolve())

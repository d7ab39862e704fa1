"""The workspace alone: what a look at the project's folder needs. It imports no database, no frames, no server."""

from pathlib import Path

from kedge.ports.workspace import Workspace
from kedge.storage.workspace.local import LocalWorkspace


def open_workspace(project: Path) -> Workspace:
    """Open a project's folder as a workspace."""
    return LocalWorkspace(project.resolve())

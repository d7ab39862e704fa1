"""`kedge init`: a project that runs at once."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from kedge.errors import ConfigError

TEMPLATES = ("tabular",)


def command(
    folder: Annotated[Path, typer.Argument(help="The folder to make the project in.")],
    template: Annotated[str, typer.Option(help=f"What to start from: {', '.join(TEMPLATES)}.")] = "tabular",
) -> None:
    """Make a project that runs at once."""
    if template not in TEMPLATES:
        raise ConfigError(f"there is no template {template!r}; choose one of {', '.join(TEMPLATES)}")
    if (folder / "kedge.toml").exists():
        raise ConfigError(f"{folder / 'kedge.toml'} is there already; nothing was changed")
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-_") or "project"
    written = []
    for source in files("kedge.cli").joinpath("templates", template).iterdir():
        target = folder / source.name
        if source.is_file() and not target.exists():
            target.write_text(source.read_text(encoding="utf-8").replace('"NAME"', f'"{name}"'), encoding="utf-8")
            written.append(source.name)
    with (folder / ".gitignore").open("a", encoding="utf-8") as ignored:
        ignored.write(".kedge/\n")
    typer.echo(f"made {folder} with {', '.join(sorted(written))}\nplay it through the loop: kedge replay {folder}")

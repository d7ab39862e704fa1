"""`kedge init`: a project that runs at once."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from kedge.errors import ConfigError

TEMPLATES = ("tabular", "empty")

_NEXT = {
    "tabular": "play it through the loop: kedge replay {folder}",
    "empty": "version some data: kedge data add PATH; log runs with `import kedge`",
}


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
    ignored = folder / ".gitignore"
    lines = ignored.read_text(encoding="utf-8").splitlines() if ignored.exists() else []
    if ".kedge/" not in lines:
        ignored.write_text("\n".join([*lines, ".kedge/"]) + "\n", encoding="utf-8")
    typer.echo(f"made {folder} with {', '.join(sorted(written))}\n{_NEXT[template].format(folder=folder)}")

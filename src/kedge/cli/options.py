"""Options that every noun has, and a way to print. Light: a look at the workspace imports no house."""

import sys
from typing import Annotated

import msgspec
import typer

Store = Annotated[
    str | None, typer.Option("--store", help="The store: a folder or a database URL. Else KEDGE_STORE, else .kedge.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def print_json(value: object) -> None:
    """Print a value as one JSON document."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    sys.stdout.flush()

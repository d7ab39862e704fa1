"""The API's own description, OpenAPI 3.1: written from the routes themselves when it is first asked for.

A second application is made for it and thrown away: Litestar's own schema routes answer errors in a shape of theirs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Controller, Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig


def document(routes: Sequence[type[Controller]], dependencies: Mapping[str, Provide], *, version: str) -> dict[str, Any]:
    """Describe routes."""
    config = OpenAPIConfig(title="Kedge", version=version, path="/schema", use_handler_docstrings=True)
    described = Litestar(
        route_handlers=list(routes), dependencies=dict(dependencies), openapi_config=config, logging_config=None
    )
    return described.openapi_schema.to_schema()

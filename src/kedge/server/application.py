"""The control plane as one ASGI application: the native API, the pages, the event stream. `kedge up` runs it.

Door (host, origin, content type, size, headers) -> Litestar -> Guard (policy table) -> route -> read model -> JSON or page
"""

from collections.abc import Collection
from typing import Any

from litestar import Litestar, get
from litestar.datastructures import State as Shared
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler

from kedge.security.hosts import LOOPBACK
from kedge.server.document import document
from kedge.server.door import BODY_LIMIT, Door
from kedge.server.guard import Guard
from kedge.server.house import House
from kedge.server.problems import handle
from kedge.server.reading.scene import Scenes
from kedge.server.routes.acts import Acts
from kedge.server.routes.live import Signals
from kedge.server.routes.pages import Files, Shown
from kedge.server.routes.reads import Reads
from kedge.server.routes.writes import Writes
from kedge.server.stream import Pulse
from kedge.version import installed
from kedge.web.assets import Assets
from kedge.web.render import Pages


def application(house: House, *, hosts: Collection[str] | None = None) -> Litestar:
    """Build the control plane of a house. It answers to `hosts` only ("*": any).

    Left out: this machine's own names, or any where a token is asked for: a foreign name that leads here has none.
    """
    pages = Pages(Assets(), project=house.spec.name)
    guard = Guard(house, house.settings.token)
    answered = hosts if hosts is not None else ("*",) if guard.asks_for_token else LOOPBACK
    parts: dict[str, Any] = {
        "house": house,
        "scenes": Scenes(house),
        "pages": pages,
        "pulse": Pulse(house.meta),
        "guard": guard,
    }
    given = {name: Provide(_giver(part), sync_to_thread=False, use_cache=True) for name, part in parts.items()}
    app = Litestar(
        route_handlers=[Reads, Writes, Signals, _described(given), Shown, Acts, Files],
        dependencies=given,
        guards=[guard],
        exception_handlers={Exception: handle},
        state=Shared({"pages": pages}),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_LIMIT,
    )
    # around the router, not in it: what has no route comes through the door as well
    app.asgi_handler = Door(app.asgi_handler, hosts=answered)  # type: ignore[assignment]
    return app


def _giver(part: Any) -> Any:
    def give() -> Any:
        return part

    return give


def _described(given: dict[str, Provide]) -> HTTPRouteHandler:
    kept: list[dict[str, Any]] = []

    @get("/api/v1/openapi.json", sync_to_thread=True)
    def openapi() -> dict[str, Any]:
        """Describe the API, OpenAPI 3.1."""
        if not kept:
            kept.append(document((Reads, Writes, Signals), given, version=installed()))
        return kept[0]

    return openapi

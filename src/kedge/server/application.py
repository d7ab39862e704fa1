"""The control plane as one ASGI application: the native API, the pages, the event stream. `kedge up` runs it.

Door (host, origin, content type, size, headers) -> Litestar -> Guard (policy table) -> route -> read model -> JSON or page
                                                 -> the MLflow protocol's own router, which obeys the same table
"""

from collections.abc import Collection
from typing import Any

from litestar import Litestar, get
from litestar.datastructures import State as Shared
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler

from kedge.server.comparing import Comparisons
from kedge.server.diffing import Diffs
from kedge.server.document import document
from kedge.server.door import BODY_LIMIT, App, Door
from kedge.server.guard import Guard
from kedge.server.house import House
from kedge.server.mlflow.protocol import protocol
from kedge.server.mlflow.router import is_ours
from kedge.server.problems import handle
from kedge.server.reading.scene import Scenes
from kedge.server.routes.acts import Acts
from kedge.server.routes.alert_pages import AlertPages
from kedge.server.routes.alerting import Alerting
from kedge.server.routes.artifacts import RunArtifacts
from kedge.server.routes.askings import Askings
from kedge.server.routes.catalogs import Catalogs
from kedge.server.routes.comparisons import ComparisonPages, ComparisonRoutes
from kedge.server.routes.data_edits import DataEdits
from kedge.server.routes.data_pages import DataPages
from kedge.server.routes.datasets import DatasetRoutes
from kedge.server.routes.declared import DeclaredFigures
from kedge.server.routes.edits import Edits
from kedge.server.routes.ground_truth import GroundTruths
from kedge.server.routes.live import Signals
from kedge.server.routes.models_by_hand import ModelsByHand
from kedge.server.routes.pages import Files, Shown
from kedge.server.routes.quality import QualityReads
from kedge.server.routes.reads import Reads
from kedge.server.routes.rollout_pages import RolloutPages
from kedge.server.routes.rollouts import Rollouts
from kedge.server.routes.searches import Searches
from kedge.server.routes.tracked import Tracked, table_wanted
from kedge.server.routes.tracking import Tellings
from kedge.server.routes.watched import WatchedPages, WatchedReads
from kedge.server.routes.writes import Writes
from kedge.server.stream import Pulse
from kedge.version import installed
from kedge.web.assets import Assets
from kedge.web.render import Pages

_NATIVE = (
    Reads,
    DatasetRoutes,
    ComparisonRoutes,
    Searches,
    Writes,
    DeclaredFigures,
    GroundTruths,
    Askings,
    Rollouts,
    Tellings,
    Catalogs,
    Signals,
    RunArtifacts,
    Alerting,
    QualityReads,
    WatchedReads,
)


def application(house: House, *, hosts: Collection[str] | None = None) -> Litestar:
    """Build the control plane of a house. It answers to `hosts` only ("*": any); left out, to those of `Guard.hosts`."""
    pages = Pages(Assets(), project=house.spec.name)
    guard = Guard(house, house.settings.token)
    parts: dict[str, Any] = {
        "house": house,
        "scenes": Scenes(house),
        "pages": pages,
        "pulse": Pulse(house.meta),
        "guard": guard,
        "diffs": Diffs(),
        "comparisons": Comparisons(),
    }
    given = {name: Provide(_giver(part), sync_to_thread=False, use_cache=True) for name, part in parts.items()}
    app = Litestar(
        route_handlers=[
            *_NATIVE,
            _described(given),
            Shown,
            Tracked,
            Acts,
            Edits,
            DataPages,
            ComparisonPages,
            DataEdits,
            ModelsByHand,
            RolloutPages,
            WatchedPages,
            AlertPages,
            Files,
        ],
        dependencies=given | {"wanted": Provide(table_wanted, sync_to_thread=False)},
        guards=[guard],
        exception_handlers={Exception: handle},
        state=Shared({"pages": pages}),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_LIMIT,
    )
    # around the router, not in it: what has no route comes through the door as well
    forked = _Fork(protocol(house, guard), app.asgi_handler)
    app.asgi_handler = Door(forked, hosts=guard.hosts(hosts), upload_limit=house.settings.upload_limit)  # type: ignore[assignment]
    return app


class _Fork:
    """Sends the MLflow protocol's paths its way, and all else on."""

    def __init__(self, mlflow: App, native: App) -> None:
        self._mlflow, self._native = mlflow, native

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        chosen = self._mlflow if scope["type"] == "http" and is_ours(scope["path"]) else self._native
        await chosen(scope, receive, send)


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
            kept.append(document(_NATIVE, given, version=installed()))
        return kept[0]

    return openapi

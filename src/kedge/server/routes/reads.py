"""GET /api/v1/...: everything the pages show, as JSON."""

from typing import Annotated

from litestar import Controller, get
from litestar.exceptions import ClientException
from litestar.params import FromPath, FromQuery, QueryParameter

from kedge.domain.ids import ModelName, PredictionId
from kedge.errors import NotFound
from kedge.server import wire
from kedge.server.again import again
from kedge.server.house import House
from kedge.server.reading.glance import Glance, glance
from kedge.server.reading.lists import (
    AlertsPage,
    EventsPage,
    alerts_page,
    events_page,
    from_token,
)
from kedge.server.reading.model import VersionPage, version_page
from kedge.server.reading.scene import Scenes
from kedge.server.reading.why import Why, why_page
from kedge.server.routes.given import ANSWERS, TheHouse, TheScenes
from kedge.server.stream import newest
from kedge.version import installed

Limit = Annotated[int, QueryParameter(ge=1, le=500, description="How many at most.")]
Token = Annotated[str, QueryParameter(name="page", description="The `next` of the page before; opaque.")]
Subject = Annotated[str | None, QueryParameter(name="subject", description="Only what happened to this model or dataset.")]


class Reads(Controller):
    """The native API's reads."""

    path = "/api/v1"

    @get("/loop", sync_to_thread=True, responses=ANSWERS)
    def loop(self, scenes: TheScenes, house: TheHouse) -> Glance:
        """Look at the whole loop: verdict, stations, panels, what happened, what comes next."""
        return glance(scenes.of(), house.meta.events)

    @get("/predictions/{prediction:str}/why", sync_to_thread=True, responses=ANSWERS)
    def why(self, house: TheHouse, prediction: FromPath[str], replay: FromQuery[bool] = False) -> Why:
        """Walk from one answer back to its sources; with `replay`, compute it again and compare bit for bit."""
        return describe_why(house, prediction, replay=replay)

    @get("/alerts", sync_to_thread=True, responses=ANSWERS)
    def alerts(self, scenes: TheScenes) -> AlertsPage:
        """Describe what is watched, and list the alerts, newest first."""
        return alerts_page(scenes.of())

    @get("/events", sync_to_thread=True, responses=ANSWERS)
    def events(self, house: TheHouse, page: Token = "", subject: Subject = None, limit: Limit = 50) -> EventsPage:
        """List what happened, newest first, a page at a time."""
        return list_events(house, page, subject=subject, limit=limit)

    @get("/ledger", sync_to_thread=True, responses=ANSWERS)
    def ledger(self, scenes: TheScenes) -> wire.Entries:
        """List the steps of the retraining ledger."""
        scene = scenes.of()
        return wire.Entries(model=scene.model, entries=scene.entries)

    @get("/health", sync_to_thread=True, responses=ANSWERS)
    def health(self, house: TheHouse) -> wire.StoreHealth:
        """Say whether the store answers."""
        return wire.StoreHealth(status="ok", serial=newest(house.meta))

    @get("/version", sync_to_thread=False, responses=ANSWERS)
    def version(self) -> wire.KedgeVersion:
        """Say which Kedge this is."""
        return wire.KedgeVersion(kedge=installed())


def describe_version(scenes: Scenes, house: House, *, model: str, number: int) -> VersionPage:
    """Describe a version with its run."""
    scene = scenes.of(ModelName(model))
    found = scene.version(number)
    run = None
    if found is not None:
        try:
            run = house.meta.runs.get(found.run)
        except NotFound:
            run = None
    return version_page(scene, number, run=run)


def describe_why(house: House, prediction: str, *, replay: bool) -> Why:
    """Explain a prediction, computed again if asked."""
    name = PredictionId(prediction)
    explanation = house.lineage.why(name)
    return why_page(explanation, again(house, name) if replay else None)


def list_events(house: House, token: str, *, subject: str | None, limit: int) -> EventsPage:
    """Read a page of events. ClientException for a token that is none of ours."""
    try:
        before = from_token(token) if token else None
    except ValueError as error:
        raise ClientException(f"page {token!r}: {error}") from None
    return events_page(house.meta, house.spec.dataset, before=before, subject=subject, limit=limit)

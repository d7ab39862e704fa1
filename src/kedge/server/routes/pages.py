"""The pages: the same read models as the API, rendered. They hold no fact that the API has not."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.datastructures import State as Shared
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Redirect

from kedge.domain.ids import ModelName
from kedge.server.reading.glance import glance
from kedge.server.reading.model import model_page
from kedge.server.reading.registered import find_registered, registered_list, registered_version
from kedge.server.routes.finding import find
from kedge.server.routes.given import TheHouse, ThePages, TheScenes
from kedge.server.routes.reads import describe_version, describe_why, list_events
from kedge.server.yearly import chart_data, chart_of
from kedge.web.addresses import part
from kedge.web.render import Pages

Page = Response[bytes]
PageAfter = Annotated[str, QueryParameter(name="page")]
After = Annotated[str, QueryParameter(name="after")]
Named = Annotated[str, QueryParameter(name="id")]
HTML = "text/html; charset=utf-8"


def show(pages: Pages, template: str, **values: Any) -> Page:
    """Answer with a page."""
    return Response(pages.render(template, **values), media_type=HTML)


class Shown(Controller):
    """Every page that can be read."""

    include_in_schema = False

    @get("/", sync_to_thread=True)
    def loop(self, pages: ThePages, scenes: TheScenes, house: TheHouse) -> Page:
        """Show the loop at a glance."""
        scene = scenes.of()
        page = glance(scene, house.meta.events)
        return show(pages, "loop", title="Loop", noun="Loop", page=page, live=scene.serial)

    @get("/models", sync_to_thread=True)
    def models(
        self, pages: ThePages, scenes: TheScenes, house: TheHouse, *, q: FromQuery[str] = "", after: PageAfter = ""
    ) -> Page:
        """List the models."""
        page = registered_list(house, scenes, look=q[:2000], page=after)
        return show(pages, "models", title="Models", noun="Models", page=page, now=house.clock.now())

    @get("/models/{model:str}", sync_to_thread=True)
    def model(self, pages: ThePages, scenes: TheScenes, house: TheHouse, model: FromPath[str]) -> Page:
        """Show one model: one of the loop with its year, any with its versions, aliases and history."""
        scene = scenes.of(ModelName(model))
        kept = find_registered(house, scenes, name=model)
        values = {"title": model, "noun": "Models", "kept": kept, "now": scene.now, "live": scene.serial}
        if kept is not None and not scene.versions:
            return show(pages, "registered", **values)
        page = model_page(scene)
        chart = chart_of(page)
        data = chart_data(page) if chart else None
        return show(pages, "model", page=page, chart=chart, chart_data=data, **values)

    @get("/models/{model:str}/versions/{number:int}", sync_to_thread=True)
    def version(
        self, pages: ThePages, scenes: TheScenes, house: TheHouse, *, model: FromPath[str], number: FromPath[int]
    ) -> Page:
        """Show one version: one of the loop with its verdict, any with what it is and how it moved."""
        scene = scenes.of(ModelName(model))
        values = {"title": f"{model} v{number}", "noun": "Models", "model": model, "now": scene.now}
        if scene.version(number) is None:
            kept = registered_version(house, model, number=number)
            return show(pages, "registered_version", page=kept, kept=kept, **values)
        page = describe_version(scenes, house, model=model, number=number)
        return show(pages, "version", page=page, kept=registered_version(house, model, number=number), **values)

    @get("/events", sync_to_thread=True)
    def events(
        self, pages: ThePages, scenes: TheScenes, house: TheHouse, after: After = "", subject: FromQuery[str | None] = None
    ) -> Page:
        """List what happened. Only the newest page grows by itself."""
        scene = scenes.of()
        page = list_events(house, after, subject=subject, limit=50)
        live = {} if after else {"live": scene.serial}
        values = {"page": page, "subject": subject or "", "model": scene.model, "now": scene.now, **live}
        return show(pages, "events", title="Events", noun="Events", **values)

    @get("/predictions", sync_to_thread=False)
    def predictions(self, pages: ThePages, named: Named = "") -> Page | Redirect:
        """Ask which prediction."""
        if named.strip():
            return Redirect(f"/predictions/{part(named.strip())}")
        return show(pages, "predictions", title="Predictions", noun="Predictions")

    @get("/predictions/{prediction:str}", sync_to_thread=True)
    def why(self, pages: ThePages, house: TheHouse, prediction: FromPath[str], replay: FromQuery[bool] = False) -> Page:
        """Show why one answer is what it is."""
        page = describe_why(house, prediction, replay=replay)
        return show(pages, "why", title=f"Why {prediction}", noun="Predictions", page=page)

    @get("/find", sync_to_thread=True)
    def find(self, pages: ThePages, house: TheHouse, q: FromQuery[str] = "") -> Page | Redirect:
        """Go to what has this name."""
        asked = " ".join(q.split())[:300]
        found = find(house, asked) if asked else None
        return Redirect(found) if found else show(pages, "find", title="Find", noun="", asked=asked)


class Files(Controller):
    """The files that pages link to; the address names the content, so it never changes."""

    include_in_schema = False

    @get("/static/{digest:str}/{name:str}", sync_to_thread=True)
    def asset(
        self, request: Request[None, None, Shared], pages: ThePages, digest: FromPath[str], name: FromPath[str]
    ) -> Page:
        """Send a file, compressed where the browser takes it so."""
        asset = pages.assets.find(digest, name)
        if asset is None:
            raise NotFoundException(detail=f"{name} of this content is not here; reload the page that asked for it")
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
        if packed:
            headers["content-encoding"] = "gzip"
        return Response(asset.packed if packed else asset.plain, media_type=asset.media_type, headers=headers)

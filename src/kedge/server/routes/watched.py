"""What is watched, in a browser and as JSON: a model's monitoring, its windows one by one, its retraining."""

from collections.abc import Sequence
from typing import Annotated, Literal

from litestar import Controller, get, post
from litestar.params import FromPath, QueryParameter, URLEncodedBody
from litestar.response import Redirect

from kedge.domain.backtest import KeptBacktest
from kedge.domain.ids import ModelName
from kedge.errors import NotFound
from kedge.server.forms import Asked, Asking, Field, Page, act, ask
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.reading.continuing import RetrainingPage, find_backtest, retraining_page
from kedge.server.reading.scene import Scene, Scenes
from kedge.server.reading.watching import MonitoringPage, WindowHistory, history, monitoring_page
from kedge.server.reading.window import WindowPage, window_page
from kedge.server.routes.askings import ask as ask_training
from kedge.server.routes.askings import trained_model
from kedge.server.routes.given import ANSWERS, TheHouse, ThePages, TheScenes, known
from kedge.server.routes.pages import show
from kedge.server.timelines import course_chart, ledger_chart
from kedge.web.addresses import part
from kedge.web.backtest import figures_of, own_first

Sent = URLEncodedBody[dict[str, str]]
Span = Annotated[Literal["quarter", "all"], QueryParameter(name="span", description="How much of the loss: quarter, all.")]
Token = Annotated[str, QueryParameter(name="page", max_length=100, description="The `next` of the page before; opaque.")]
Limit = Annotated[int, QueryParameter(ge=1, le=500, description="How many at most.")]
Model = Annotated[str, QueryParameter(name="model", max_length=300)]


class WatchedReads(Controller):
    """What is watched, as JSON."""

    path = "/api/v1/models"

    @get("/{model:str}/monitoring", sync_to_thread=True, responses=ANSWERS)
    def monitoring(
        self, scenes: TheScenes, house: TheHouse, *, model: FromPath[str], span: Span = "quarter", page: Token = ""
    ) -> MonitoringPage:
        """Describe what is watched of a model: verdict, loss over time, quality, drift, fairness, windows."""
        return _monitoring(scenes, house, scene=scenes.of(known(house, model)), span=span, page=page)

    @get("/{model:str}/windows", sync_to_thread=True, responses=ANSWERS)
    def windows(self, house: TheHouse, model: FromPath[str], *, page: Token = "", limit: Limit = 50) -> WindowHistory:
        """List measured windows, newest first, a page at a time."""
        return history(known(house, model), house.meta, page=page, limit=limit)

    @get("/{model:str}/windows/{window:str}", sync_to_thread=True, responses=ANSWERS)
    def window(self, scenes: TheScenes, house: TheHouse, model: FromPath[str], window: FromPath[str]) -> WindowPage:
        """Describe one window with everything measured in it."""
        return window_page(scenes.of(known(house, model)), house.meta, window=window)

    @get("/{model:str}/retraining", sync_to_thread=True, responses=ANSWERS)
    def retraining(self, scenes: TheScenes, house: TheHouse, model: FromPath[str]) -> RetrainingPage:
        """Say where retraining stands: regret against price, what waits, every decision with its reason."""
        return _retraining(scenes, house, model=model)

    @get("/{model:str}/backtest", sync_to_thread=True, responses=ANSWERS)
    def backtest(self, house: TheHouse, model: FromPath[str]) -> KeptBacktest:
        """Give the newest backtest: what each retraining policy would have cost on the project's own past."""
        found = find_backtest(house.meta, known(house, model))
        if found is None:
            raise NotFound(f"no policies of {model!r} were played back yet; do so with: kedge policy backtest")
        return found


class WatchedPages(Controller):
    """What is watched, in a browser."""

    include_in_schema = False

    @get("/monitoring", sync_to_thread=True)
    def monitoring(
        self,
        pages: ThePages,
        scenes: TheScenes,
        house: TheHouse,
        *,
        model: Model = "",
        span: Span = "quarter",
        page: Token = "",
    ) -> Page:
        """Show what is watched of a model, the worst first."""
        scene = _chosen(scenes, house, model=model)
        found = _monitoring(scenes, house, scene=scene, span=span, page=page)
        values = {"page": found, "chart": course_chart(found), "span": span, "token": page, "live": scene.serial}
        return show(pages, "monitoring", title="Monitoring", noun="Monitoring", **values)

    @get("/monitoring/{model:str}/windows/{window:str}", sync_to_thread=True)
    def window(
        self, pages: ThePages, scenes: TheScenes, house: TheHouse, *, model: FromPath[str], window: FromPath[str]
    ) -> Page:
        """Show one window."""
        page = window_page(scenes.of(known(house, model)), house.meta, window=window)
        return show(pages, "window", title=f"Window {page.line.window.id}", noun="Monitoring", page=page)

    @get("/models/{model:str}/retraining", sync_to_thread=True)
    def retraining(self, pages: ThePages, scenes: TheScenes, house: TheHouse, model: FromPath[str]) -> Page:
        """Show where retraining stands, and why."""
        page = _retraining(scenes, house, model=model)
        found = find_backtest(house.meta, known(house, model))
        made = None if found is None else own_first(found.backtest, house.spec.retraining.price.retrain)
        drawn = {"made": made, "results": [] if made is None else figures_of(made), "chart": ledger_chart(page)}
        values = {"title": f"Retraining of {model}", "noun": "Models"}
        return show(pages, "retraining", page=page, live=scenes.of(known(house, model)).serial, **drawn, **values)

    @get("/models/{model:str}/retraining/ask", sync_to_thread=True)
    def ask_now(self, request: Asked, pages: ThePages, house: TheHouse, model: FromPath[str]) -> Page:
        """Ask before a training is asked for."""
        return ask(request, pages, asking=_asking(house, model))

    @post("/models/{model:str}/retraining/ask", sync_to_thread=True)
    def do_now(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Ask for a training by hand."""

        def do() -> None:
            ask_training(house, model, reason=data.get("reason", ""), actor=actor_of(request), key=data.get("key", ""))

        return act(request, pages, asking=_asking(house, model), given=data, do=do)


def _chosen(scenes: Scenes, house: House, *, model: str) -> Scene:
    """Choose the model to show: the one named, else the project's own, else the first that is deployed."""
    if model:
        return scenes.of(known(house, model))
    own = scenes.of()
    if own.deployment is not None:
        return own
    names: Sequence[ModelName] = sorted(house.meta.deployments.names())
    return scenes.of(names[0]) if names else own


def _monitoring(scenes: Scenes, house: House, *, scene: Scene, span: str, page: str) -> MonitoringPage:
    models = scenes.watchlist.models(house.spec.name)
    return monitoring_page(scene, house.meta, models=models, whole=span == "all", page=page)


def _retraining(scenes: Scenes, house: House, *, model: str) -> RetrainingPage:
    name, spec = known(house, model), house.spec
    held = house.retraining.held_by(spec) if name == spec.name and house.asking.of(name) else ""
    return retraining_page(scenes.of(name), house.meta, under_way=house.asking.is_under_way(name), held=held)


def _asking(house: House, model: str) -> Asking:
    trained_model(house, model)
    rules, home = house.spec.retraining, f"/models/{part(model)}"
    waiting = len(house.asking.of(house.spec.name))
    return Asking(
        heading=f"Train {model} now?",
        button="Train now",
        crumb="Train now",
        fields=(
            Field(name="key", value=house.clock.now().isoformat(), kind="hidden"),
            Field(name="reason", label="Reason, kept in the history", required=True),
        ),
        noun="Models",
        crumbs=(("Models", "/models"), (model, home), ("Retraining", f"{home}/retraining")),
        back=f"{home}/retraining",
        consequences=(
            "The loop trains a candidate on what is known now, as soon as no limit holds it back",
            f"Limits stand: a cool-down of {rules.cooldown}, {rules.min_labels:,} new labels, the budget",
            "The gate judges it; only then does it go on trial. Nothing that answers now changes",
            *((f"It joins {waiting} that wait already: one turn answers all",) if waiting else ()),
            "Your name and reason stand in the history",
        ),
    )

"""The pages of what was tracked: experiments, the table of runs and its columns, a run, a comparison."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.datastructures import State as Shared
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec.structs import replace

from kedge.domain.ids import ExperimentId, RunId
from kedge.errors import RequestInvalid
from kedge.server.courses import axes_of, course_data, course_of, scatter_of, small_figures
from kedge.server.house import House
from kedge.server.reading.compare import CompareAsked, compare_page
from kedge.server.reading.curves import SMALL, curves
from kedge.server.reading.experiments import experiments_page
from kedge.server.reading.files import files_page, made_of
from kedge.server.reading.run import SYSTEM, RunPage, run_page
from kedge.server.reading.table import TableAsked, choice, runs_table
from kedge.server.routes import asked as given
from kedge.server.routes.given import TheHouse, ThePages
from kedge.server.routes.pages import HTML, Page, show
from kedge.server.stream import newest
from kedge.web import words
from kedge.web.render import Pages

NOUN = "Runs"
POLL_SECONDS, TABLE_POLL_SECONDS = 2, 5
SMALL_FIGURES = 24
Asked = Request[None, None, Shared]
From = Annotated[int, QueryParameter(name="from", ge=0, description="How many metrics to leave out.")]
Wanted = NamedDependency[TableAsked]
_TABS = ("", "metrics", "system", "artifacts", "made")


def table_wanted(
    q: given.Filter = "",
    order: given.Order = "",
    *,
    column: given.Columns = None,
    curve: given.CurveOf = "",
    pick: given.Picked = None,
    page: given.Token = "",
    deleted: given.Deleted = False,
) -> TableAsked:
    """Read what the address of a page asks of a table of runs."""
    return given.table_asked(q, order, columns=column, curve=curve, picked=pick, page=page, deleted=deleted)


class Tracked(Controller):
    """Every page of experiments and runs that can be read."""

    include_in_schema = False

    @get("/experiments", sync_to_thread=True)
    def experiments(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        q: given.Filter = "",
        page: given.Token = "",
        deleted: given.Deleted = False,
    ) -> Page:
        """List the experiments."""
        found = experiments_page(house, look=q, page=page, deleted=deleted)
        values = {"now": house.clock.now(), "host": host_of(request), "live": newest(house.meta)}
        return show(pages, "experiments", title="Experiments", noun=NOUN, page=found, **values)

    @get("/experiments/{experiment:str}", sync_to_thread=True)
    def experiment(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        experiment: FromPath[str],
        wanted: Wanted,
    ) -> Page:
        """Show the runs of one experiment as a table."""
        return table_page(request, pages, house=house, ids=[experiment], asked=wanted)

    @get("/experiments/{experiment:str}/columns", sync_to_thread=True)
    def experiment_columns(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        experiment: FromPath[str],
        wanted: Wanted,
        look: given.Look = "",
    ) -> Page:
        """Choose the columns of that table."""
        return columns_page(request, pages, house=house, ids=[experiment], asked=replace(wanted, page=""), look=look)

    @get("/runs", sync_to_thread=True)
    def runs(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        wanted: Wanted,
    ) -> Page:
        """Show the runs of all experiments as a table."""
        return table_page(request, pages, house=house, ids=[], asked=wanted)

    @get("/runs/columns", sync_to_thread=True)
    def runs_columns(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        wanted: Wanted,
        look: given.Look = "",
    ) -> Page:
        """Choose the columns of that table."""
        return columns_page(request, pages, house=house, ids=[], asked=replace(wanted, page=""), look=look)

    @get("/runs/{run:str}", sync_to_thread=True)
    def run(
        self,
        pages: ThePages,
        house: TheHouse,
        *,
        run: FromPath[str],
        tab: FromQuery[str] = "",
        metric: FromQuery[str] = "",
        over: FromQuery[str] = "step",
        log: FromQuery[bool] = False,
        look: given.Look = "",
        skip: From = 0,
        path: FromQuery[str] = "",
        page: given.Token = "",
    ) -> Page:
        """Show one run: the part of it that is asked for."""
        if tab not in _TABS:
            raise RequestInvalid(f"tab {tab!r}: one of {', '.join(name for name in _TABS if name)}, or none")
        found = run_page(house, RunId(run))
        asked: dict[str, Any] = {"metric": metric, "over": "time" if over == "time" else "step", "log": log, "look": look}
        values: dict[str, Any] = {"course": None, "shown": None}
        if tab in ("metrics", "system"):
            values |= _small(house, found, asked=asked, system=tab == "system", skip=skip)
        elif tab == "artifacts":
            values |= {"files": files_page(house, found.run.id, path=path, page=page)}
        elif tab == "made":
            values |= {"made": made_of(house, found.run)}
        else:
            values |= _course(house, found, asked=asked)
        title = found.run.name or words.short(found.run.id)
        poll = POLL_SECONDS if found.alive else 0
        live = {"live": newest(house.meta), "poll": poll}
        return show(pages, "run", title=title, noun=NOUN, page=found, tab=tab, asked=asked, **live, **values)

    @get("/compare", sync_to_thread=True)
    def compare(
        self,
        pages: ThePages,
        house: TheHouse,
        *,
        run: given.RunIds = None,
        metric: FromQuery[str] = "",
        over: FromQuery[str] = "step",
        log: FromQuery[bool] = False,
        axis: given.Axes = None,
        x: FromQuery[str] = "",
        y: FromQuery[str] = "",
        every: FromQuery[bool] = False,
    ) -> Page:
        """Compare runs."""
        over = "time" if over == "time" else "step"
        asked = CompareAsked(
            runs=tuple(run or ()), metric=metric, over=over, log=log, axes=tuple(axis or ()), x=x, y=y, every=every
        )
        page = compare_page(house, asked)
        names = {one.id: one.name for one in page.runs}
        axes, strands = axes_of(page)
        kinds = {one.experiment for one in page.runs}
        values = {
            "course": course_of(page.curves, names, over=over, log=log),
            "course_data": course_data(page.curves, names, metric=page.metric, over=over, log=log),
            "axes": axes,
            "strands": strands,
            "scatter": scatter_of(page),
            "experiment": house.logging.get_experiment(ExperimentId(kinds.pop())) if len(kinds) == 1 else None,
        }
        return show(pages, "compare", title="Compare", noun=NOUN, page=page, **values)


def table_page(request: Asked, pages: Pages, *, house: House, ids: list[str], asked: TableAsked) -> Page:
    """Show a table of runs. A filter that cannot be read is a page that says so, with status 400."""
    experiments = given.experiments_of(house, ids)
    page = runs_table(house, experiments, asked=asked)
    poll = TABLE_POLL_SECONDS if page.running and not asked.page else 0
    values = {"path": request.url.path, "host": host_of(request), "live": newest(house.meta), "poll": poll}
    shown = pages.render("runs", title=experiments[0].name if ids else "All runs", noun=NOUN, page=page, **values)
    return Response(shown, media_type=HTML, status_code=400 if page.fault else 200)


def columns_page(request: Asked, pages: Pages, *, house: House, ids: list[str], asked: TableAsked, look: str) -> Page:
    """Show what columns a table of runs can have."""
    experiments = given.experiments_of(house, ids)
    page = choice(house, experiments, asked=asked, look=look)
    values = {"path": request.url.path.removesuffix("/columns"), "named": experiments[0].name if ids else "All runs"}
    return show(pages, "columns", title="Columns", noun=NOUN, page=page, **values)


def host_of(request: Asked) -> str:
    """Give the address that a client on the other end would write."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _course(house: House, page: RunPage, *, asked: dict[str, Any]) -> dict[str, Any]:
    """Read the chosen metric's course: what is asked for, else the first metric with more than one step."""
    if not page.metrics:
        return {}
    chosen = asked["metric"] or next((one.key for one in page.metrics if one.step), page.metrics[0].key)
    asked["metric"] = chosen
    found = curves(house, [page.run.id], keys=[chosen]).curves
    names = {page.run.id: chosen}
    over, log = asked["over"], asked["log"]
    return {
        "course": course_of(found, names, over=over, log=log),
        "course_data": course_data(found, names, metric=chosen, over=over, log=log),
        "shown": found[0] if found else None,
    }


def _small(house: House, page: RunPage, *, asked: dict[str, Any], system: bool, skip: int) -> dict[str, Any]:
    """Read the courses of a page of metrics whose names have the words looked for."""
    parts = asked["look"].lower().split()
    fit = [one for one in (page.system if system else page.metrics) if all(part in one.key.lower() for part in parts)]
    lines = fit[skip : skip + SMALL_FIGURES]
    over = "time" if system else asked["over"]
    found = curves(house, [page.run.id], keys=[one.key for one in lines], count=SMALL).curves if lines else ()
    more = skip + SMALL_FIGURES if len(fit) > skip + SMALL_FIGURES else 0
    figures = small_figures(found, lines, over=over, cut=SYSTEM if system else "")
    return {"small": figures, "more": more, "matching": len(fit)}

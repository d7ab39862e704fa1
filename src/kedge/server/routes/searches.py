"""GET /api/v1/...: experiments, the table of runs, a run, curves of its metrics, comparisons."""

from typing import Annotated

from litestar import Controller, get
from litestar.params import FromPath, FromQuery, QueryParameter

from kedge.domain.ids import ExperimentId, RunId
from kedge.errors import RequestInvalid
from kedge.server import wire
from kedge.server.reading.compare import MOST, CompareAsked, ComparePage, compare_page
from kedge.server.reading.curves import CurvesPage, curves
from kedge.server.reading.experiments import ExperimentsPage, experiments_page
from kedge.server.reading.run import RunPage, run_page
from kedge.server.reading.table import Choice, RunsTable, choice, runs_table
from kedge.server.routes import asked as given
from kedge.server.routes.given import ANSWERS, TheHouse

Count = Annotated[int, QueryParameter(ge=10, le=10_000, description="How many points a line at most, or a few more.")]
Start = Annotated[int | None, QueryParameter(name="start", description="The first step; left out, from the beginning.")]
End = Annotated[int | None, QueryParameter(name="end", description="The last step; left out, to the end.")]


class Searches(Controller):
    """The native API's reads of what was tracked."""

    path = "/api/v1"

    @get("/experiments", sync_to_thread=True, responses=ANSWERS)
    def experiments(
        self, house: TheHouse, q: given.Filter = "", page: given.Token = "", deleted: given.Deleted = False
    ) -> ExperimentsPage:
        """List experiments, those with the newest activity first."""
        return experiments_page(house, look=q, page=page, deleted=deleted)

    @get("/experiments/{experiment:str}", sync_to_thread=True, responses=ANSWERS)
    def experiment(self, house: TheHouse, experiment: FromPath[str]) -> wire.ExperimentCounted:
        """Read one experiment, and how many runs it has."""
        name = ExperimentId(experiment)
        found = house.logging.get_experiment(name)
        return wire.ExperimentCounted(experiment=found, count=house.logging.count_runs((name,))[name])

    @get("/runs", sync_to_thread=True, responses=ANSWERS)
    def runs(
        self,
        house: TheHouse,
        *,
        experiment: given.Within = None,
        q: given.Filter = "",
        order: given.Order = "",
        column: given.Columns = None,
        curve: given.CurveOf = "",
        page: given.Token = "",
        deleted: given.Deleted = False,
        limit: given.Limit = 50,
    ) -> RunsTable:
        """Search runs, a page at a time, with the chosen columns: those of the named experiments, or of all in use."""
        wanted = given.table_asked(
            q, order, columns=column, curve=curve, picked=None, page=page, deleted=deleted, limit=limit
        )
        table = runs_table(house, given.experiments_of(house, experiment), asked=wanted)
        if table.fault:
            raise RequestInvalid(table.fault)
        return table

    @get("/columns", sync_to_thread=True, responses=ANSWERS)
    def columns(
        self, house: TheHouse, *, experiment: given.Within = None, look: given.Look = "", limit: given.Limit = 300
    ) -> Choice:
        """List the columns that a table of these runs can have, at most so many of each kind."""
        wanted = given.table_asked("", "", columns=None, curve="", picked=None, page="", deleted=False)
        return choice(house, given.experiments_of(house, experiment), asked=wanted, look=look, most=limit)

    @get("/runs/{run:str}", sync_to_thread=True, responses=ANSWERS)
    def run(self, house: TheHouse, run: FromPath[str]) -> RunPage:
        """Describe one run: all that was logged, what it was made of, what was made of it."""
        return run_page(house, RunId(run))

    @get("/curves", sync_to_thread=True, responses=ANSWERS)
    def curves(
        self,
        house: TheHouse,
        *,
        run: given.RunIds = None,
        key: given.Keys = None,
        count: Count = 1000,
        start: Start = None,
        end: End = None,
    ) -> CurvesPage:
        """Read metrics as lines to draw, thinned so that the smallest and the greatest stay."""
        runs, keys = [RunId(one) for one in run or ()], key or []
        if not runs or not keys or len(runs) * len(keys) > 5 * MOST:
            raise RequestInvalid(f"name one run (`run`) and one metric (`key`) at least, {5 * MOST} lines in all at most")
        return curves(house, runs, keys=keys, count=count, start=start, end=end)

    @get("/compare", sync_to_thread=True, responses=ANSWERS)
    def compare(
        self,
        house: TheHouse,
        *,
        run: given.RunIds = None,
        metric: FromQuery[str] = "",
        over: FromQuery[str] = "step",
        axis: given.Axes = None,
        x: FromQuery[str] = "",
        y: FromQuery[str] = "",
    ) -> ComparePage:
        """Compare 2 to 50 runs: what differs, the course of one metric over all of them, values for axes."""
        asked = CompareAsked(runs=tuple(run or ()), metric=metric, over=over, axes=tuple(axis or ()), x=x, y=y)
        return compare_page(house, asked)

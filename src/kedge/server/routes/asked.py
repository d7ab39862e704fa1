"""What addresses of the tables and comparisons ask, read into values: pages and the API read them alike."""

from typing import Annotated

from litestar.params import QueryParameter

from kedge.domain.finding import LifecycleView, Query
from kedge.domain.ids import ExperimentId
from kedge.domain.tracking import Experiment, Lifecycle
from kedge.server.house import House
from kedge.server.reading.table import TableAsked
from kedge.tracking.search import experiments_query

Filter = Annotated[
    str, QueryParameter(name="q", max_length=10_000, description="A filter in the search grammar, or part of a name.")
]
Order = Annotated[
    str, QueryParameter(name="order", max_length=1_000, description="One sort key, such as `metrics.loss DESC`.")
]
Columns = Annotated[
    list[str] | None,
    QueryParameter(name="column", description="A column: metrics.KEY, params.KEY or tags.KEY; may be repeated."),
]
CurveOf = Annotated[
    str, QueryParameter(name="curve", max_length=500, description="A metric whose course is read for each run.")
]
Picked = Annotated[list[str] | None, QueryParameter(name="pick", description="A run that is picked; may be repeated.")]
RunIds = Annotated[list[str] | None, QueryParameter(name="run", description="A run's id; may be repeated.")]
Keys = Annotated[list[str] | None, QueryParameter(name="key", description="A metric's key; may be repeated.")]
Axes = Annotated[list[str] | None, QueryParameter(name="axis", description="A value that is an axis; may be repeated.")]
Token = Annotated[str, QueryParameter(name="page", max_length=2_000, description="The `next` of the page before; opaque.")]
Deleted = Annotated[bool, QueryParameter(name="deleted", description="Those that were deleted instead of those in use.")]
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many at most.")]
Look = Annotated[str, QueryParameter(name="look", max_length=300, description="Only what has these words in its name.")]
Within = Annotated[
    list[str] | None,
    QueryParameter(name="experiment", description="Only runs of this experiment (its id); may be repeated."),
]
_MOST = 1000


def table_asked(
    filter: str,
    order: str,
    *,
    columns: list[str] | None,
    curve: str,
    picked: list[str] | None,
    page: str,
    deleted: bool,
    limit: int = 50,
) -> TableAsked:
    """Gather what the address asks of a table."""
    return TableAsked(
        filter=filter,
        order=order,
        columns=tuple(dict.fromkeys(columns or ())),
        curve=curve,
        picked=tuple(dict.fromkeys(picked or ()))[:_MOST],
        page=page,
        deleted=deleted,
        limit=limit,
    )


def experiments_of(house: House, ids: list[str] | None) -> tuple[Experiment, ...]:
    """Read the experiments that are named; every one in use where none is. Raises NotFound."""
    if ids:
        return tuple(house.logging.get_experiment(ExperimentId(one)) for one in ids)
    query: Query = experiments_query("", order=("last_update_time DESC",), limit=_MOST, view=LifecycleView.ACTIVE)
    return tuple(one for one in house.logging.search_experiments(query).items if one.lifecycle is Lifecycle.ACTIVE)

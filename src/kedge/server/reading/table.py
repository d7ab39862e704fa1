"""The table of runs: which columns, in what order, which page of it.

The address is the state, in the words of the search grammar: `q` is the filter, `order` one sort key ("metrics.loss DESC"),
`column` a column ("metrics.loss", "params.lr", "tags.team"), repeated. Only the chosen columns are read.
"""

from collections.abc import Sequence
from datetime import datetime
from math import isfinite

import msgspec

from kedge.domain.finding import LifecycleView, Query, Subject
from kedge.domain.ids import ExperimentId, RunId
from kedge.domain.overview import RunGlance, RunKey
from kedge.domain.tracking import PARENT_TAG, Experiment, RunCount, RunKeys, RunStatus
from kedge.errors import RequestInvalid, SearchInvalid
from kedge.server.house import House
from kedge.server.reading.looking import filter_of
from kedge.server.reading.state import State
from kedge.tracking.search import runs_query
from kedge.tracking.spelling import written
from kedge.web import words

HIDDEN = ("mlflow.", "kedge.")  # tags that clients keep for themselves
ROWS = 50
MOST_COLUMNS = 60
NEWEST = "attributes.start_time DESC"
RUN_STATES = {
    RunStatus.RUNNING: State.RUNNING,
    RunStatus.SCHEDULED: State.IDLE,
    RunStatus.FINISHED: State.WELL,
    RunStatus.FAILED: State.ALARM,
    RunStatus.KILLED: State.WATCH,
}
_SUBJECTS = {"metrics": Subject.METRIC, "params": Subject.PARAM, "tags": Subject.TAG}
_WORDS = {subject: word for word, subject in _SUBJECTS.items()}


class TableAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What the address asks of the table. Columns in the words of the grammar; none: those that Kedge chooses."""

    filter: str = ""
    order: str = ""
    columns: tuple[str, ...] = ()
    curve: str = ""
    picked: tuple[str, ...] = ()
    page: str = ""
    deleted: bool = False
    limit: int = ROWS


class TableColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A chosen column: its name in the address, its sort key, how it is sorted now, and the ends of its numbers here."""

    name: str
    subject: str
    key: str
    sort: str
    order: str = ""
    number: bool = False
    low: float | None = None
    high: float | None = None


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the table; `values` stand in the order of the columns. `seconds` runs on while the run does."""

    id: RunId
    name: str
    experiment: ExperimentId
    state: State
    word: str
    started_at: datetime
    seconds: float | None
    user: str
    parent: str
    values: tuple[float | str | None, ...]
    curve: tuple[float | None, ...] = ()


class RunsTable(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the table. `fault` says why the filter could not be read; then there are no rows.

    `found` counts what matches, `known` the columns that could be chosen, `next` is the token of the page after.
    """

    say: str
    sub: str
    experiments: tuple[Experiment, ...]
    asked: TableAsked
    order: str
    fault: str
    columns: tuple[TableColumn, ...]
    rows: tuple[RunRow, ...]
    found: int
    all: int
    running: int
    known: int
    next: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Columns that can be chosen: those that are, and the first of those whose name has the words looked for."""

    asked: TableAsked
    look: str
    chosen: tuple[str, ...]
    metrics: tuple[str, ...]
    params: tuple[str, ...]
    tags: tuple[str, ...]
    matching: int
    known: int


def key_of(name: str) -> RunKey:
    """Read a column's name. Raises RequestInvalid."""
    word, dot, key = name.partition(".")
    subject = _SUBJECTS.get(word)
    if subject is None or not dot or not key:
        raise RequestInvalid(f"column {name!r}: name a column as metrics.KEY, params.KEY or tags.KEY")
    return RunKey(subject, key)


def name_of(wanted: RunKey) -> str:
    """Write a column's name as the address has it."""
    return f"{_WORDS[wanted.subject]}.{wanted.key}"


def sort_of(wanted: RunKey) -> str:
    """Write a column as the grammar wants it."""
    try:
        return written(wanted.subject, wanted.key)
    except SearchInvalid:  # a name that no text says: the table shows it, and says so where it is asked to sort by it
        return name_of(wanted)


def runs_table(house: House, experiments: Sequence[Experiment], *, asked: TableAsked) -> RunsTable:
    """Read a page of the runs of these experiments. Raises RequestInvalid for columns that cannot be."""
    ids = tuple(one.id for one in experiments)
    overviews = house.meta.overviews
    known = keys_of(house.logging.keys(ids))
    wanted = tuple(key_of(name) for name in asked.columns[:MOST_COLUMNS]) or default_columns(known)
    total, fault, found_next, count = _total(tuple(house.logging.count_runs(ids).values())), "", "", 0
    rows: Sequence[RunGlance] = ()
    try:
        query = _query(asked, ids)
        page = house.logging.find_runs(query)
        count, found_next = page.total or 0, page.next
        rows = overviews.rows(page.items, (*wanted, RunKey(Subject.TAG, PARENT_TAG)))
    except SearchInvalid as error:
        fault = words.sentence(str(error))
    curves = _curves(house, asked.curve, rows=rows)
    every = total.runs if not asked.deleted else count
    return RunsTable(
        say=_say(count, every, asked=asked),
        sub=_sub(total) if not asked.deleted else "",
        experiments=tuple(experiments),
        asked=asked,
        order=asked.order or NEWEST,
        fault=fault,
        columns=tuple(_column(one, rows, order=asked.order) for one in wanted),
        rows=tuple(_row(one, wanted, now=house.clock.now(), curve=curves.get(one.id, ())) for one in rows),
        found=count,
        all=every,
        running=total.running,
        known=len(known),
        next=found_next,
    )


def _query(asked: TableAsked, experiments: Sequence[ExperimentId]) -> Query:
    return runs_query(
        filter_of(asked.filter, name="run_name"),
        order=(asked.order or NEWEST,),
        limit=asked.limit,
        page=asked.page,
        experiments=experiments,
        view=LifecycleView.DELETED if asked.deleted else LifecycleView.ACTIVE,
        counted=True,
    )


def default_columns(known: Sequence[RunKey]) -> tuple[RunKey, ...]:
    """Choose columns where the address names none: the first metrics and params, none of the machine's own."""
    metrics = [one for one in known if one.subject is Subject.METRIC and not one.key.startswith("system/")]
    params = [one for one in known if one.subject is Subject.PARAM]
    return (*metrics[:6], *params[:4])


def keys_of(known: RunKeys) -> tuple[RunKey, ...]:
    """List every column that could be chosen: metrics, then params, then tags that people set."""
    tags = tuple(key for key in known.tags if not key.startswith(HIDDEN))
    named = ((Subject.METRIC, known.metrics), (Subject.PARAM, known.params), (Subject.TAG, tags))
    return tuple(RunKey(subject, key) for subject, keys in named for key in keys)


def _total(counts: Sequence[RunCount]) -> RunCount:
    return RunCount(
        runs=sum(one.runs for one in counts),
        running=sum(one.running for one in counts),
        failed=sum(one.failed for one in counts),
    )


def _say(found: int, every: int, *, asked: TableAsked) -> str:
    if asked.deleted:
        return words.many(found, "deleted run")
    if asked.filter:
        return f"{words.count(found)} of {words.many(every, 'run')}"
    return words.many(every, "run")


def _sub(total: RunCount) -> str:
    parts = ((total.running, "running"), (total.failed, "failed"))
    return ", ".join(f"{words.count(number)} {word}" for number, word in parts if number)


def _column(wanted: RunKey, rows: Sequence[RunGlance], *, order: str) -> TableColumn:
    sort = sort_of(wanted)
    values = [value for row in rows if (value := row.value(wanted)) is not None]
    numbers = [number for value in values if (number := number_of(value)) is not None]
    finite = [number for number in numbers if isfinite(number)]
    key, _, way = order.rpartition(" ")
    return TableColumn(
        name=name_of(wanted),
        subject=wanted.subject.value,
        key=wanted.key,
        sort=sort,
        order="" if key != sort else "descending" if way.upper() == "DESC" else "ascending",
        number=wanted.subject is Subject.METRIC or (bool(values) and len(numbers) == len(values)),
        low=min(finite, default=None),
        high=max(finite, default=None),
    )


def number_of(value: float | str) -> float | None:
    """Read a value as a number; None where it is none."""
    try:
        return float(value)
    except ValueError:
        return None


def row_of(run: RunGlance, *, now: datetime) -> RunRow:
    """Describe a run without columns, as lists beside a run do."""
    return _row(run, (), now=now, curve=())


def _row(run: RunGlance, wanted: Sequence[RunKey], *, now: datetime, curve: tuple[float | None, ...]) -> RunRow:
    until = run.ended_at or (now if run.status is RunStatus.RUNNING else None)
    return RunRow(
        id=run.id,
        name=run.name or words.short(run.id),
        experiment=run.experiment,
        state=RUN_STATES[run.status],
        word=run.status.value,
        started_at=run.started_at,
        seconds=max(0.0, (until - run.started_at).total_seconds()) if until else None,
        user=run.user,
        parent=run.tags.get(PARENT_TAG, ""),
        values=tuple(run.value(one) for one in wanted),
        curve=curve,
    )


def _curves(house: House, key: str, *, rows: Sequence[RunGlance]) -> dict[RunId, tuple[float | None, ...]]:
    """Read the course of one metric for the runs of a page, thinned to what a small line can show."""
    if not key or not rows:
        return {}
    found = house.logging.sampled([row.id for row in rows], [key], count=60)
    return {one.run: tuple(value if isfinite(value) else None for _, _, value in one.points) for one in found}


def choice(house: House, experiments: Sequence[Experiment], *, asked: TableAsked, look: str, most: int = 300) -> Choice:
    """List the columns that can be chosen, at most so many of those that match."""
    known = keys_of(house.logging.keys(tuple(one.id for one in experiments)))
    chosen = tuple(dict.fromkeys(asked.columns)) or tuple(name_of(one) for one in default_columns(known))
    parts = look.lower().split()
    free = [one for one in known if all(part in name_of(one).lower() for part in parts)]
    left = [one for one in free if name_of(one) not in chosen]

    def some(subject: Subject) -> tuple[str, ...]:
        return tuple(name_of(one) for one in left if one.subject is subject)[:most]

    return Choice(
        asked=asked,
        look=look,
        chosen=chosen,
        metrics=some(Subject.METRIC),
        params=some(Subject.PARAM),
        tags=some(Subject.TAG),
        matching=len(free),
        known=len(known),
    )

"""The list of experiments: what each is for, how many runs it has, when something last happened in it."""

from datetime import datetime

import msgspec

from kedge.domain.finding import LifecycleView
from kedge.domain.ids import ExperimentId
from kedge.domain.tracking import NOTE_TAG, Experiment, Lifecycle, RunCount
from kedge.errors import SearchInvalid
from kedge.server.house import House
from kedge.server.reading.looking import filter_of
from kedge.server.reading.state import State
from kedge.tracking.search import experiments_query
from kedge.web import words

ROWS = 50


class ExperimentRow(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment in the list. `newest_at` is when its newest run began; None where it has none."""

    id: ExperimentId
    name: str
    state: State
    word: str
    note: str
    runs: int
    failed: int
    created_at: datetime
    newest_at: datetime | None


class ExperimentsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of experiments, the one with the newest activity first; `fault` says why the search could not be read."""

    say: str
    look: str
    fault: str
    deleted: bool
    experiments: tuple[ExperimentRow, ...]
    next: str


def experiments_page(house: House, *, look: str = "", page: str = "", deleted: bool = False) -> ExperimentsPage:
    """List experiments: those whose name has these words, or that a filter in the search grammar finds."""
    look = " ".join(look.split())
    fault, found_next, total = "", "", 0
    found: tuple[Experiment, ...] = ()
    try:
        query = experiments_query(
            filter_of(look),
            order=("last_update_time DESC",),
            limit=ROWS,
            page=page,
            view=LifecycleView.DELETED if deleted else LifecycleView.ACTIVE,
            counted=True,
        )
        answer = house.logging.search_experiments(query)
        found, found_next, total = answer.items, answer.next, answer.total or len(answer.items)
    except SearchInvalid as error:
        fault = words.sentence(str(error))
    counts = house.logging.count_runs(tuple(one.id for one in found))
    rows = [_row(one, counts[one.id]) for one in found]
    rows.sort(key=lambda row: (row.newest_at is not None, row.newest_at or row.created_at), reverse=True)
    kind = "deleted experiment" if deleted else "experiment"
    return ExperimentsPage(
        say=words.many(total, kind) + (f" with “{look}”" if look and not fault else ""),
        look=look,
        fault=fault,
        deleted=deleted,
        experiments=tuple(rows),
        next=found_next,
    )


def _row(experiment: Experiment, count: RunCount) -> ExperimentRow:
    if experiment.lifecycle is Lifecycle.DELETED:
        state, word = State.IDLE, "deleted"
    elif count.running:
        state, word = State.RUNNING, f"{words.count(count.running)} running"
    else:
        state, word = State.IDLE, "idle" if count.runs else "no runs"
    return ExperimentRow(
        id=experiment.id,
        name=experiment.name,
        state=state,
        word=word,
        note=experiment.tags.get(NOTE_TAG, "").strip().split("\n")[0][:200],
        runs=count.runs,
        failed=count.failed,
        created_at=experiment.created_at,
        newest_at=count.newest_at,
    )

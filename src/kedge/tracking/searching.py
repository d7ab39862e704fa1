"""Searches: the part of the logging room that finds runs, experiments and logged models by a `Query`."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from kedge.domain.finding import Page, Query
from kedge.domain.ids import RunId
from kedge.domain.tracking import Experiment, LoggedModel, RunDetail
from kedge.ports import Experiments, Finder, LoggedModels, Runs

READ_AT_ONCE = 1_000  # rows of a page whose parts are read with one statement each

Id = TypeVar("Id")
T = TypeVar("T")


class Searching:
    """Finds what was logged. Queries are read from text by `search.py` and `search_models.py`."""

    _finder: Finder
    _runs: Runs
    _experiments: Experiments
    _models: LoggedModels

    def find_runs(self, query: Query) -> Page[RunId]:
        """Find runs, ids only. Raises SearchInvalid."""
        return self._finder.runs(query)

    def search_runs(self, query: Query) -> Page[RunDetail]:
        """Find runs with all that was logged in them. Raises SearchInvalid."""
        return _read(self._finder.runs(query), self._runs.details)

    def search_experiments(self, query: Query) -> Page[Experiment]:
        """Find experiments. Raises SearchInvalid."""
        return _read(self._finder.experiments(query), self._experiments.read)

    def search_models(self, query: Query) -> Page[LoggedModel]:
        """Find logged models. Raises SearchInvalid."""
        return _read(self._finder.logged_models(query), self._models.read)


def _read(found: Page[Id], read: Callable[[Sequence[Id]], Sequence[T]]) -> Page[T]:
    starts = range(0, len(found.items), READ_AT_ONCE)
    items = tuple(item for start in starts for item in read(found.items[start : start + READ_AT_ONCE]))
    return Page(items, found.next, found.total)

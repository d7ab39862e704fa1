"""Compare any two tables by their distributions, in a process of its own, as diffs are made: versions of datasets, windows
of the prediction log, and what versions of models were judged on.

What was found stays in memory, a bounded number of them, under all that it depends on: both sides' content, what was
erased from them, which columns are personal, and what was asked; a window of the log, for an hour.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from kedge.domain.comparing import FrameComparison, is_logged
from kedge.errors import KedgeError
from kedge.ports import JobFailed
from kedge.records import open_records
from kedge.server.brought import PLACES, PlacedFile
from kedge.server.diffing import SECONDS, UnderWay
from kedge.server.house import House
from kedge.settings import Settings, settings

if TYPE_CHECKING:
    from kedge.monitoring.comparing.room import NamedRows

_MOST = 32
_JOB_BYTES = 6 << 30  # of address space: what a file that lies about its size may take
RULES = ("kedge", "evidently", "nannyml")


class SideAsked(NamedTuple):
    """One side: its whole name, and all that its rows depend on."""

    name: str
    depends: tuple[str, ...]


class ComparisonAsked(NamedTuple):
    """How two sides are compared: by which rules, and whether all columns together, too."""

    rules: str
    together: bool


class ComparedPair(NamedTuple):
    """Two sides, and what is asked of them."""

    reference: SideAsked
    current: SideAsked
    rules: str
    together: bool


class Comparisons:
    """The comparisons that were asked for last, and those that are being made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, FrameComparison] = OrderedDict()
        self._running: dict[str, UnderWay[FrameComparison]] = {}

    def of(self, house: House, pair: ComparedPair, *, patience: float | None = None) -> FrameComparison | str | float:
        """Compare two versions; a sentence where that failed. With some `patience`, in seconds, what takes longer goes on,
        and the answer is for how many seconds it has: ask again."""
        key = _key(pair)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if (one := self._running.get(key)) is None:
                one = self._running[key] = UnderWay(lambda: self._made(house, pair, key=key))
                one.start()
        if not one.done.wait(patience):
            return one.seconds
        with self._lock:
            self._running.pop(key, None)
        return one.found

    def once(
        self, house: House, names: Mapping[str, str], *, brought: Mapping[str, PlacedFile], wishes: ComparisonAsked
    ) -> FrameComparison | str:
        """Compare two sides of which files were brought, and keep nothing; a sentence where that failed."""
        where = (str(house.settings.project), house.settings.store)
        named = (names["reference"], names["current"], wishes.rules, "classifier" if wishes.together else "")
        result, _ = house.jobs.call(brought_job, where, (named, dict(brought)), seconds=SECONDS)
        if isinstance(result, JobFailed):
            return result.reason
        return result if isinstance(result, str) else msgspec.json.decode(result, type=FrameComparison)

    def _made(self, house: House, pair: ComparedPair, *, key: str) -> FrameComparison | str:
        where = (str(house.settings.project), house.settings.store)
        named = (pair.reference.name, pair.current.name, pair.rules, "classifier" if pair.together else "")
        result, _ = house.jobs.call(comparison_job, where, named, seconds=SECONDS)
        if isinstance(result, JobFailed):
            return result.reason
        if isinstance(result, str):
            return result
        found = msgspec.json.decode(result, type=FrameComparison)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return found


def _key(pair: ComparedPair) -> str:
    """Name all that a comparison depends on."""
    sides = (part for side in (pair.reference, pair.current) for part in (side.name, *side.depends, "/"))
    return "\n".join((pair.rules, str(pair.together), *sides))


def brought_job(
    where: tuple[str, str], asked: tuple[tuple[str, str, str, str], Mapping[str, tuple[str, str]]]
) -> bytes | str:
    """Run in the job's process, within a limit of memory: compare two sides of which files (path, name) were brought."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    most = _JOB_BYTES if before[1] == resource.RLIM_INFINITY else min(_JOB_BYTES, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        return comparison_job(where, asked[0], brought=asked[1])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def comparison_job(
    where: tuple[str, str],
    named: tuple[str, str, str, str],
    *,
    brought: Mapping[str, tuple[str, str]] | None = None,
) -> bytes | str:
    """Run in the job's process: compare two sides of a project and store by name; a refusal comes back as its sentence."""
    from kedge.monitoring.comparing.room import CompareWishes, NamedFile, NamedRows

    chosen = settings(Path(where[0]), store=where[1])
    names, rules, together = named[:2], named[2], named[3]
    wishes = CompareWishes(rules=rules, together=(together,) if together else ())
    records = open_records(chosen)
    try:
        sides: list[object] = list(_logged(chosen, names) if any(map(is_logged, names)) else names)
        for place, side in enumerate(PLACES):
            if brought and side in brought:
                path, shown = brought[side]
                sides[place] = NamedFile(shown, path)
        read = [side for side in sides if isinstance(side, NamedRows)]
        if len(read) == 1:  # a table holds keys and labels, too; of what was logged only features are compared
            wishes = wishes._replace(columns=tuple(read[0].rows.columns))
        return msgspec.json.encode(records.comparing.compare(sides[0], sides[1], wishes=wishes))
    except KedgeError as error:
        return str(error)
    finally:
        records.close()


def _logged(chosen: Settings, names: Sequence[str]) -> Sequence[str | NamedRows]:
    """Read what was logged, with the house that has the log."""
    from kedge.app import open_house
    from kedge.config import bare_project, project_or_none

    spec = project_or_none(chosen.project) or bare_project(chosen.project)
    house = open_house(chosen, spec, writer="comparison", make=False, inline=True)
    try:
        return house.sides.read(names)
    finally:
        house.close()

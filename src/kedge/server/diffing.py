"""Compare or profile versions in a process of its own: the control plane itself loads no table.

Versions never change but by an erasure, so what was found stays in memory, a bounded number of them; values that were
erased since are never shown from there.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from kedge.domain.data import DatasetKind, DatasetVersion
from kedge.domain.data_diff import DatasetDiff
from kedge.domain.ids import DatasetName
from kedge.errors import KedgeError, NotFound
from kedge.ports import JobFailed
from kedge.records import open_records
from kedge.server.house import House
from kedge.settings import settings

SECONDS = 120.0
_MOST = 32
_Key = tuple[str, str, str, str, str]
Found = TypeVar("Found")


class UnderWay(threading.Thread, Generic[Found]):
    """One comparison under way, whoever waits for it: several who ask for the same wait for one."""

    def __init__(self, compare: Callable[[], Found | str]) -> None:
        super().__init__(name="comparing", daemon=True)
        self._compare = compare
        self._began = time.monotonic()
        self.found: Found | str = "the comparison broke off; the server's log says why"
        self.done = threading.Event()

    def run(self) -> None:
        """Compare."""
        try:
            self.found = self._compare()
        finally:
            self.done.set()

    @property
    def seconds(self) -> float:
        """Tell how long it has been under way."""
        return time.monotonic() - self._began


class Diffs:
    """The diffs that were asked for last, and those that are being made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, DatasetDiff] = OrderedDict()
        self._running: dict[_Key, UnderWay[DatasetDiff]] = {}

    def of(
        self, house: House, before: DatasetVersion, *, after: DatasetVersion, patience: float | None = None
    ) -> DatasetDiff | str | float:
        """Compare two versions of a dataset; a sentence where that failed. With some `patience`, in seconds, what takes
        longer goes on, and the answer is for how many seconds it has: ask again."""
        key = (after.dataset, before.digest, str(before.erased_at), after.digest, str(after.erased_at))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if (one := self._running.get(key)) is None:
                one = self._running[key] = UnderWay(lambda: self._made(house, before, after=after, key=key))
                one.start()
        if not one.done.wait(patience):
            return one.seconds
        with self._lock:
            self._running.pop(key, None)
        return one.found

    def _made(self, house: House, before: DatasetVersion, *, after: DatasetVersion, key: _Key) -> DatasetDiff | str:
        where = (str(house.settings.project), house.settings.store)
        named = (str(after.dataset), before.number, after.number)
        result, _ = house.jobs.call(diff_job, where, named, seconds=SECONDS)
        if isinstance(result, JobFailed):
            return result.reason
        if isinstance(result, str):
            return result
        found: DatasetDiff = msgspec.json.decode(result, type=DatasetDiff)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return found


def profile_now(house: House, version: DatasetVersion) -> str:
    """Profile a version of a table and keep what was found; a sentence where that failed, "" where not."""
    where = (str(house.settings.project), house.settings.store)
    result, _ = house.jobs.call(profile_job, where, (str(version.dataset), version.number), seconds=SECONDS)
    return result.reason if isinstance(result, JobFailed) else str(result)


def profile_job(where: tuple[str, str], named: tuple[str, int]) -> str:
    """Run in the job's process: open the records there and profile a version of a dataset."""
    records = open_records(settings(Path(where[0]), store=where[1]))
    try:
        records.quality.profile(f"{named[0]}@{named[1]}")
    except KedgeError as error:
        return str(error)
    else:
        return ""
    finally:
        records.close()


def diff_job(where: tuple[str, str], named: tuple[str, int, int]) -> bytes | str:
    """Run in the job's process: open the records of a project and store there, and compare two versions of a dataset by
    their numbers; a refusal comes back as its sentence."""
    records = open_records(settings(Path(where[0]), store=where[1]))
    dataset, *numbers = named
    try:
        before, after = (_version(records.meta.datasets.find(DatasetName(dataset), number), dataset) for number in numbers)
        if before.kind is not after.kind:
            return f"v{before.number} holds {before.kind.value} and v{after.number} {after.kind.value}"
        room = records.tables if after.kind is DatasetKind.TABLE else records.files
        return msgspec.json.encode(room.diff(before, after))
    except KedgeError as error:
        return str(error)
    finally:
        records.close()


def _version(found: DatasetVersion | None, dataset: str) -> DatasetVersion:
    if found is None:
        raise NotFound(f"a version of {dataset!r} is gone")
    return found

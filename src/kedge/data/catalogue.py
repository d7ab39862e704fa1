"""The catalogue: what every dataset is, who answers for it, what its columns mean, how fresh and good it is, who uses it.

Whatever it shows of rows goes through the personal columns as they are marked now.
"""

import difflib
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import UNSET
from msgspec.structs import replace

from kedge.data.finding import CatalogueIndex, Is, hits_in, read_query
from kedge.data.personal import masked
from kedge.data.references import checked_tag, resolve
from kedge.data.using import uses_of
from kedge.domain.catalogue import (
    CatalogueColumn,
    CatalogueFound,
    CataloguePage,
    DatasetUses,
    EntryChange,
    Freshness,
    FreshState,
    NoteChange,
    QualityPoint,
    Shelved,
)
from kedge.domain.data import (
    ColumnNote,
    Dataset,
    DatasetKind,
    DatasetVersion,
    Severity,
    TableProfile,
    ValidationReport,
)
from kedge.domain.durations import seconds_of
from kedge.domain.events import Event, EventKind
from kedge.domain.finding import Condition, Operator, Query, Subject, position_in, token_of
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.errors import Conflict, NotFound, RequestInvalid
from kedge.ports import Clock, MetaStore, TreeFile

LONGEST_TEXT, LONGEST_LINE, MOST_TAGS = 10_000, 300, 50
OF_DATA = frozenset(
    {
        EventKind.DATASET_COMMITTED,
        EventKind.DATASET_DESCRIBED,
        EventKind.DATASET_TAGGED,
        EventKind.DATASET_VERSIONS_DROPPED,
        EventKind.DATA_ERASED,
        EventKind.DATA_VALIDATED,
        EventKind.DATA_REFUSED,
    }
)
"""What happens to datasets."""
_TRIES = 5
_MOST_CHANGES = 100  # after more of them all of the catalogue is read again


class Manifests(Protocol):
    """What the catalogue needs of a blob store: the files of a tree, one after the other."""

    def manifest(self, tree: Digest) -> Iterator[TreeFile]:
        """Walk the files of a tree in the order of their names."""
        ...


class Catalogue:
    """Describes, finds and shows datasets."""

    def __init__(self, *, meta: MetaStore, blobs: Manifests, clock: Clock) -> None:
        self._meta, self._blobs, self._clock = meta, blobs, clock
        self._lock = threading.Lock()
        self._index, self._upto = CatalogueIndex(()), 0

    @property
    def marks(self) -> dict[str, Is]:
        """List what `is:` may ask for in a search."""
        return {
            "table": lambda one: one.kind is DatasetKind.TABLE,
            "files": lambda one: one.kind is DatasetKind.FILES,
            "fresh": lambda one: self.freshness(one).state is FreshState.FRESH,
            "stale": lambda one: self.freshness(one).state is FreshState.STALE,
            "personal": lambda one: bool(one.entry.personal()),
            "undescribed": lambda one: not one.entry.description,
            "unowned": lambda one: not one.entry.owner,
            "refused": self._is_refused,
        }

    def get(self, name: str) -> Shelved:
        """Read a dataset as it stands. Raises NotFound."""
        datasets, key = self._meta.datasets, DatasetName(name)
        entry = datasets.entry(key)
        if entry is None:
            raise _unknown(name, [str(each.name) for each in datasets.entries()])
        return Shelved(entry=entry, newest=datasets.find(key), tags=dict(datasets.tags(key)))

    def search(self, text: str = "", *, limit: int = 50, page: str = "") -> CataloguePage:
        """Find datasets by what is said of them; without a text, all by name. Raises SearchInvalid."""
        looked = read_query(text, tuple(self.marks))
        asked = Query(where=(Condition(Subject.ATTRIBUTE, "text", Operator.EQ, text),), order=(), limit=limit, page=page)
        with self._lock:
            index = self._indexed()
            ranked, all_of_them = index.find(looked, self.marks), len(index)
            near = "" if ranked else index.near(looked)
        after = position_in(asked)
        keys = [(-score, str(one.name)) for score, one in ranked]
        start = 0 if after is None else sum(key <= (after[0], after[1]) for key in keys)
        shown = ranked[start : start + limit]
        more = len(ranked) > start + limit
        return CataloguePage(
            found=tuple(CatalogueFound(shelved=one, score=score, hits=hits_in(one, looked)) for score, one in shown),
            total=len(ranked),
            all=all_of_them,
            next=token_of(asked, keys[start + limit - 1]) if more else "",
            near=near,
        )

    def describe(self, name: str, change: EntryChange, *, actor: str) -> Dataset:
        """Change a dataset's entry; what the change leaves out stays. Two who describe at once both count.

        A column that becomes personal loses its values in the profiles that are kept. Raises NotFound, RequestInvalid.
        """
        for _ in range(_TRIES):
            one = self.get(name)
            after = changed(one.entry, change, columns=self.column_names(one))
            if after == one.entry:
                break
            try:
                self._meta.datasets.describe(after, self._described(one.entry, after, actor=actor), before=one.entry)
                break
            except Conflict:
                continue
        else:
            raise Conflict(f"dataset {name!r} is described by others again and again; try again in a moment")
        if any(each.personal is True for each in change.columns):
            self._hide_values(after)
        return after

    def tag(self, name: str, tag: str, *, reference: str | None, actor: str) -> DatasetVersion | None:
        """Have a tag name the version that `reference` names ("", the newest), or, with None, nothing any more.

        Raises NotFound, RequestInvalid for a tag that reads as a version's number.
        """
        one = self.get(name)
        checked_tag(tag)
        if reference is None and tag not in one.tags:
            raise NotFound(f"dataset {name!r} has no tag {tag!r}; it has {', '.join(one.tags) or 'none'}")
        version = None if reference is None else resolve(self._meta.datasets, f"{name}@{reference}")
        now, number = self._clock.now(), version.number if version else None
        event = Event(
            key=digest_of("tag", name, tag, number, one.tags.get(tag), now),
            kind=EventKind.DATASET_TAGGED,
            at=now,
            subject=name,
            actor=actor,
            message=f"{name}@{number} is now {tag!r}" if number else f"tag {tag!r} of {name!r} was taken away",
            facts={"tag": tag, "number": number, "before": one.tags.get(tag)},
        )
        self._meta.datasets.tag(one.name, tag, number=number, event=event)
        return version

    def version(self, name: str, reference: str = "") -> DatasetVersion:
        """Find the version that a number, tag or digest names ("": the newest). Raises NotFound."""
        self.get(name)
        return resolve(self._meta.datasets, f"{name}@{reference}" if reference else name)

    def versions(self, name: str, *, before: int | None = None, limit: int = 50) -> Sequence[DatasetVersion]:
        """List versions, newest first, a page at a time."""
        return self._meta.datasets.list(DatasetName(name), before=before, limit=limit)[::-1]

    def files(self, version: DatasetVersion) -> Iterator[TreeFile]:
        """Walk the files of a version, in the order of their names; of a table none."""
        return self._blobs.manifest(version.tree) if version.tree else iter(())

    def freshness(self, one: Shelved) -> Freshness:
        """Say whether a dataset is as new as it should be."""
        return freshness_of(one.entry, one.newest, now=self._clock.now())

    def profile(self, version: DatasetVersion) -> TableProfile | None:
        """Read what is in a version's columns; personal ones without values."""
        found = self._meta.datasets.find_profile(version.digest)
        return masked(found, self._personal(version.dataset)) if found else None

    def report(self, version: DatasetVersion) -> ValidationReport | None:
        """Read the newest report on a version; without personal values."""
        found = self._meta.datasets.find_report(version.digest)
        return masked(found, self._personal(version.dataset)) if found else None

    def columns(self, entry: Dataset, version: DatasetVersion | None) -> tuple[CatalogueColumn, ...]:
        """Describe the columns of a version: type, meaning, what the profile found."""
        if version is None:
            return ()
        profile = self.profile(version)
        summaries = {column.name: column for column in profile.columns} if profile else {}
        notes = {note.name: note for note in entry.columns}
        return tuple(
            CatalogueColumn(
                name=column.name,
                type=column.type,
                categories=() if column.name in entry.personal() else column.categories,
                note=notes.get(column.name, ColumnNote(name=column.name)),
                summary=summaries.get(column.name),
            )
            for column in version.schema.columns
        )

    def column_names(self, one: Shelved) -> Sequence[str]:
        """Name the columns of a dataset: those of its newest version, then those that only older ones have."""
        versions = reversed(self._meta.datasets.list(one.name))
        return list(dict.fromkeys(name for version in versions for name in version.schema.names()))

    def quality(self, name: str, *, limit: int = 200) -> tuple[QualityPoint, ...]:
        """List what validation found over time, oldest first: the newest `limit` reports."""
        datasets, key = self._meta.datasets, DatasetName(name)
        reports = datasets.reports(key)[-limit:]
        numbers: dict[str, int] = {}
        for _, report in reports:
            if report.version not in numbers:
                version = datasets.find_digest(report.version)
                numbers[report.version] = version.number if version else 0
        return tuple(
            quality_of(report, at=at, number=numbers[report.version]) for at, report in reports if numbers[report.version]
        )

    def uses(self, one: Shelved, *, version: DatasetVersion | None = None) -> DatasetUses:
        """Say who uses a dataset, or one version of it: runs, models, features."""
        versions = [version] if version else self._meta.datasets.list(one.name, limit=_NEWEST)
        return uses_of(self._meta, one.name, versions=versions, whole=version is None)

    def history(self, name: str, *, limit: int = 8) -> list[tuple[int, Event]]:
        """List what happened to a dataset, newest first, with serials: of what else has its name nothing."""
        found: list[tuple[int, Event]] = []
        before: int | None = None
        for _ in range(_MOST_PAGES):
            page = self._meta.events.list(subject=name, before=before, limit=100)
            found += [(serial, event) for serial, event in page if event.kind in OF_DATA]
            if len(found) >= limit or len(page) < 100:
                break
            before = page[-1][0]
        return found[:limit]

    def _indexed(self) -> CatalogueIndex:
        """Give the index of the catalogue as it stands. Every change has an event: what they name since is read again."""
        datasets, events = self._meta.datasets, self._meta.events
        upto = next((serial for serial, _ in events.list(limit=1)), 0)
        if upto == self._upto:
            return self._index
        if self._upto and upto - self._upto <= _MOST_CHANGES:
            since = events.list(before=upto + 1, limit=upto - self._upto)  # serials have no gaps
            for name in {DatasetName(event.subject) for _, event in since}:
                if (entry := datasets.entry(name)) is not None:
                    self._index.put(Shelved(entry=entry, newest=datasets.find(name), tags=dict(datasets.tags(name))))
        else:
            newest, tags = datasets.newest(), datasets.all_tags()
            shelf = [
                Shelved(entry=entry, newest=newest.get(entry.name), tags=tags.get(entry.name, {}))
                for entry in datasets.entries()
            ]
            self._index = CatalogueIndex(shelf)
        self._upto = upto
        return self._index

    def _is_refused(self, one: Shelved) -> bool:
        report = self._meta.datasets.find_report(one.newest.digest) if one.newest else None
        return report is not None and not report.passed

    def _personal(self, name: DatasetName) -> frozenset[str]:
        entry = self._meta.datasets.entry(name)
        return entry.personal() if entry else frozenset()

    def _described(self, before: Dataset, after: Dataset, *, actor: str) -> Event:
        fields = [name for name in _FIELDS if getattr(before, name) != getattr(after, name)]
        old, now = {note.name: note for note in before.columns}, self._clock.now()
        columns = [note.name for note in after.columns if old.get(note.name) != note]
        said = [*fields, *(f"column {name}" for name in columns)]
        shown = ", ".join(said[:6]) + (f" and {len(said) - 6} more" if len(said) > 6 else "")
        return Event(
            key=digest_of("describe", before, after, now),
            kind=EventKind.DATASET_DESCRIBED,
            at=now,
            subject=before.name,
            actor=actor,
            message=f"{before.name!r} was described: {shown}",
            facts={"owner": after.owner, "fields": ", ".join(said), "personal": ", ".join(sorted(after.personal()))},
        )

    def _hide_values(self, entry: Dataset) -> None:
        """Take values that are personal now out of the profiles that are kept: nothing shows them any more."""
        for version in self._meta.datasets.list(entry.name):
            profile = self._meta.datasets.find_profile(version.digest)
            if profile is not None and (hidden := masked(profile, entry.personal())) != profile:
                self._meta.datasets.add_profile(hidden)


_NEWEST, _MOST_PAGES = 200, 6
_FIELDS = ("owner", "description", "tags", "source", "fresh_within")


def freshness_of(entry: Dataset, newest: DatasetVersion | None, *, now: datetime) -> Freshness:
    """Say whether a dataset is as new as it should be."""
    if newest is None:
        return Freshness(state=FreshState.EMPTY)
    age = (now - newest.created_at).total_seconds()
    if not entry.fresh_within:
        return Freshness(state=FreshState.UNSTATED, newest_at=newest.created_at, age_seconds=age)
    within = seconds_of(entry.fresh_within)
    return Freshness(
        state=FreshState.FRESH if age <= within else FreshState.STALE,
        newest_at=newest.created_at,
        age_seconds=age,
        within_seconds=within,
        due_at=newest.created_at + timedelta(seconds=within),
    )


def quality_of(report: ValidationReport, *, at: datetime, number: int) -> QualityPoint:
    """Count what a report found."""
    found = [breach.expectation.severity for breach in report.breaches]
    return QualityPoint(
        at=at,
        number=number,
        version=report.version,
        passed=report.passed,
        rows=report.rows,
        errors=sum(severity is Severity.ERROR for severity in found),
        warnings=sum(severity is not Severity.ERROR for severity in found),
        quarantined=report.quarantined,
    )


def changed(entry: Dataset, change: EntryChange, *, columns: Sequence[str]) -> Dataset:
    """Give the entry as a change leaves it. `columns` are those there are. Raises RequestInvalid."""
    given = {name: value for name in _FIELDS if (value := getattr(change, name)) is not UNSET}
    for name in ("owner", "source", "fresh_within"):
        if name in given:
            given[name] = _line(given[name], name)
    if "description" in given:
        given["description"] = _text(given["description"], "description")
    if "tags" in given:
        given["tags"] = _tags(given["tags"])
    if within := given.get("fresh_within"):
        try:
            seconds_of(within)
        except ValueError as error:
            raise RequestInvalid(f"fresh_within: {error}") from None
    notes = {note.name: note for note in entry.columns}
    for one in change.columns:
        notes[one.name] = _noted(notes.get(one.name), one, dataset=entry.name, columns=columns)
    place = {name: at for at, name in enumerate(columns)}
    said = [note for note in notes.values() if note != ColumnNote(name=note.name)]
    return replace(entry, **given, columns=tuple(sorted(said, key=lambda note: (place.get(note.name, 10**6), note.name))))


def _noted(note: ColumnNote | None, change: NoteChange, *, dataset: str, columns: Sequence[str]) -> ColumnNote:
    if note is None and change.name not in columns:
        near = difflib.get_close_matches(change.name, columns, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(columns[:8]) or 'no columns'}"
        raise RequestInvalid(f"dataset {dataset!r} has no column {change.name!r}; {hint}")
    kept = note or ColumnNote(name=change.name)
    return ColumnNote(
        name=change.name,
        meaning=kept.meaning if change.meaning is UNSET else _text(change.meaning, f"meaning of {change.name}"),
        unit=kept.unit if change.unit is UNSET else _line(change.unit, f"unit of {change.name}"),
        personal=kept.personal if change.personal is UNSET else change.personal,
    )


def _line(text: str, what: str) -> str:
    text = " ".join(text.split())
    if len(text) > LONGEST_LINE:
        raise RequestInvalid(f"{what} is {len(text)} characters long; {LONGEST_LINE} are the most")
    return text


def _text(text: str, what: str) -> str:
    text = text.strip().replace("\r\n", "\n")
    if len(text) > LONGEST_TEXT:
        raise RequestInvalid(f"{what} is {len(text)} characters long; {LONGEST_TEXT:,} are the most")
    return text


def _tags(tags: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(line for tag in tags if (line := _line(tag, "a tag"))))
    if len(found) > MOST_TAGS:
        raise RequestInvalid(f"{len(found)} tags; {MOST_TAGS} are the most")
    return found


def _unknown(name: str, names: Sequence[str]) -> NotFound:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "list them with `kedge data list`"
    return NotFound(f"there is no dataset {name!r}; {hint}")

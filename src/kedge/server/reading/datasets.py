"""Datasets as pages and the API show them: the catalogue, one dataset, one version."""

from datetime import datetime

import msgspec

from kedge.data.catalogue import Catalogue
from kedge.domain.catalogue import (
    CatalogueColumn,
    CatalogueHit,
    DatasetUses,
    Freshness,
    FreshState,
    QualityPoint,
    Shelved,
)
from kedge.domain.data import Dataset, DatasetKind, DatasetVersion, Schema, TableProfile, ValidationReport
from kedge.domain.ids import Digest
from kedge.errors import SearchInvalid
from kedge.server.reading.happened import happened
from kedge.server.reading.state import Happened, Sentence, State
from kedge.web import words

MOST_VERSIONS = 50
MOST_COURSE = 200


class CatalogueLine(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset in the catalogue: what it is, its newest version, whether it is as new as it should be, where a search
    found its words."""

    dataset: str
    kind: DatasetKind
    number: int
    digest: str
    rows: int
    files: int
    bytes: int
    columns: int
    personal: int
    created_at: datetime | None
    description: str
    owner: str
    tags: tuple[str, ...]
    version_tags: dict[str, int]
    freshness: Freshness
    state: State
    word: str
    hits: tuple[CatalogueHit, ...]


class DatasetsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the catalogue. `fault` says what is wrong with the search, `near` what it may have meant."""

    say: str
    datasets: tuple[CatalogueLine, ...]
    total: int
    all: int
    next: str = ""
    look: str = ""
    near: str = ""
    fault: str = ""


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version among others: what it holds, who made it and why, how it was judged. `parts` are the files of a table."""

    number: int
    digest: Digest
    rows: int
    files: int
    bytes: int
    parts: int
    columns: int
    created_at: datetime
    upto: datetime | None
    actor: str
    message: str
    source: str
    tags: tuple[str, ...]
    state: State
    word: str
    erased_at: datetime | None = None


class DatasetPage(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset: its entry, its newest version's columns and report, its quality over time, who uses it, its newest
    versions, the newest first (`more`: there are others), and what happened to it last."""

    dataset: str
    kind: DatasetKind
    verdict: Sentence
    entry: Dataset
    freshness: Freshness
    key: tuple[str, ...]
    columns: tuple[CatalogueColumn, ...]
    report: ValidationReport | None
    quality: tuple[QualityPoint, ...]
    uses: DatasetUses
    tags: dict[str, int]
    versions: tuple[VersionRow, ...]
    more: bool
    history: tuple[Happened, ...]

    @property
    def newest(self) -> VersionRow | None:
        """Give the newest version."""
        return self.versions[0] if self.versions else None


class DatasetVersions(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a dataset's versions, newest first; `next` is the token of the page after it, empty at the end."""

    dataset: str
    versions: tuple[VersionRow, ...]
    next: str


class DatasetVersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """One version: what it holds, what was found in it, who uses it, the versions beside it."""

    dataset: str
    kind: DatasetKind
    verdict: Sentence
    entry: Dataset
    version: VersionRow
    schema: Schema
    key: tuple[str, ...]
    columns: tuple[CatalogueColumn, ...]
    profile: TableProfile | None
    report: ValidationReport | None
    uses: DatasetUses
    previous: int | None
    following: int | None


def datasets_page(room: Catalogue, look: str = "", *, page: str = "", limit: int = 50) -> DatasetsPage:
    """List the catalogue, or what a search finds in it. A search that cannot be read is told in `fault`."""
    try:
        found = room.search(look, limit=limit, page=page)
    except SearchInvalid as error:
        return DatasetsPage(say="This search cannot be read.", datasets=(), total=0, all=0, look=look, fault=str(error))
    lines = tuple(_line(room, one.shelved, hits=one.hits) for one in found.found)
    if look:
        say = f"{words.count(found.total)} of {words.many(found.all, 'dataset')}."
    else:
        stale = sum(line.freshness.state is FreshState.STALE for line in lines)
        refused = sum(line.state is State.ALARM for line in lines)
        said = [f"{stale} stale"] * bool(stale) + [f"{refused} refused"] * bool(refused)
        say = ", ".join([words.many(found.all, "dataset"), *said]) + "."
    return DatasetsPage(
        say=say, datasets=lines, total=found.total, all=found.all, next=found.next, look=look, near=found.near
    )


def _line(room: Catalogue, one: Shelved, *, hits: tuple[CatalogueHit, ...]) -> CatalogueLine:
    newest, fresh = one.newest, room.freshness(one)
    state, word = standing(one.kind, room.report(newest) if newest else None, fresh=fresh)
    return CatalogueLine(
        dataset=one.name,
        kind=one.kind,
        number=newest.number if newest else 0,
        digest=newest.digest if newest else "",
        rows=newest.rows if newest else 0,
        files=newest.files if newest else 0,
        bytes=bytes_of(newest) if newest else 0,
        columns=len(newest.schema.columns) if newest else 0,
        personal=len(one.entry.personal()),
        created_at=newest.created_at if newest else None,
        description=one.entry.description,
        owner=one.entry.owner,
        tags=one.entry.tags,
        version_tags=one.tags,
        freshness=fresh,
        state=state,
        word=word,
        hits=hits,
    )


def dataset_page(room: Catalogue, name: str) -> DatasetPage:
    """Describe one dataset. Raises NotFound."""
    one = room.get(name)
    fresh = room.freshness(one)
    report = room.report(one.newest) if one.newest else None
    versions = room.versions(name, limit=MOST_VERSIONS + 1)
    return DatasetPage(
        dataset=one.name,
        kind=one.kind,
        verdict=dataset_sentence(one, report, fresh=fresh),
        entry=one.entry,
        freshness=fresh,
        key=one.newest.key if one.newest else (),
        columns=room.columns(one.entry, one.newest),
        report=report,
        quality=room.quality(name, limit=MOST_COURSE),
        uses=room.uses(one),
        tags=one.tags,
        versions=tuple(row_of(room, version, tags=one.tags) for version in versions[:MOST_VERSIONS]),
        more=len(versions) > MOST_VERSIONS,
        history=tuple(happened(serial, event, dataset=one.name) for serial, event in room.history(name)),
    )


def versions_page(room: Catalogue, name: str, *, before: int | None, limit: int) -> DatasetVersions:
    """List a page of versions. Raises NotFound."""
    one = room.get(name)
    found = room.versions(name, before=before, limit=limit + 1)
    rows = tuple(row_of(room, version, tags=one.tags) for version in found[:limit])
    return DatasetVersions(dataset=one.name, versions=rows, next=f"v{rows[-1].number}" if len(found) > limit else "")


def dataset_version_page(room: Catalogue, name: str, *, reference: str) -> DatasetVersionPage:
    """Describe one version. Raises NotFound."""
    one, version = room.get(name), room.version(name, reference)
    report, profile = room.report(version), room.profile(version)
    before = room.versions(name, before=version.number, limit=1)
    newest = one.newest.number if one.newest else version.number
    return DatasetVersionPage(
        dataset=one.name,
        kind=version.kind,
        verdict=version_sentence(version, report),
        entry=one.entry,
        version=row_of(room, version, tags=one.tags),
        schema=_shown_schema(version.schema, one.entry.personal()),
        key=version.key,
        columns=room.columns(one.entry, version),
        profile=profile,
        report=report,
        uses=room.uses(one, version=version),
        previous=before[0].number if before else None,
        following=_following(room, name, number=version.number, newest=newest),
    )


def _following(room: Catalogue, name: str, *, number: int, newest: int) -> int | None:
    """Find the number that follows: one of the next, mostly; of many that follow, the next may have been dropped."""
    for reach in (50, newest - number + 1):
        found = [one.number for one in room.versions(name, before=number + reach, limit=reach - 1) if one.number > number]
        if found:
            return min(found)
    return None


def _shown_schema(schema: Schema, personal: frozenset[str]) -> Schema:
    """Leave the known strings of personal columns out."""
    columns = (
        msgspec.structs.replace(column, categories=()) if column.name in personal else column for column in schema.columns
    )
    return Schema(tuple(columns))


def row_of(room: Catalogue, version: DatasetVersion, *, tags: dict[str, int]) -> VersionRow:
    """Write a version as a row among others."""
    state, word = standing(version.kind, room.report(version))
    return VersionRow(
        number=version.number,
        digest=version.digest,
        rows=version.rows,
        files=version.files,
        bytes=bytes_of(version),
        parts=len(version.parts),
        columns=len(version.schema.columns),
        created_at=version.created_at,
        upto=version.upto,
        actor=version.actor,
        message=version.message,
        source=version.source,
        tags=tuple(tag for tag, number in tags.items() if number == version.number),
        state=state,
        word=word,
        erased_at=version.erased_at,
    )


def bytes_of(version: DatasetVersion) -> int:
    """Give the size of what a version holds; the loop's own versions say it of their parts."""
    return version.bytes or sum(part.bytes for part in version.parts)


def standing(kind: DatasetKind, report: ValidationReport | None, *, fresh: Freshness | None = None) -> tuple[State, str]:
    """Say in a word how a dataset or version stands: the worst of it. Expectations are for tables only."""
    if report is not None and not report.passed:
        return State.ALARM, "refused"
    if fresh is not None and fresh.state is FreshState.STALE:
        return State.WATCH, "stale"
    if fresh is not None and fresh.state is FreshState.EMPTY:
        return State.IDLE, "empty"
    if report is None:
        return (State.IDLE, "kept") if kind is DatasetKind.FILES else (State.HOLDS, "not checked")
    if report.breaches:
        return State.WATCH, "rows set aside" if report.quarantined else "with warnings"
    return State.WELL, "as expected"


def dataset_sentence(one: Shelved, report: ValidationReport | None, *, fresh: Freshness) -> Sentence:
    """Say whether all is well with a dataset."""
    newest = one.newest
    if newest is None:
        return Sentence(state=State.IDLE, say=f"{one.name} has no version.", sub="A commit makes the first one.")
    said = version_sentence(newest, report)
    if fresh.state is FreshState.STALE and said.state is not State.ALARM:
        age, most = words.duration(fresh.age_seconds), words.duration(fresh.within_seconds)
        owner = f"{one.entry.owner} answers for it." if one.entry.owner else "Nobody answers for it yet."
        return Sentence(
            state=State.WATCH,
            say=f"{one.name} is stale: v{newest.number} is {age} old and may be {most}.",
            sub=f"{owner} {said.say}",
        )
    due = f" It becomes stale {words.utc(fresh.due_at)}." if fresh.due_at and fresh.state is FreshState.FRESH else ""
    return Sentence(state=said.state, say=said.say, sub=said.sub + due)


def version_sentence(version: DatasetVersion, report: ValidationReport | None) -> Sentence:
    """Say what a version holds, and whether that is as expected."""
    what, holds = f"{version.dataset}@{version.number}", extent(version)
    upto = f"Rows known up to {words.utc(version.upto)}." if version.upto else ""
    if version.erased_at is not None:
        gone = f"Rows or files of it were erased for good {words.utc(version.erased_at)}; its name and history stay."
        upto = f"{gone} {upto}".strip()
    if version.kind is DatasetKind.FILES and report is None:
        return Sentence(state=State.IDLE, say=f"{what} has {holds}.", sub=upto)
    if report is None:
        return Sentence(state=State.HOLDS, say=f"{what} has {holds}; nobody has checked them.", sub=upto)
    if not report.passed:
        many = words.many(len(report.breaches), "expectation")
        return Sentence(
            state=State.ALARM,
            say=f"{what} was refused: {many} did not hold.",
            sub=f"The loop trains on nothing that was refused; what is live stays live. {upto}".strip(),
        )
    if report.quarantined:
        aside = words.many(report.quarantined, "row")
        return Sentence(state=State.WATCH, say=f"{what} is as expected but for {aside} set aside: {holds}.", sub=upto)
    if report.breaches:
        warned = words.many(len(report.breaches), "warning")
        return Sentence(state=State.WATCH, say=f"{what} is as expected, with {warned}: {holds}.", sub=upto)
    return Sentence(state=State.WELL, say=f"{what} is as expected: {holds}, every expectation met.", sub=upto)


def extent(version: DatasetVersion | VersionRow) -> str:
    """Say how much a version holds."""
    if version.files and not version.rows:
        return f"{words.many(version.files, 'file')}, {words.size(_held(version))}"
    return words.many(version.rows, "row")


def _held(version: DatasetVersion | VersionRow) -> int:
    return version.bytes if isinstance(version, VersionRow) else bytes_of(version)

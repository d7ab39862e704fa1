"""What is said of a dataset travels with it: its entry, its personal columns above all, and its versions' tags.

    entries/DATASET/DIGEST.json      what one store said; never changed, so that no two who send lose one another's
Who fetches merges them all: a column is personal where any of them says so; a text or tag is the newest one's. What is
said here already stays, but for the personal columns: those of all count.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec.structs import replace

from kedge.data.references import checked_tag
from kedge.domain.data import ColumnNote, Dataset
from kedge.domain.durations import seconds_of
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.errors import Conflict, RequestInvalid, StoreBroken
from kedge.ports import Bucket, Clock, Datasets

_FOLDER = "entries"
_TRIES = 5
_TEXTS = ("owner", "description", "source", "fresh_within", "tags")


class SentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a store said of a dataset when it sent it; tags with the digests of the versions they name."""

    entry: Dataset
    tags: dict[str, Digest] = {}
    at: datetime


def send_entry(bucket: Bucket, name: DatasetName, *, datasets: Datasets, clock: Clock) -> None:
    """Send what is said of a dataset here; the same again sends nothing. Raises Unreachable."""
    entry = datasets.entry(name)
    if entry is None:
        return
    found = ((tag, datasets.find(name, number)) for tag, number in datasets.tags(name).items())
    tags = {tag: version.digest for tag, version in found if version is not None}
    said = SentEntry(entry=entry, tags=tags, at=clock.now())
    path = f"{_FOLDER}/{name}/{digest_of(entry, tags)}.json"
    if bucket.size(path) is None:
        bucket.put(path, msgspec.json.encode(said), new=True)


def sent_entry(bucket: Bucket, name: DatasetName) -> SentEntry | None:
    """Read what all who sent a dataset said of it, as one; None where nobody said anything. Raises StoreBroken."""
    records = [bucket.get(path) for path, _ in list(bucket.list(f"{_FOLDER}/{name}"))]
    said = sorted((_read(record, bucket.url) for record in records if record is not None), key=lambda one: one.at)
    whole: SentEntry | None = None
    for one in said:
        if one.entry.name == name:
            tags = {**(whole.tags if whole else {}), **one.tags}
            entry = merged(one.entry, whole.entry) if whole else one.entry
            whole = SentEntry(entry=entry, tags=tags, at=one.at)
    return whole


def take_entry(said: SentEntry, *, datasets: Datasets, clock: Clock, url: str, actor: str) -> None:
    """Keep what others said of a dataset, under what is said here; before its version is there, so that no personal value
    is ever shown."""
    for _ in range(_TRIES):
        before = datasets.entry(said.entry.name)
        after = merged(before, said.entry) if before else said.entry
        if after == before:
            return
        event = Event(
            key=digest_of("entry", before, after),
            kind=EventKind.DATASET_DESCRIBED,
            at=clock.now(),
            subject=after.name,
            actor=actor,
            message=f"what is said of {after.name!r} came from {url}",
            facts={"personal": ", ".join(sorted(after.personal())), "from": url},
        )
        try:
            datasets.describe(after, event, before=before)
        except Conflict:
            continue
        return
    raise Conflict(f"dataset {said.entry.name!r} is described by others again and again; run the same again")


def take_tags(said: SentEntry, *, datasets: Datasets, clock: Clock, url: str, actor: str) -> None:
    """Keep the tags that are not taken here, of those versions that are here; none that would read as a number."""
    name, known = said.entry.name, datasets.tags(said.entry.name)
    for tag, digest in said.tags.items():
        version = None if tag in known or not _is_tag(tag) else datasets.find_digest(digest)
        if version is None or version.dataset != name:
            continue
        event = Event(
            key=digest_of("tag", name, tag, version.number, None, clock.now()),
            kind=EventKind.DATASET_TAGGED,
            at=clock.now(),
            subject=name,
            actor=actor,
            message=f"{name}@{version.number} is now {tag!r}, as in {url}",
            facts={"tag": tag, "number": version.number, "from": url},
        )
        datasets.tag(name, tag, number=version.number, event=event)


def merged(mine: Dataset, theirs: Dataset) -> Dataset:
    """Put one entry over another: texts of the first where it has some; columns that either calls personal are."""
    texts = {name: getattr(mine, name) or getattr(theirs, name) for name in _TEXTS}
    notes = {note.name: note for note in theirs.columns}
    for note in mine.columns:
        other = notes.get(note.name, note)
        notes[note.name] = ColumnNote(
            name=note.name,
            meaning=note.meaning or other.meaning,
            unit=note.unit or other.unit,
            personal=note.personal or other.personal,
        )
    order = [note.name for note in mine.columns]
    order += [name for name in notes if name not in order]
    return replace(mine, **texts, columns=tuple(notes[name] for name in order))


def _read(record: bytes, url: str) -> SentEntry:
    """Read what a store said; an age that cannot be read is none, as another release may have written it."""
    try:
        said = msgspec.json.decode(record, type=SentEntry)
    except msgspec.MsgspecError as error:
        raise StoreBroken(f"a dataset's entry in {url} cannot be read ({error}); push that dataset again") from error
    try:
        if said.entry.fresh_within:
            seconds_of(said.entry.fresh_within)
    except ValueError:
        return replace(said, entry=replace(said.entry, fresh_within=""))
    return said


def _is_tag(text: str) -> bool:
    try:
        return bool(checked_tag(text))
    except RequestInvalid:
        return False

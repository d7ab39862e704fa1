"""What differs between two versions of a dataset, as a page says it."""

import msgspec

from kedge.data.catalogue import Catalogue
from kedge.data.personal import masked
from kedge.domain.data import DatasetVersion
from kedge.domain.data_diff import DatasetDiff, FilesDiff, MovedColumn, TableDiff
from kedge.server.diffing import Diffs
from kedge.server.house import House
from kedge.server.reading.datasets import VersionRow, row_of
from kedge.server.reading.state import Figure, Sentence, State
from kedge.web import words


class DatasetDiffPage(msgspec.Struct, frozen=True, kw_only=True):
    """Two versions of a dataset and what differs between them; `failed` says why that could not be told, `waiting` for how
    many seconds they are being compared still."""

    dataset: str
    verdict: Sentence
    before: VersionRow
    after: VersionRow
    figures: tuple[Figure, ...]
    diff: DatasetDiff | None
    failed: str = ""
    waiting: float | None = None


def diff_page(
    house: House, diffs: Diffs, *, name: str, before: str, after: str, patience: float | None = None
) -> DatasetDiffPage:
    """Compare two versions, named by number, tag or digest; without names, the newest with the one before it.

    With `patience`, in seconds, what takes longer goes on meanwhile. Raises NotFound.
    """
    room = house.catalogue
    one = room.get(name)
    new = room.version(name, after)
    old = room.version(name, before) if before else _previous(room, new)
    found = diffs.of(house, old, after=new, patience=patience)
    waiting = found if isinstance(found, float) else None
    diff = None if isinstance(found, str | float) else masked(found, one.entry.personal())
    failed = found if isinstance(found, str) else ""
    return DatasetDiffPage(
        dataset=one.name,
        verdict=_sentence(old, new, diff=diff, failed=failed) if waiting is None else _patience(old, new, seconds=waiting),
        before=row_of(room, old, tags=one.tags),
        after=row_of(room, new, tags=one.tags),
        figures=_figures(diff),
        diff=diff,
        failed=failed,
        waiting=waiting,
    )


def _patience(old: DatasetVersion, new: DatasetVersion, *, seconds: float) -> Sentence:
    many = words.many(max(old.rows, new.rows), "row") if new.rows else words.many(max(old.files, new.files), "file")
    sub = f"{many}, for {words.duration(seconds)} so far; this page shows what differs as soon as it is known."
    return Sentence(state=State.IDLE, say=f"{new.dataset}@{old.number} and @{new.number} are being compared.", sub=sub)


def _previous(room: Catalogue, version: DatasetVersion) -> DatasetVersion:
    """Find the version before; the first one is compared with itself."""
    found = room.versions(version.dataset, before=version.number, limit=1)
    return found[0] if found else version


def _sentence(old: DatasetVersion, new: DatasetVersion, *, diff: DatasetDiff | None, failed: str) -> Sentence:
    what = f"{new.dataset}@{old.number} and @{new.number}"
    if diff is None:
        return Sentence(state=State.ALARM, say=f"{what} could not be compared.", sub=words.sentence(failed))
    if diff.same:
        return Sentence(state=State.IDLE, say=f"{what} hold the same.", sub="No row, file or column differs.")
    if isinstance(diff, FilesDiff):
        return Sentence(state=State.IDLE, say=f"From v{old.number} to v{new.number}: {_files(diff)}.", sub="")
    moved = [column.name for column in diff.columns if column.moved]
    rows = words.listed(_rows(diff), 4) or "no row differs"
    said = f"{rows}{_schema(diff)}"
    if moved:
        sub = f"{words.many(len(moved), 'column')} moved: {words.listed(moved, 5)}."
        return Sentence(state=State.WATCH, say=f"From v{old.number} to v{new.number}: {said}.", sub=sub)
    sub = "No column's distribution moved." if diff.columns else ""
    return Sentence(state=State.IDLE, say=f"From v{old.number} to v{new.number}: {said}.", sub=sub)


def _rows(diff: TableDiff) -> list[str]:
    counts = ((diff.added, "added"), (diff.removed, "removed"), (diff.changed, "changed"))
    found = [(count, word) for count, word in counts if count]
    return [
        f"{words.many(count, 'row') if place == 0 else words.count(count)} {word}"
        for place, (count, word) in enumerate(found)
    ]


def _schema(diff: TableDiff) -> str:
    if not diff.schema:
        return ""
    return f"; {words.many(len(diff.schema), 'column')} {'is' if len(diff.schema) == 1 else 'are'} new, gone or retyped"


def _files(diff: FilesDiff) -> str:
    counts = ((diff.added, "added"), (diff.removed, "removed"), (diff.changed, "changed"), (diff.moved, "moved"))
    found = [(count, word) for count, word in counts if count]
    return words.listed(
        [
            f"{words.many(count, 'file') if place == 0 else words.count(count)} {word}"
            for place, (count, word) in enumerate(found)
        ],
        4,
    )


def _figures(diff: DatasetDiff | None) -> tuple[Figure, ...]:
    if diff is None:
        return ()
    unit = "files" if isinstance(diff, FilesDiff) else "rows"
    counts = [("Added", diff.added), ("Removed", diff.removed), ("Changed", diff.changed)]
    if isinstance(diff, FilesDiff):
        counts.append(("Moved", diff.moved))
    counts.append(("Unchanged", diff.unchanged))
    return tuple(Figure(name=name, text=words.count(count), unit=unit) for name, count in counts)


def distance_words(column: MovedColumn) -> str:
    """Write how far a column moved: "PSI 0.31, Wasserstein 0.12"; the others are in the JSON."""
    shown = [(word, column.distances[name]) for name, word in _DISTANCES.items() if name in column.distances]
    return ", ".join(f"{word} {words.number(value, 2)}" for word, value in shown)


_DISTANCES = {"psi": "PSI", "wasserstein": "Wasserstein"}

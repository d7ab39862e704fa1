"""Personal columns: what is marked as personal is never shown, whatever shows it.

`masked` stands between what was found in rows and whoever looks: profiles, diffs, reports. It takes the
columns marked now, not those marked when the finding was made, so that a mark holds for what was found before it.
"""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from msgspec.structs import replace

from kedge.domain.data import Breach, ColumnSummary, Rule, TableProfile, ValidationReport
from kedge.domain.data_diff import ChangedCell, ExampleRow, MovedColumn, TableDiff

MASK = "[personal]"
"""What stands in place of a personal value; a missing one stays missing."""

Shown = TypeVar("Shown")


def masked(found: Shown, personal: Collection[str]) -> Shown:
    """Take the values of personal columns out of a finding. Counts, shares and distances stay.

    A finding is a profile, a diff, a report, or a part of one (`ColumnSummary`, `MovedColumn`, `Breach`).
    """
    hide: Callable[[Shown, Collection[str]], Shown] | None = _MASKS.get(type(found))
    return hide(found, personal) if hide is not None else found


def _summary(column: ColumnSummary, personal: Collection[str]) -> ColumnSummary:
    """Keep what says nothing of any one person: the type, how many values are missing, how many differ."""
    if not column.personal and column.name not in personal:
        return column
    return ColumnSummary(name=column.name, type=column.type, missing=column.missing, distinct=column.distinct, personal=True)


def _profile(profile: TableProfile, personal: Collection[str]) -> TableProfile:
    return replace(profile, columns=tuple(_summary(column, personal) for column in profile.columns))


def _moved(column: MovedColumn, personal: Collection[str]) -> MovedColumn:
    if not column.personal and column.name not in personal:
        return column
    return replace(
        column,
        personal=True,
        mean_before=None,
        mean_after=None,
        bins_before=(),
        bins_after=(),
        top_before=(),
        top_after=(),
    )


def _diff(diff: TableDiff, personal: Collection[str]) -> TableDiff:
    hidden = {column.name for column in diff.columns if column.personal}.union(personal)
    return replace(
        diff,
        columns=tuple(_moved(column, personal) for column in diff.columns),
        examples_added=_examples(diff.examples_added, hidden, key=diff.key),
        examples_removed=_examples(diff.examples_removed, hidden, key=diff.key),
        examples_changed=_examples(diff.examples_changed, hidden, key=diff.key),
    )


def _examples(rows: tuple[ExampleRow, ...], personal: Collection[str], *, key: tuple[str, ...]) -> tuple[ExampleRow, ...]:
    return tuple(
        ExampleRow(
            key=tuple(MASK if name in personal else value for name, value in zip(key, row.key, strict=True)),
            cells=tuple(_cell(cell) if cell.column in personal else cell for cell in row.cells),
        )
        for row in rows
    )


def _cell(cell: ChangedCell) -> ChangedCell:
    return ChangedCell(
        column=cell.column,
        before=cell.before if cell.before is None else MASK,
        after=cell.after if cell.after is None else MASK,
    )


def _breach(breach: Breach, personal: Collection[str]) -> Breach:
    """Take rows that are named by a personal key, or show a personal value, out of a breach and out of its sentence."""
    said, message = breach.expectation, breach.message
    about = {*said.names, *((said.other,) if said.other else ())}
    if said.rule is Rule.HOLDS:  # of code it is not written down which columns it reads
        about |= {name for name in personal if not said.holds or name in said.holds}
    if about.isdisjoint(personal):
        hidden = {example for example in breach.examples if any(example.startswith(f"{name} ") for name in personal)}
    else:
        hidden = set(breach.examples)
    for example in sorted(hidden, key=len, reverse=True):  # one may be the beginning of another
        message = message.replace(example, MASK)
    examples = tuple(MASK if example in hidden else example for example in breach.examples)
    return replace(breach, examples=examples, message=message)


def _report(report: ValidationReport, personal: Collection[str]) -> ValidationReport:
    return replace(report, breaches=tuple(_breach(breach, personal) for breach in report.breaches))


_MASKS: dict[type, Callable[[Any, Collection[str]], Any]] = {
    ColumnSummary: _summary,
    TableProfile: _profile,
    MovedColumn: _moved,
    TableDiff: _diff,
    Breach: _breach,
    ValidationReport: _report,
}

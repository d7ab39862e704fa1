"""Validation: what a table's rows break of what is expected of them.

All counts of one report come from one lazy pass over the table, streaming where the table is a file: first statistics,
several times cheaper than a mask for each rule (`rules.py`). Only for expectations that do not hold are rows looked for:
to count them, to name the first of them, and to set aside those of severity QUARANTINE.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, Literal

import polars as pl
from msgspec import UNSET
from msgspec.structs import replace

from kedge.data.expect import Held
from kedge.data.quality.rules import KEYS_AT_ONCE, ROWS, Asked, Question, key_of, needed, question
from kedge.data.quality.wording import Classes, example, message, shareable
from kedge.data.source import require_column, spare
from kedge.domain.data import Breach, DatasetVersion, Expectation, Rule, Severity, ValidationReport
from kedge.domain.evaluation import Task
from kedge.domain.ids import DatasetName, Digest
from kedge.domain.project import ProjectSpec
from kedge.errors import SourceFailed

EXAMPLES = 5
NUMBER, BREAKS = "row__", "breaks__"
"""The columns of a file of failing rows that say which row each is, from 0, and which expectations it breaks; with one
more `_` where the table has a column of that name."""
_HEAD = 1000
_KEYS_IN_A_PASS = 2_000_000
_MOST_REPEATS = 1_000_000
Engine = Literal["in-memory", "streaming"]


def built_in(spec: ProjectSpec, rows: pl.DataFrame) -> tuple[Expectation, ...]:
    """List what is expected of every project's rows: keys unique, a time, a usable label, no infinite number."""
    aside = Severity.QUARANTINE
    label = spec.data.label
    keys = [spec.data.key] if spec.data.key else []
    unique = [Expectation(rule=Rule.UNIQUE, column=key, severity=aside) for key in keys]
    present = [Expectation(rule=Rule.NOT_NULL, column=name, severity=aside) for name in (*keys, spec.data.time, label)]
    finite = [
        Expectation(rule=Rule.FINITE, column=name, severity=aside) for name, dtype in rows.schema.items() if dtype.is_float()
    ]
    if spec.data.task is Task.REGRESSION:
        return (*unique, *present, *finite)
    return (*unique, *present, Expectation(rule=Rule.BETWEEN, column=label, at_least=0, at_most=1), *finite)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table to validate, read lazily, and what its rows are named by in a report.

    `rows` is about how many it has, where that is known. `classes` names the values behind the codes of a label column;
    the values of `personal` columns are never shown. `other` reads another dataset.
    """

    frame: pl.LazyFrame
    dataset: DatasetName
    version: Digest
    key: str = ""
    rows: int | None = None
    classes: Classes | None = None
    personal: frozenset[str] = frozenset()
    now: datetime | None = None
    other: Callable[[str], pl.LazyFrame] | None = None
    engine: Engine = "streaming"


class Judged:
    """What was found in a table: the report, and the rows behind it."""

    def __init__(self, table: Table, report: ValidationReport, *, breached: Sequence[Question]) -> None:
        self._table, self._breached, self.report = table, breached, report

    def keep(self) -> pl.Series:
        """Say of each row whether it is kept (true) or set aside."""
        aside = _any_of([_mask(question) for question in self._breached if _sets_aside(question)])
        everyone = pl.repeat(value=True, n=pl.len(), dtype=pl.Boolean)
        frame = _beside(self._table.frame, self._breached)
        return frame.select(keep=everyone & ~aside).collect(engine=self._table.engine)["keep"]

    def failing(self) -> pl.LazyFrame:
        """Give all rows that break an expectation, lazily: their numbers, what they break, and what they hold.

        Personal columns are left out. Expectations of the table as a whole name no rows.
        """
        named = [(question, _named(question.expectation)) for question in self._breached if question.broken is not None]
        columns = self._table.frame.collect_schema().names()
        number, why = spare(NUMBER, columns), spare(BREAKS, columns)
        frame = _beside(self._table.frame.with_row_index(number), self._breached)
        # before the filter: whether a value came before is a matter of all rows
        words = [pl.when(_mask(question)).then(pl.lit(name)) for question, name in named]
        breaks = pl.concat_str(words, separator="; ", ignore_nulls=True) if words else pl.lit("")
        found = frame.select(number, breaks.alias(why), *columns).filter(pl.col(why) != "")
        return shareable(found, self._table.personal)

    def unreadable(self, error: Exception) -> SourceFailed:
        """Say that the rows could not be read to their end."""
        return unreadable(self._table, error)


def validate(
    rows: pl.DataFrame,
    expectations: Sequence[Expectation | Held],
    *,
    version: DatasetVersion,
    key: str,
    classes: dict[str, tuple[str, ...]],
    personal: frozenset[str] = frozenset(),
) -> tuple[ValidationReport, pl.Series]:
    """Check rows in memory, and give the report and a mask of the rows to keep (those that are not quarantined).

    `classes` names the values behind the codes of a label column, for the message; of `personal` columns no value is in
    it. Raises SourceFailed for a column that is not there.
    """
    for expectation in expectations:
        said = expectation.expectation if isinstance(expectation, Held) else expectation
        for name in needed(said):
            require_column(name, rows.columns, where=f"expectation {said.rule.value!r} cannot be checked: the table")
    table = Table(
        frame=rows.lazy(),
        dataset=version.dataset,
        version=version.digest,
        key=key,
        rows=len(rows),
        classes={name: values for name, values in classes.items() if name not in personal},
        personal=personal,
        now=version.created_at,
        engine="in-memory",
    )
    judged = judge(table, expectations)
    return replace(judged.report, held=UNSET), judged.keep()


def judge(table: Table, expectations: Sequence[Expectation | Held]) -> Judged:
    """Check a table that may be larger than memory. Raises ConfigError for an expectation that cannot be asked."""
    asked = Asked(
        schema=table.frame.collect_schema(),
        head=table.frame.head(_HEAD).collect(),
        rows=_roughly(table),
        now=table.now,
        other=table.other,
    )
    questions = [question(each, asked, place=place) for place, each in enumerate(expectations)]
    rows, counts = _counted(table, questions, roughly=asked.rows)
    over = [
        (question, count)
        for question, count in zip(questions, counts, strict=True)
        if count > question.expectation.share * rows
    ]
    examples = _examples(table, [question for question, _ in over])
    breaches = tuple(
        Breach(
            expectation=question.expectation,
            rows=count,
            examples=some,
            message=message(question, rows=rows, broken=count, classes=table.classes or {}, examples=some),
        )
        for (question, count), some in zip(over, examples, strict=True)
    )
    breached = [question for question, _ in over]
    aside = _set_aside(table, breached, rows=rows)
    stopped = any(breach.expectation.severity is Severity.ERROR for breach in breaches)
    held = tuple(each.expectation for each in questions if all(each is not one for one in breached))
    report = ValidationReport(
        dataset=table.dataset,
        version=table.version,
        passed=not stopped and rows > aside,
        rows=rows,
        breaches=breaches,
        quarantined=aside,
        held=held,
    )
    return Judged(table, report, breached=breached)


def unreadable(table: Table, error: Exception) -> SourceFailed:
    """Say that a table cannot be read. Polars shows the values that it stumbled on: where some are personal, none is."""
    why = type(error).__name__ if table.personal else str(error).strip().partition("\n")[0]
    return SourceFailed(f"{table.dataset}: it cannot be read, or not asked this: {why}")


def _roughly(table: Table) -> int:
    """Tell about how many rows there are; 0 for a frame that is in memory anyway, whose keys need no thrift."""
    if table.engine == "in-memory":
        return 0
    return int(table.frame.select(pl.len()).collect(engine=table.engine).item()) if table.rows is None else table.rows


def _counted(table: Table, questions: Sequence[Question], *, roughly: int) -> tuple[int, list[int]]:
    """Count the rows, and those that break each rule: all in one pass, and in a second one what figures did not tell."""
    figures: dict[str, pl.Expr] = {ROWS: pl.len()}
    for each in questions:
        figures |= each.figures
    found = _figures(table, figures, questions=questions)
    counts = [each.count(found) for each in questions]
    left = [place for place, count in enumerate(counts) if count is None]
    large = [place for place in left if questions[place].keys and roughly > KEYS_AT_ONCE]
    asked = {str(place): exact for place in left if place not in large and (exact := questions[place].exact) is not None}
    exactly = _figures(table, asked, questions=[questions[int(place)] for place in asked]) if asked else {}
    for place in large:
        exactly[str(place)] = _repeats(table, questions[place].keys, rows=roughly)
    return found[ROWS], [exactly[str(place)] if count is None else count for place, count in enumerate(counts)]


def _figures(table: Table, wanted: Mapping[str, pl.Expr], *, questions: Sequence[Question]) -> dict[str, Any]:
    frame = _beside(table.frame, questions)
    short = {str(number): expression for number, expression in enumerate(wanted.values())}
    row = frame.select(**short).collect(engine=table.engine).row(0)
    return dict(zip(wanted, row, strict=True))


def _beside(frame: pl.LazyFrame, questions: Sequence[Question]) -> pl.LazyFrame:
    return reduce(lambda table, each: each.beside(table) if each.beside else table, questions, frame)


def _repeats(table: Table, names: tuple[str, ...], *, rows: int) -> int:
    """Count the rows whose key came before, in a table of more keys than memory should hold.

    Keys are told apart by 64-bit hashes, some of them in each pass; what seems to repeat is counted again by its values.
    """
    key, present = key_of(names)
    passes = -(-rows // _KEYS_IN_A_PASS)
    hashes = table.frame.filter(present).select(hash=key.hash())
    repeats, suspects = 0, []
    for turn in range(passes):
        some = hashes.filter(pl.col("hash") % passes == turn).group_by("hash").len().filter(pl.col("len") > 1)
        found = some.collect(engine=table.engine)
        repeats += int(found["len"].sum()) - len(found)
        suspects.append(found["hash"])
    again = pl.concat(suspects)
    if not repeats or len(again) > _MOST_REPEATS:
        return repeats
    sought = table.frame.filter(present).filter(key.hash().is_in(again.implode())).select(pl.len() - key.n_unique())
    return int(sought.collect(engine=table.engine).item())


def _examples(table: Table, breached: Sequence[Question]) -> list[tuple[str, ...]]:
    """Name the first rows that break each rule; none for a rule about the table as a whole."""
    asked = [each for each in breached if each.broken is not None]
    columns = table.frame.collect_schema().names()
    key = table.key if table.key in columns else ""
    number, name = spare("row__", columns), spare("key__", columns)
    named = [pl.col(key).alias(name)] if key else []
    queries = []
    for each in asked:
        frame = _beside(table.frame.with_row_index(number), [each]).filter(_mask(each))
        queries.append(frame.select(number, *named, *_about(each, key)).head(EXAMPLES))
    found = iter(pl.collect_all(queries, engine=table.engine)) if queries else iter(())
    return [
        tuple(_shown(table, row, number=number, key=name) for row in next(found).iter_rows(named=True))
        if each.broken is not None
        else ()
        for each in breached
    ]


def _shown(table: Table, row: dict[str, Any], *, number: str, key: str) -> str:
    """Name a row by its key, or by its number, and show what it has."""
    named, place, value = key in row, row.pop(number), row.pop(key, None)
    name = f"{table.key} {value!r}" if named and table.key not in table.personal else f"row {place}"
    return example(name, row, classes=table.classes or {}, personal=table.personal)


def _about(question: Question, key: str) -> list[str]:
    """Name the columns whose values an example shows; the key stands before them anyway."""
    names = list(dict.fromkeys(question.shows or needed(question.expectation)))
    return names if len(names) == 1 else [name for name in names if name != key]


def _set_aside(table: Table, breached: Sequence[Question], *, rows: int) -> int:
    aside = [each for each in breached if _sets_aside(each)]
    if not aside:
        return 0
    if any(each.broken is None for each in aside):
        return rows
    found = _figures(table, {"aside": _any_of([_mask(each) for each in aside]).sum()}, questions=aside)
    return int(found["aside"])


def _sets_aside(question: Question) -> bool:
    return question.expectation.severity is Severity.QUARANTINE


def _mask(question: Question) -> pl.Expr:
    return pl.lit(value=True) if question.broken is None else question.broken


def _any_of(masks: Sequence[pl.Expr]) -> pl.Expr:
    return reduce(or_, masks, pl.lit(value=False))


def _named(expectation: Expectation) -> str:
    """Name an expectation for a file of failing rows: `between distance`."""
    return f"{expectation.rule.value} {', '.join(expectation.names) or expectation.says or expectation.holds}".strip()

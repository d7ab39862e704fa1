"""What an expectation asks and what was found, in words for people. The values of personal columns are in none of them."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import polars as pl

from kedge.data.quality.rules import Question
from kedge.domain.data import Expectation, Rule

Classes = Mapping[str, tuple[str, ...]]


def wanted(expectation: Expectation, classes: tuple[str, ...] = ()) -> str:
    """Say in words what was expected. `classes` are those of a label: its codes mean nothing to who reads this."""
    if expectation.says:
        return expectation.says
    if (expectation.rule, expectation.at_least, expectation.at_most) == (Rule.BETWEEN, 0, 1) and len(classes) > 1:
        return f"a label of two classes, {classes[0]} or {classes[1]}"
    span = _span(expectation)
    key = " and ".join(expectation.keys or expectation.names)
    words = {
        Rule.TYPE: f"expected {expectation.type.value if expectation.type else 'any type'}",
        Rule.NOT_NULL: "a value must be there",
        Rule.BETWEEN: span,
        Rule.ONE_OF: f"one of {', '.join(map(repr, expectation.values))}",
        Rule.FINITE: "a finite number",
        Rule.UNIQUE: "each combination once" if expectation.columns else "each value once",
        Rule.ROWS: f"expected {span}",
        Rule.LENGTH: f"{span} characters",
        Rule.MATCHES: f"matches {expectation.pattern}",
        Rule.RELATION: f"{expectation.column} {expectation.relation} {expectation.other}",
        Rule.REFERENCE: f"one of the {key} of {expectation.dataset}",
        Rule.MONOTONIC: f"{'rises' if expectation.strictly else 'never falls'} from row to row",
        Rule.FRESH: f"newest value within {expectation.within}",
        Rule.COLUMNS: f"the columns {', '.join(expectation.columns or ())}",
        Rule.HOLDS: expectation.holds or "",
    }
    return words[expectation.rule]


def subject(expectation: Expectation) -> str:
    """Name what an expectation is about: its column or columns, else the table."""
    if expectation.rule is Rule.COLUMNS or not expectation.names:
        return "the table"
    names = ", ".join(map(repr, expectation.names))
    return f"column {names}" if len(expectation.names) == 1 else f"columns {names}"


def message(question: Question, *, rows: int, broken: int, classes: Classes, examples: Sequence[str]) -> str:
    """Say what broke an expectation, as one sentence."""
    expectation = question.expectation
    asked = wanted(expectation, classes.get(expectation.column, ()))
    if expectation.rule is Rule.ROWS:
        return f"the table has {rows} rows; {asked}"
    if question.found:
        return f"{question.found}; {_instead(expectation, asked, found=question.found)}"
    if question.broken is None:
        return f"{subject(expectation)}: expected {asked}"
    some = f" ({'; '.join(examples)}{'; ...' if broken > len(examples) else ''})" if examples else ""
    return f"{subject(expectation)}: {broken} of {rows} rows break {asked!r}{some}"


def _instead(expectation: Expectation, asked: str, *, found: str) -> str:
    """Say what was expected where a table as a whole has something else."""
    if expectation.rule is Rule.TYPE or found.startswith("there is no column"):
        return asked if asked.startswith("expected") else f"expected {asked}"
    if expectation.rule is Rule.BETWEEN and not isinstance(expectation.at_least or expectation.at_most, datetime):
        return f"{asked!r} is for numbers"
    if expectation.rule in (Rule.LENGTH, Rule.MATCHES):
        return f"{asked!r} is for text"
    if expectation.rule in (Rule.FRESH, Rule.BETWEEN):
        return f"{asked!r} is for times"
    return f"expected {asked}"


def shown(value: object, classes: tuple[str, ...] | None = None) -> str:
    """Show a value in a line: a class by its name, a time as it is written in TOML."""
    if classes and isinstance(value, int) and 0 <= value < len(classes):
        return classes[value]
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date) else repr(value)


def example(name: str, row: Mapping[str, object], *, classes: Classes, personal: frozenset[str]) -> str:
    """Show what a row that breaks an expectation has there, after its name, but for personal columns."""
    names = list(row)
    if len(names) == 1:
        only = names[0]
        return name if only in personal else f"{name}: {shown(row[only], classes.get(only))}"
    values = [f"{each} {shown(row[each], classes.get(each))}" for each in names if each not in personal]
    return f"{name}: {', '.join(values)}" if values else name


def shareable(frame: pl.LazyFrame, personal: frozenset[str]) -> pl.LazyFrame:
    """Leave the personal columns of a table out."""
    return frame.drop([name for name in personal if name in frame.collect_schema()])


def _span(expectation: Expectation) -> str:
    bounds = (("at least", expectation.at_least), ("at most", expectation.at_most))
    return " and ".join(f"{word} {_figure(bound)}" for word, bound in bounds if bound is not None)


def _figure(bound: float | datetime) -> str:
    return bound.isoformat(sep=" ") if isinstance(bound, datetime) else f"{bound:g}"

"""Expectations in Python, each a line: `expect.between("distance", at_least=10)`.

A file of them is named as `"FILE.py:NAME"`: a list, or a function that gives one. What TOML can say, Python says in the
same words; beyond it, `holds` takes any Polars expression.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from kedge.domain.data import ColumnType, Expectation, Rule, Severity
from kedge.domain.durations import seconds_of
from kedge.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

Value = str | int | float | bool
_Kind = TypeVar("_Kind", Severity, ColumnType)


@dataclass(frozen=True)
class Held:
    """An expectation with what no text can hold: a Polars expression that is true where it holds, or a function that
    gives, for a lazy table, one such column."""

    expectation: Expectation
    expression: pl.Expr | None = None
    rows: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None


Severe = Severity | str


def type_of(column: str, kind: ColumnType | str, *, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect a column of a type: "float", "integer", "boolean", "string" or "time"."""
    return _made(Rule.TYPE, severity, column=column, type=_chosen(ColumnType, kind))


def not_null(column: str, *, share: float = 0.0, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect a value in every row, or in all but a share of them."""
    return _made(Rule.NOT_NULL, severity, column=column, share=share)


def between(
    column: str,
    *,
    at_least: float | datetime | None = None,
    at_most: float | datetime | None = None,
    share: float = 0.0,
    severity: Severe = Severity.ERROR,
) -> Expectation:
    """Expect numbers or times within bounds, both included."""
    return _made(Rule.BETWEEN, severity, column=column, at_least=at_least, at_most=at_most, share=share)


def one_of(column: str, values: Iterable[Value], *, share: float = 0.0, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect one of a set of values."""
    return _made(Rule.ONE_OF, severity, column=column, values=tuple(values), share=share)


def finite(column: str, *, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect no infinite number."""
    return _made(Rule.FINITE, severity, column=column)


def unique(*columns: str, share: float = 0.0, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect each value, or each combination of several columns' values, once."""
    if len(columns) == 1:
        return _made(Rule.UNIQUE, severity, column=columns[0], share=share)
    return _made(Rule.UNIQUE, severity, columns=columns, share=share)


def rows(*, at_least: float | None = None, at_most: float | None = None, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect a number of rows."""
    return _made(Rule.ROWS, severity, at_least=at_least, at_most=at_most)


def columns(*names: str, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect these columns and no others."""
    return _made(Rule.COLUMNS, severity, columns=names)


def length(
    column: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    share: float = 0.0,
    severity: Severe = Severity.ERROR,
) -> Expectation:
    """Expect text of so many characters."""
    return _made(Rule.LENGTH, severity, column=column, at_least=at_least, at_most=at_most, share=share)


def matches(column: str, pattern: str, *, share: float = 0.0, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect that a regular expression matches the whole of each text."""
    return _made(Rule.MATCHES, severity, column=column, pattern=pattern, share=share)


def relation(
    column: str, relation: str, *, other: str, share: float = 0.0, severity: Severe = Severity.ERROR
) -> Expectation:
    """Expect a column to stand to another as `<`, `<=`, `==`, `!=`, `>` or `>=`, where both have values."""
    return _made(Rule.RELATION, severity, column=column, relation=relation, other=other, share=share)


def reference(
    *columns: str,
    dataset: str,
    keys: Iterable[str] = (),
    share: float = 0.0,
    severity: Severe = Severity.ERROR,
) -> Expectation:
    """Expect each combination of values among the `keys` (named alike, if left out) of another dataset."""
    named = {"column": columns[0]} if len(columns) == 1 else {"columns": columns}
    return _made(Rule.REFERENCE, severity, **named, dataset=dataset, keys=tuple(keys) or UNSET, share=share)


def monotonic(column: str, *, strictly: bool = False, share: float = 0.0, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect that no row has a smaller value (a time, a number) than a row before it; strictly: nor the same one."""
    return _made(Rule.MONOTONIC, severity, column=column, strictly=strictly or UNSET, share=share)


def fresh(column: str, within: str, *, severity: Severe = Severity.ERROR) -> Expectation:
    """Expect that the newest time of a column is not older than a duration such as "2d"."""
    return _made(Rule.FRESH, severity, column=column, within=within)


def holds(
    expression: pl.Expr | str, *, says: str = "", share: float = 0.0, severity: Severe = Severity.ERROR
) -> Expectation | Held:
    """Expect that an expression (of Polars, or SQL as text) is true; `says` puts it into words. Null is not false."""
    if isinstance(expression, str):
        return _made(Rule.HOLDS, severity, holds=expression, says=says or UNSET, share=share)
    return Held(_made(Rule.HOLDS, severity, says=says or str(expression), share=share), expression=expression)


def listed(found: object) -> list[Expectation | Held]:
    """Take expectations as code gives them: a list, or a function that makes one. Raises ConfigError for anything else."""
    made = found() if callable(found) else found
    if not isinstance(made, Iterable) or isinstance(made, str | bytes):
        raise ConfigError(f"expectations are of type {type(made).__name__}; {_WRITE}")
    rules = list(made)
    for each in rules:
        if not isinstance(each, Expectation | Held):
            raise ConfigError(f"one of the expectations is of type {type(each).__name__}; {_WRITE}")
        checked(each.expectation if isinstance(each, Held) else each)
    return rules


def checked(expectation: Expectation) -> Expectation:
    """Give an expectation back that has all its rule needs. Raises ConfigError saying what is missing or wrong."""
    for problem in _problems(expectation):
        raise ConfigError(f"expectation {expectation.rule.value!r}: {problem}")
    return expectation


_NEEDS: dict[Rule, tuple[str, ...]] = {
    Rule.TYPE: ("column", "type"),
    Rule.NOT_NULL: ("column",),
    Rule.BETWEEN: ("column",),
    Rule.ONE_OF: ("column", "values"),
    Rule.FINITE: ("column",),
    Rule.LENGTH: ("column",),
    Rule.MATCHES: ("column", "pattern"),
    Rule.RELATION: ("column", "relation", "other"),
    Rule.REFERENCE: ("dataset",),
    Rule.MONOTONIC: ("column",),
    Rule.FRESH: ("column", "within"),
    Rule.COLUMNS: ("columns",),
    Rule.HOLDS: ("holds",),
}
_WRITE = "write a list of what kedge.data.expect gives, or a schema of Pandera"
RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}


def _problems(given: Expectation) -> Iterable[str]:
    lacking = [name for name in _NEEDS.get(given.rule, ()) if not getattr(given, name)]
    if lacking and not (given.rule is Rule.HOLDS and given.says):
        yield f"{lacking[0]} is missing"
    if given.rule in (Rule.UNIQUE, Rule.REFERENCE) and not given.names:
        yield "column is missing (or columns, for several)"
    if given.relation and given.relation not in RELATIONS:
        yield f"relation is {given.relation!r}; write one of {', '.join(RELATIONS)}"
    if given.keys and len(given.keys) != len(given.names):
        yield f"{len(given.names)} columns refer to {len(given.keys)} keys"
    if not 0 <= given.share <= 1:
        yield f"share is {given.share:g}; it is a share of rows, from 0 to 1"
    if given.within:
        try:
            seconds_of(given.within)
        except ValueError as error:
            yield f"within: {error}"
    low, high = given.at_least, given.at_most
    if low is not None and high is not None:
        if isinstance(low, datetime) is not isinstance(high, datetime):
            yield "at_least and at_most are a number and a time"
        elif low > high:  # type: ignore[operator]
            yield f"at_least {low} is above at_most {high}"


def _made(rule: Rule, severity: Severe, **given: object) -> Expectation:
    return checked(replace(Expectation(rule=rule, severity=_chosen(Severity, severity)), **given))


def _chosen(kind: type[_Kind], word: _Kind | str) -> _Kind:
    try:
        return kind(word)
    except ValueError:
        raise ConfigError(f"{word!r} is none of {', '.join(each.value for each in kind)}") from None

"""Rules as questions to a table: what each expectation needs of the one pass, and what follows from it.

    expectation -> figures (statistics of the pass, shared between rules) -> rows that break it, where they tell
                -> exact   (asked only where the figures do not tell how many)
                -> broken  (true in the rows that break it; asked only to name them and to set them aside)
Statistics come first because they are several times cheaper than a mask for each rule, and mostly all holds. To add a rule:
a member of `Rule`, a function here with its line in `RULES`, and its words in `wording.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import reduce
from math import isfinite
from operator import and_
from typing import Any

import polars as pl

from kedge.data.expect import RELATIONS, Held
from kedge.data.source import column_type, nearest, spare
from kedge.domain.data import ColumnType, Expectation, Rule
from kedge.domain.durations import span_of
from kedge.errors import ConfigError

Figures = Mapping[str, Any]
ROWS = "rows"
KEYS_AT_ONCE = 4_000_000
"""Keys that are held in memory at a time to find repeats, at some 100 bytes each."""
_NO = pl.lit(value=False)


@dataclass(frozen=True, kw_only=True)
class Question:
    """How one expectation is asked of a table.

    `count` tells from the figures how many rows break it, or None where they do not tell; `exact` does then. Without
    `broken` the rule is about the table as a whole. `beside` adds the columns that `broken` needs (a join). `keys` are
    columns that are to be unique: in a large table their repeats are sought in several passes. `shows` are the columns
    that a row which breaks it is shown with, where they are not those of the rule. `found` says what a table has in
    place of what was expected.
    """

    expectation: Expectation
    figures: Mapping[str, pl.Expr] = field(default_factory=dict)
    count: Callable[[Figures], int | None]
    broken: pl.Expr | None = None
    exact: pl.Expr | None = None
    beside: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None
    keys: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    found: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a rule is asked of: a table's schema, first rows and about how many; the time; where other datasets are read."""

    schema: pl.Schema
    head: pl.DataFrame
    rows: int = 0
    now: datetime | None = None
    other: Callable[[str], pl.LazyFrame] | None = None


def question(rule: Expectation | Held, asked: Asked, *, place: int) -> Question:
    """Make the question of an expectation. Raises ConfigError for a rule that lacks what it needs, or cannot be read."""
    held = rule if isinstance(rule, Held) else Held(rule)
    expectation = held.expectation
    lacking = next((name for name in needed(expectation) if name not in asked.schema), None)
    if lacking is not None:
        return _whole(
            expectation, broken=True, found=f"there is no column {lacking!r}{nearest(lacking, list(asked.schema))}"
        )
    if held.rows is not None:
        return _beside(expectation, held.rows, name=spare(f"held__{place}", asked.schema))
    if held.expression is not None:
        return _held(expectation, held.expression, asked=asked)
    if expectation.rule is Rule.REFERENCE:
        return _reference(expectation, asked, name=spare(f"there__{place}", asked.schema))
    return RULES[expectation.rule](expectation, asked)


def needed(expectation: Expectation) -> tuple[str, ...]:
    """Name the columns that a rule reads."""
    if expectation.rule in (Rule.COLUMNS, Rule.ROWS, Rule.HOLDS):
        return ()
    return (*expectation.names, *((expectation.other,) if expectation.other else ()))


def _whole(expectation: Expectation, *, broken: bool, found: str = "") -> Question:
    """Ask nothing: the answer is known, and holds for all rows."""
    # a table that breaks a rule as a whole does so without rows, too
    return Question(expectation=expectation, count=lambda figures: max(figures[ROWS], 1) if broken else 0, found=found)


def _counted(expectation: Expectation, broken: pl.Expr, *, name: str) -> Question:
    """Count the rows that break a rule in the pass itself: for what no statistic tells."""
    broken = broken.fill_null(value=False)
    return Question(
        expectation=expectation, figures={name: broken.sum()}, count=lambda figures: figures[name] or 0, broken=broken
    )


def _type(expectation: Expectation, asked: Asked) -> Question:
    dtype = asked.schema[expectation.column]
    found = column_type(dtype)
    fits = found is expectation.type or (found is ColumnType.INTEGER and expectation.type is ColumnType.FLOAT)
    return _whole(expectation, broken=not fits, found=f"column {expectation.column!r} is {found.value}")


def _not_null(expectation: Expectation, asked: Asked) -> Question:
    column = expectation.column
    name, expression = _nulls(column)
    broken = pl.col(column).is_null()
    return Question(expectation=expectation, figures={name: expression}, count=lambda figures: figures[name], broken=broken)


def _between(expectation: Expectation, asked: Asked) -> Question:
    name, dtype = expectation.column, asked.schema[expectation.column]
    column = pl.col(name)
    bounds = [_bound(bound, dtype) for bound in (expectation.at_least, expectation.at_most)]
    if any(bound is _UNFIT for bound in bounds):
        return _whole(expectation, broken=True, found=f"column {name!r} is {dtype}")
    least, most = bounds
    low = column < least if least is not None else _NO
    high = column > most if most is not None else _NO
    broken = (low | high).fill_null(value=False)

    def count(figures: Figures) -> int | None:
        smallest, greatest = figures[f"least {name}"], figures[f"greatest {name}"]
        within = smallest is None or not ((least is not None and smallest < least) or (most is not None and greatest > most))
        # NaN is beyond every upper bound, and no greatest value
        unclear = dtype.is_float() and not isfinite(figures[f"sum {name}"] or 0)
        return 0 if within and not unclear else None

    figures = {f"least {name}": column.min(), f"greatest {name}": column.max()} | _sum(name, dtype)
    return Question(expectation=expectation, figures=figures, count=count, broken=broken, exact=broken.sum())


def _one_of(expectation: Expectation, asked: Asked) -> Question:
    name, dtype = expectation.column, asked.schema[expectation.column]
    column, values = pl.col(name), expectation.values
    if dtype.is_numeric():
        allowed = pl.Series([float(value) for value in values if not isinstance(value, str)], dtype=pl.Float64)
        return _counted(expectation, ~column.cast(pl.Float64).is_in(allowed.implode()), name=f"one of {values} {name}")
    if dtype == pl.Boolean:
        flags = pl.Series([value for value in values if isinstance(value, bool)], dtype=pl.Boolean)
        return _counted(expectation, ~column.is_in(flags.implode()), name=f"one of {values} {name}")
    # casting to an Enum looks each value up once; is_in on text takes four times as long
    known = pl.Enum(list(dict.fromkeys(str(value) for value in values)))
    cast = (column if dtype == pl.String else column.cast(pl.String)).cast(known, strict=False)
    strange, (nulls, null_count) = f"strange {values} {name}", _nulls(name)
    return Question(
        expectation=expectation,
        figures={nulls: null_count, strange: cast.null_count()},
        count=lambda figures: figures[strange] - figures[nulls],
        broken=cast.is_null() & column.is_not_null(),
    )


def _finite(expectation: Expectation, asked: Asked) -> Question:
    name, dtype = expectation.column, asked.schema[expectation.column]
    if not dtype.is_float():
        return _whole(expectation, broken=False)
    broken = (~pl.col(name).is_finite()).fill_null(value=False)

    def count(figures: Figures) -> int | None:
        return 0 if isfinite(figures[f"sum {name}"] or 0) else None

    return Question(expectation=expectation, figures=_sum(name, dtype), count=count, broken=broken, exact=broken.sum())


def _unique(expectation: Expectation, asked: Asked) -> Question:
    names = expectation.names
    key, present = key_of(names)
    several = len(names) > 1
    broken = present & ~key.is_first_distinct()
    nulls = dict(_nulls(name) for name in names)
    distinct, falls = f"distinct {names}", f"falls {names}"

    def missing(figures: Figures) -> int:
        return sum(figures[name] for name in nulls)

    def rising(figures: Figures) -> int | None:
        return 0 if not figures[falls] and not missing(figures) else None

    def count(figures: Figures) -> int | None:
        if distinct not in figures:
            return None
        if several:
            return int(figures[distinct])
        return int(figures[ROWS] - missing(figures) - (figures[distinct] - (missing(figures) > 0)))

    exact = present.sum() - key.filter(present).n_unique()
    if not several and _rises(asked.head, names[0]):
        fall = (key <= key.shift(1)).fill_null(value=False).sum()
        figures, counted = {**nulls, falls: fall}, rising
    elif asked.rows > KEYS_AT_ONCE:
        figures, counted = {}, count
    elif several:
        figures, counted = {distinct: exact}, count
    else:
        figures, counted = {**nulls, distinct: key.n_unique()}, count
    return Question(expectation=expectation, figures=figures, count=counted, broken=broken, exact=exact, keys=names)


def key_of(names: Sequence[str]) -> tuple[pl.Expr, pl.Expr]:
    """Give the value that several columns are together, and whether each has one."""
    present = reduce(and_, (pl.col(name).is_not_null() for name in names))
    return (pl.col(names[0]) if len(names) == 1 else pl.struct(names)), present


def _rises(head: pl.DataFrame, name: str) -> bool:
    """Tell whether the first rows are in rising order: then one comparison with the row before may prove a key unique."""
    values = head[name]
    return len(values) > 1 and not values.has_nulls() and bool((values.head(len(values) - 1) < values.tail(-1)).all())


def _rows(expectation: Expectation, asked: Asked) -> Question:
    def count(figures: Figures) -> int:
        low = expectation.at_least is None or figures[ROWS] >= _number(expectation.at_least)
        high = expectation.at_most is None or figures[ROWS] <= _number(expectation.at_most)
        return 0 if low and high else max(figures[ROWS], 1)

    return Question(expectation=expectation, count=count)


def _length(expectation: Expectation, asked: Asked) -> Question:
    name, dtype = expectation.column, asked.schema[expectation.column]
    if dtype != pl.String:
        return _whole(expectation, broken=True, found=f"column {name!r} is {dtype}")
    length = pl.col(name).str.len_chars()
    low = length < _number(expectation.at_least) if expectation.at_least is not None else _NO
    high = length > _number(expectation.at_most) if expectation.at_most is not None else _NO
    return _counted(expectation, low | high, name=f"length {expectation.at_least} {expectation.at_most} {name}")


def _matches(expectation: Expectation, asked: Asked) -> Question:
    name, dtype, pattern = expectation.column, asked.schema[expectation.column], expectation.pattern or ""
    if dtype != pl.String:
        return _whole(expectation, broken=True, found=f"column {name!r} is {dtype}")
    whole = rf"\A(?:{pattern})\z"
    try:
        pl.Series([""]).str.contains(whole)
    except pl.exceptions.ComputeError as error:
        told = [line.removeprefix("error: ") for line in str(error).splitlines() if line.startswith("error: ")]
        why = told[0] if told else str(error).partition("\n")[0]
        raise ConfigError(f"expectation 'matches' on {name!r}: pattern {pattern!r} cannot be read: {why}") from None
    return _counted(expectation, ~pl.col(name).str.contains(whole), name=f"matches {pattern} {name}")


def _relation(expectation: Expectation, asked: Asked) -> Question:
    name, other, relation = expectation.column, expectation.other or "", expectation.relation or ""
    holds: pl.Expr = RELATIONS[relation](pl.col(name), pl.col(other))
    kinds = [column_type(asked.schema[each]) for each in (name, other)]
    numbers = (ColumnType.FLOAT, ColumnType.INTEGER)
    alike = kinds[0] is kinds[1] or all(kind in numbers for kind in kinds)
    ordered = alike and _have_one_order(asked.schema[name], asked.schema[other])
    if not ordered or not _may_be_asked(holds, asked.schema):
        told = [
            kind.value if not alike else str(asked.schema[each]) for kind, each in zip(kinds, (name, other), strict=True)
        ]
        return _whole(expectation, broken=True, found=f"column {name!r} is {told[0]} and {other!r} is {told[1]}")
    return _counted(expectation, ~holds, name=f"{name} {relation} {other}")


def _have_one_order(one: pl.DataType, other: pl.DataType) -> bool:
    """Tell whether two types of a kind are compared: days with times of the same zone, no duration with a time of day."""
    days = [dtype == pl.Date or isinstance(dtype, pl.Datetime) for dtype in (one, other)]
    if all(days):
        return getattr(one, "time_zone", None) == getattr(other, "time_zone", None)
    return one.base_type() is other.base_type() if one.is_temporal() or one.is_nested() else not other.is_nested()


def _may_be_asked(expression: pl.Expr, schema: pl.Schema) -> bool:
    """Tell whether an expression makes sense for columns of these types: a duration is not compared with a time."""
    try:
        pl.DataFrame(schema=schema).clear(n=1).select(expression)  # of no rows some types are not looked at
    except pl.exceptions.PolarsError:
        return False
    return True


def _monotonic(expectation: Expectation, asked: Asked) -> Question:
    column = pl.col(expectation.column)
    before = column.cum_max().forward_fill().shift(1)
    late = column <= before if expectation.strictly else column < before
    if not _may_be_asked(late, asked.schema):
        return _whole(expectation, broken=True, found=f"column {expectation.column!r} is {asked.schema[expectation.column]}")
    return _counted(expectation, late, name=f"late {expectation.strictly} {expectation.column}")


def _fresh(expectation: Expectation, asked: Asked) -> Question:
    name, now, dtype = expectation.column, asked.now, asked.schema[expectation.column]
    if not (dtype == pl.Date or isinstance(dtype, pl.Datetime)):
        return _whole(expectation, broken=True, found=f"column {name!r} is {dtype}")
    if now is None:
        raise ConfigError(f"expectation 'fresh' on {name!r} needs to know the time")
    oldest = now - span_of(expectation.within or "")

    def count(figures: Figures) -> int:
        newest = figures[f"greatest {name}"]
        return 0 if newest is not None and as_moment(newest) >= oldest else max(figures[ROWS], 1)

    return Question(expectation=expectation, figures={f"greatest {name}": pl.col(name).max()}, count=count)


def _columns(expectation: Expectation, asked: Asked) -> Question:
    wanted = expectation.columns or ()
    lost = [name for name in wanted if name not in asked.schema]
    strange = [name for name in asked.schema if name not in wanted]
    told = [f"lacks {', '.join(map(repr, lost))}"] if lost else []
    told += [f"also has {', '.join(map(repr, strange))}"] if strange else []
    return _whole(expectation, broken=bool(told), found=f"the table {' and '.join(told)}")


def _holds(expectation: Expectation, asked: Asked) -> Question:
    said = expectation.holds or ""
    try:
        expression = pl.sql_expr(said)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"expectation 'holds': {said!r} cannot be read: {_first_line(error)}") from None
    return _held(expectation, expression, asked=asked)


def _held(expectation: Expectation, expression: pl.Expr, *, asked: Asked) -> Question:
    """Ask whether an expression is true in every row, or of the table: then it has sums or means in it."""
    said = expectation.says or expectation.holds or str(expression)
    try:
        tried = pl.DataFrame(schema=asked.schema).lazy().select(value=expression).collect()
    except pl.exceptions.ColumnNotFoundError as error:
        lacking = _first_line(error).split('"')[1] if '"' in _first_line(error) else _first_line(error)
        found = f"there is no column {lacking!r}{nearest(lacking, list(asked.schema))}"
        return _whole(expectation, broken=True, found=found)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"expectation 'holds': {said!r} cannot be asked: {_first_line(error)}") from None
    if tried.schema["value"] != pl.Boolean:
        raise ConfigError(f"expectation 'holds': {said!r} gives {tried.schema['value']}; write what is true or false")
    name = f"holds {expression}"
    if tried.height == 0:
        shows = tuple(dict.fromkeys(expression.meta.root_names()))
        return replace(_counted(expectation, ~expression, name=name), shows=shows)

    def count(figures: Figures) -> int:
        return max(figures[ROWS], 1) if figures[name] is False else 0

    return Question(expectation=expectation, figures={name: expression}, count=count, found=f"{said!r} is false")


def _beside(expectation: Expectation, rows: Callable[[pl.LazyFrame], pl.LazyFrame], *, name: str) -> Question:
    """Ask a function that gives a table one flag for each row, or one for all: true where it holds."""

    def beside(table: pl.LazyFrame) -> pl.LazyFrame:
        flags = rows(table)
        first = flags.collect_schema().names()[0]
        return pl.concat([table, flags.select(pl.col(first).alias(name))], how="horizontal")

    return replace(_counted(expectation, ~pl.col(name), name=name), beside=beside, shows=expectation.names)


def _reference(expectation: Expectation, asked: Asked, *, name: str) -> Question:
    here, there = expectation.names, expectation.keys or expectation.names
    if asked.other is None:
        raise ConfigError(f"expectation 'reference' to {expectation.dataset!r}: other datasets are not known here")
    other = asked.other(expectation.dataset or "")
    schema = other.collect_schema()
    for key in there:
        if key not in schema:
            hint = nearest(key, list(schema))
            raise ConfigError(f"expectation 'reference': dataset {expectation.dataset!r} has no column {key!r}{hint}")
    keys = [pl.col(key).cast(asked.schema[own], strict=False).alias(own) for own, key in zip(here, there, strict=True)]
    known = other.select(keys).unique().with_columns(pl.lit(value=True).alias(name))
    present = reduce(and_, (pl.col(column).is_not_null() for column in here))
    question = _counted(expectation, present & pl.col(name).is_null(), name=name)
    return replace(question, beside=lambda table: table.join(known, on=list(here), how="left", maintain_order="left"))


RULES: dict[Rule, Callable[[Expectation, Asked], Question]] = {
    Rule.TYPE: _type,
    Rule.NOT_NULL: _not_null,
    Rule.BETWEEN: _between,
    Rule.ONE_OF: _one_of,
    Rule.FINITE: _finite,
    Rule.UNIQUE: _unique,
    Rule.ROWS: _rows,
    Rule.LENGTH: _length,
    Rule.MATCHES: _matches,
    Rule.RELATION: _relation,
    Rule.MONOTONIC: _monotonic,
    Rule.FRESH: _fresh,
    Rule.COLUMNS: _columns,
    Rule.HOLDS: _holds,
}


def as_moment(value: date | datetime) -> datetime:
    """Take a day as its start, and a time without a zone as UTC."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


_UNFIT = object()


def _bound(bound: float | datetime | None, dtype: pl.DataType) -> Any:
    """Give a bound in the type of its column; _UNFIT where the column has no such order."""
    if bound is None:
        return None if dtype.is_numeric() or dtype == pl.Date or isinstance(dtype, pl.Datetime) else _UNFIT
    if not isinstance(bound, datetime):
        return bound if dtype.is_numeric() else _UNFIT
    if dtype == pl.Date:
        return bound.date()
    if not isinstance(dtype, pl.Datetime):
        return _UNFIT
    moment = as_moment(bound)
    return moment if dtype.time_zone else moment.astimezone(UTC).replace(tzinfo=None)


def _number(bound: float | datetime) -> float:
    if isinstance(bound, datetime):
        raise ConfigError(f"{bound} is a time; this rule counts")
    return bound


def _nulls(name: str) -> tuple[str, pl.Expr]:
    return f"nulls {name}", pl.col(name).null_count()


def _sum(name: str, dtype: pl.DataType) -> dict[str, pl.Expr]:
    """Sum floats: the sum of finite numbers is finite (or so great that a mask decides)."""
    return {f"sum {name}": pl.col(name).sum()} if dtype.is_float() else {}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

"""Validation: what a table's rows break of what is expected of them.

All counts of one report come from one pass over the table; only for expectations that do not hold are the rows looked
for, to name the first of them and to set aside those of severity QUARANTINE.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

import polars as pl

from kedge.data.source import column_type, require_column
from kedge.domain.data import Breach, ColumnType, DatasetVersion, Expectation, Rule, Severity, ValidationReport
from kedge.domain.evaluation import Task
from kedge.domain.project import ProjectSpec

_EXAMPLES = 5


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


def validate(
    rows: pl.DataFrame,
    expectations: Sequence[Expectation],
    *,
    version: DatasetVersion,
    key: str,
    classes: dict[str, tuple[str, ...]],
) -> tuple[ValidationReport, pl.Series]:
    """Check rows, and give the report and a mask of the rows to keep (those that are not quarantined).

    `classes` names the values behind the codes of a label column, for the message.
    """
    breaking = [_breaking(expectation, rows) for expectation in expectations]
    counts = _counts(rows, breaking)
    breaches, aside = [], []
    for expectation, broken, count in zip(expectations, breaking, counts, strict=True):
        if count <= expectation.share * len(rows):
            continue
        breaches.append(_breach(rows, expectation, broken=broken, rows_broken=count, key=key, classes=classes))
        if expectation.severity is Severity.QUARANTINE:
            aside.append(broken if isinstance(broken, pl.Expr) else pl.lit(value=True))
    everyone = pl.repeat(value=True, n=pl.len(), dtype=pl.Boolean)
    keep = rows.select(keep=everyone & ~reduce(or_, aside, pl.lit(value=False)))["keep"]
    report = ValidationReport(
        dataset=version.dataset,
        version=version.digest,
        passed=not any(breach.expectation.severity is Severity.ERROR for breach in breaches) and bool(keep.any()),
        rows=len(rows),
        breaches=tuple(breaches),
        quarantined=len(rows) - int(keep.sum()),
    )
    return report, keep


def _breaking(expectation: Expectation, rows: pl.DataFrame) -> pl.Expr | int:
    """Say which rows break an expectation, or, for what holds of the table as a whole, how many count as broken."""
    if expectation.rule is Rule.ROWS:
        return 0 if _within(expectation, len(rows)) else len(rows)
    where = f"expectation {expectation.rule.value!r} cannot be checked: the table"
    require_column(expectation.column, rows.columns, where=where)
    return _RULES[expectation.rule](expectation, rows)


def _counts(rows: pl.DataFrame, breaking: list[pl.Expr | int]) -> list[int]:
    sums = {str(i): broken.sum() for i, broken in enumerate(breaking) if isinstance(broken, pl.Expr)}
    counted = rows.lazy().select(**sums).collect().row(0, named=True) if sums else {}
    return [broken if isinstance(broken, int) else counted[str(i)] or 0 for i, broken in enumerate(breaking)]


def _type(expectation: Expectation, rows: pl.DataFrame) -> int:
    found = column_type(rows.schema[expectation.column])
    fits = found is expectation.type or (found is ColumnType.INTEGER and expectation.type is ColumnType.FLOAT)
    return 0 if fits else len(rows)


def _not_null(expectation: Expectation, rows: pl.DataFrame) -> pl.Expr:
    return pl.col(expectation.column).is_null()


def _between(expectation: Expectation, rows: pl.DataFrame) -> pl.Expr | int:
    column = pl.col(expectation.column)
    if not rows.schema[expectation.column].is_numeric():
        return len(rows)
    low = column < expectation.at_least if expectation.at_least is not None else pl.lit(value=False)
    high = column > expectation.at_most if expectation.at_most is not None else pl.lit(value=False)
    return (low | high).fill_null(value=False)


def _one_of(expectation: Expectation, rows: pl.DataFrame) -> pl.Expr:
    column, dtype = pl.col(expectation.column), rows.schema[expectation.column]
    if dtype.is_numeric():
        allowed = [float(value) for value in expectation.values if not isinstance(value, str)]
        return (~column.cast(pl.Float64).is_in(allowed)).fill_null(value=False)
    if dtype == pl.Boolean:
        return (~column.is_in([value for value in expectation.values if isinstance(value, bool)])).fill_null(value=False)
    return (~column.cast(pl.String).is_in([str(value) for value in expectation.values])).fill_null(value=False)


def _finite(expectation: Expectation, rows: pl.DataFrame) -> pl.Expr | int:
    if not rows.schema[expectation.column].is_float():
        return 0
    return (~pl.col(expectation.column).is_finite()).fill_null(value=False)


def _unique(expectation: Expectation, rows: pl.DataFrame) -> pl.Expr:
    column = pl.col(expectation.column)
    return column.is_not_null() & ~column.is_first_distinct()


_RULES: dict[Rule, Callable[[Expectation, pl.DataFrame], pl.Expr | int]] = {
    Rule.TYPE: _type,
    Rule.NOT_NULL: _not_null,
    Rule.BETWEEN: _between,
    Rule.ONE_OF: _one_of,
    Rule.FINITE: _finite,
    Rule.UNIQUE: _unique,
}


def _within(expectation: Expectation, value: float) -> bool:
    low = expectation.at_least is None or value >= expectation.at_least
    return low and (expectation.at_most is None or value <= expectation.at_most)


def _breach(
    rows: pl.DataFrame,
    expectation: Expectation,
    *,
    broken: pl.Expr | int,
    rows_broken: int,
    key: str,
    classes: dict[str, tuple[str, ...]],
) -> Breach:
    examples: tuple[str, ...] = ()
    if isinstance(broken, pl.Expr):
        first = rows.with_row_index("row__").filter(broken).head(_EXAMPLES)
        names = [f"{key} {name!r}" for name in first[key]] if key else [f"row {row}" for row in first["row__"]]
        values = [_shown(value, classes.get(expectation.column)) for value in first[expectation.column]]
        examples = tuple(f"{name}: {value}" for name, value in zip(names, values, strict=True))
    wanted = _wanted(expectation, classes.get(expectation.column, ()))
    message = _message(expectation, rows, rows_broken=rows_broken, wanted=wanted, examples=examples)
    return Breach(expectation=expectation, rows=rows_broken, examples=examples, message=message)


def _shown(value: object, classes: tuple[str, ...] | None) -> str:
    return classes[value] if classes and isinstance(value, int) and 0 <= value < len(classes) else repr(value)


def _message(
    expectation: Expectation, rows: pl.DataFrame, *, rows_broken: int, wanted: str, examples: tuple[str, ...]
) -> str:
    if expectation.rule is Rule.ROWS:
        return f"the table has {len(rows)} rows; {wanted}"
    if expectation.rule is Rule.TYPE:
        return f"column {expectation.column!r} is {column_type(rows.schema[expectation.column]).value}; {wanted}"
    if not examples:
        return f"column {expectation.column!r} is {rows.schema[expectation.column]}; {wanted!r} is for numbers"
    some = f" ({'; '.join(examples)}{'; ...' if rows_broken > len(examples) else ''})"
    return f"column {expectation.column!r}: {rows_broken} of {len(rows)} rows break {wanted!r}{some}"


def _wanted(expectation: Expectation, classes: tuple[str, ...]) -> str:
    """Say in words what was expected. `classes` are those of a label: its codes mean nothing to who reads this."""
    if (expectation.rule, expectation.at_least, expectation.at_most) == (Rule.BETWEEN, 0, 1) and len(classes) > 1:
        return f"a label of two classes, {classes[0]} or {classes[1]}"
    bounds = (("at least", expectation.at_least), ("at most", expectation.at_most))
    span = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    words = {
        Rule.TYPE: f"expected {expectation.type.value if expectation.type else 'any type'}",
        Rule.NOT_NULL: "a value must be there",
        Rule.BETWEEN: span,
        Rule.ONE_OF: f"one of {', '.join(map(repr, expectation.values))}",
        Rule.FINITE: "a finite number",
        Rule.UNIQUE: "each value once",
        Rule.ROWS: f"expected {span}",
    }
    return words[expectation.rule]

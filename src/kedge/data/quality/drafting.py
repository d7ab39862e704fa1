"""A first draft of what is expected of a table, from its profile. All of it holds on the version it was drafted from.

What follows from how a table is built (types, keys, values that are always there) is drafted as errors; what may rightly
change with the world (ranges, sets, numbers of rows) as warnings, with room to move.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import permutations
from math import ceil, floor, log10

from kedge.data import expect
from kedge.data.quality.wording import wanted
from kedge.domain.data import ColumnSummary, ColumnType, Expectation, Rule, Severity, TableProfile

Holds = Callable[[Sequence[Expectation]], Sequence[bool]]
_MOST_VALUES = 20
_ROWS_PER_VALUE = 20
_MOST_TIMES = 4
_WARN = Severity.WARN
PATTERNS = {
    "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}": "a UUID",
    r"[^@\s]+@[^@\s]+\.[^@\s]+": "an e-mail address",
    r"https?://\S+": "a web address",
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9:]+)?)?": "a date or time as text",
    "[0-9]+": "digits only",
    "[A-Z0-9]+": "capital letters and digits only",
    r"\S(.*\S)?": "no blanks at the ends",
}


def draft(profile: TableProfile, holds: Holds, *, fresh_within: str = "") -> tuple[Expectation, ...]:
    """Draft expectations. `holds` says of each of some expectations whether the table holds it."""
    certain: list[Expectation] = [expect.rows(at_least=max(1, _leading(profile.rows / 2, floor)), severity=_WARN)]
    guessed: list[Expectation] = []
    for column in profile.columns:
        certain += _certain(column, rows=profile.rows)
        guessed += _guessed(column, rows=profile.rows)
    times = [column.name for column in profile.columns if column.type is ColumnType.TIME and not column.personal]
    guessed += [expect.relation(one, "<=", other=other) for one, other in permutations(times[:_MOST_TIMES], 2)]
    guessed += [expect.monotonic(name, severity=_WARN) for name in times]
    if fresh_within:
        guessed += [expect.fresh(name, fresh_within, severity=_WARN) for name in times[:1]]
    drafted = [*certain, *guessed]
    kept = [each for each, held in zip(drafted, holds(drafted), strict=True) if held]
    return tuple(sorted(_first_pattern(kept), key=lambda each: _place(each, profile)))


def _certain(column: ColumnSummary, *, rows: int) -> list[Expectation]:
    """Draft what follows from the counts of a column."""
    name, found = column.name, [expect.type_of(column.name, column.type)]
    if rows and column.missing == 0:
        found.append(expect.not_null(name))
    elif 0 < column.missing < rows:
        found.append(expect.not_null(name, share=_share(column.missing / rows), severity=_WARN))
    return found


def _guessed(column: ColumnSummary, *, rows: int) -> list[Expectation]:
    """Draft what a column's values suggest; of a personal one nothing that would show a value."""
    name, there, found = column.name, rows - column.missing, []
    if there > 1 and column.type in (ColumnType.INTEGER, ColumnType.STRING) and column.distinct >= 0.97 * there:
        found.append(expect.unique(name))
    if column.personal:
        return found
    if column.type is ColumnType.FLOAT:
        found.append(expect.finite(name))
    numbers = column.type in (ColumnType.FLOAT, ColumnType.INTEGER)
    if numbers and not any(each.rule is Rule.UNIQUE for each in found) and None not in (column.least, column.greatest):
        low, high = _widened(column.least or 0.0, column.greatest or 0.0)
        found.append(expect.between(name, at_least=low, at_most=high, severity=_WARN))
    if column.type is ColumnType.STRING and column.top:
        found += _text(column, there)
    return found


def _text(column: ColumnSummary, there: int) -> list[Expectation]:
    few = column.distinct <= _MOST_VALUES and there >= _ROWS_PER_VALUE * column.distinct
    if few and sum(value.rows for value in column.top) == there:
        return [expect.one_of(column.name, sorted(value.value for value in column.top), severity=_WARN)]
    found = [expect.matches(column.name, pattern, severity=_WARN) for pattern in PATTERNS]
    if column.shortest is not None and column.longest is not None and column.longest > 0:
        same = column.shortest == column.longest
        most = column.longest if same else _leading(2 * column.longest, ceil)
        found.append(expect.length(column.name, at_least=column.shortest if same else 1, at_most=most, severity=_WARN))
    return found


def _first_pattern(held: Sequence[Expectation]) -> list[Expectation]:
    """Keep only the narrowest pattern of each column."""
    kept, seen = [], set()
    for each in held:
        if each.rule is Rule.MATCHES:
            if each.column in seen:
                continue
            seen.add(each.column)
        kept.append(each)
    return kept


def _place(expectation: Expectation, profile: TableProfile) -> tuple[int, int]:
    """Sort by columns as the table has them, what is about the table first."""
    names = [column.name for column in profile.columns]
    rules = list(Rule)
    column = names.index(expectation.names[0]) if expectation.names else -1
    return column, rules.index(expectation.rule)


def _widened(least: float, greatest: float) -> tuple[float, float]:
    """Give bounds with a tenth of the range to spare on both sides, round, and not across zero where no value is."""
    spare = (greatest - least) / 10 or abs(least) / 10 or 1.0
    low, high = _stepped(least - spare, spare, rounded=floor), _stepped(greatest + spare, spare, rounded=ceil)
    return (max(low, 0.0) if least >= 0 else low), (min(high, 0.0) if greatest <= 0 else high)


def _stepped(value: float, spare: float, *, rounded: Callable[[float], int]) -> float:
    digits = -floor(log10(spare))
    return round(rounded(value * 10.0**digits) / 10.0**digits, max(digits, 0))


def _leading(value: float, rounded: Callable[[float], int]) -> int:
    """Round a count to two leading digits."""
    if value < 100:
        return rounded(value)
    power: int = 10 ** (floor(log10(value)) - 1)
    return rounded(value / power) * power


def _share(share: float) -> float:
    """Allow half as many missing values again, in whole percents."""
    return min(1.0, ceil(share * 150) / 100)


def written(expectations: Sequence[Expectation], *, title: str) -> str:
    """Write expectations as TOML, each with its meaning in words."""
    blocks = [f"# {title}\n# A draft: read it, correct it, and keep it beside the data.\n"]
    for each in expectations:
        lines = ["[[expectation]]", f"# {wanted(each)}", f"rule = {_toml(each.rule.value)}"]
        given = {
            "column": each.column,
            "columns": each.columns,
            "type": each.type.value if each.type else "",
            "at_least": each.at_least,
            "at_most": each.at_most,
            "values": each.values,
            "pattern": each.pattern,
            "relation": each.relation,
            "other": each.other,
            "dataset": each.dataset,
            "keys": each.keys,
            "within": each.within,
            "strictly": each.strictly,
            "holds": each.holds,
            "says": each.says,
            "share": each.share or None,
        }
        lines += [f"{name} = {_toml(value)}" for name, value in given.items() if value or _is_number(value)]
        if each.severity is not Severity.ERROR:
            lines.append(f"severity = {_toml(each.severity.value)}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, int | float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    text = "".join(
        _ESCAPES.get(letter, letter if letter.isprintable() else f"\\U{ord(letter):08x}") for letter in str(value)
    )
    return f'"{text}"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}

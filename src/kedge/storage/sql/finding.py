"""Searches as SQL: a `Query` over any table that is described by a `Searchable`, page by page.

A page ends at a position: the sort values of its last row. The next page begins behind that position, so runs that are
started or deleted meanwhile shift nothing. Sorting by a number that a key names (a metric) walks an index from its end
and stops when the page is full; only then come the rows where it is NaN, then those that lack it:

    bucket 0  values, up or down     bucket 1  NaN, or null     bucket 2  nothing under that key

All values are bound. LIKE minds the case and ILIKE does not, in both dialects, and no backslash escapes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from kedge.domain.finding import (
    Condition,
    LifecycleView,
    Operator,
    Order,
    Page,
    Position,
    Query,
    Subject,
    position_in,
    token_of,
)
from kedge.errors import SearchInvalid
from kedge.storage.sql.embedded import LOWER
from kedge.storage.sql.session import Row, Session

SECONDS = 30.0  # of one search
_STEPS = 200_000  # of SQLite's machine between looks at the clock
_FEW = 40  # values that stand in the statement; more are handed over as one


class Sql(NamedTuple):
    """A piece of a statement, with the values that its question marks stand for."""

    text: str
    values: tuple[object, ...] = ()


class Readable(NamedTuple):
    """How a name of the language reads a row `t`.

    `kind`: "text", "number", "time" (kept in microseconds, asked for in milliseconds) or "numeral" (a number kept as text).
    """

    sql: str
    kind: str = "text"
    nullable: bool = False


class Labels(NamedTuple):
    """A table of keys and values, joined by its columns `owner` to the ids of the row."""

    table: str
    owner: tuple[str, ...]


class Term(NamedTuple):
    """One sort key as SQL: `number` says what its values are, `fixed` that all rows have the same."""

    sql: Sql
    ascending: bool = True
    number: bool = True
    fixed: bool = False


class Searchable:
    """A table that can be searched, called `t` in every statement. Subclasses say what its metrics and datasets are."""

    walks = False  # whether an index keeps its metrics in order

    def __init__(
        self,
        table: str,
        *,
        ids: tuple[str, ...],
        attributes: Mapping[str, Readable],
        labels: Mapping[Subject, Labels],
        ties: tuple[Order, ...],
        staged: bool = True,
        bounded: bool = False,
    ) -> None:
        self.table, self.ids, self.attributes, self.labels = table, ids, attributes, labels
        self.ties, self.staged, self.bounded = ties, staged, bounded

    def base(self, query: Query, session: Session) -> list[Sql]:
        """Say which rows a search sees at all."""
        found = []
        if self.bounded:
            found.append(among("t.experiment", query.experiments, session=session))
        if self.staged and query.view is not LifecycleView.ALL:
            found.append(Sql("t.lifecycle = ?", (query.view.value,)))
        return found

    def measured(self, one: Condition, query: Query, *, session: Session) -> Sql:
        """Compare a metric."""
        raise SearchInvalid(f"{self.table} have no metrics")

    def read_from(self, one: Condition, query: Query, *, session: Session) -> Sql:
        """Compare a dataset that was read."""
        raise SearchInvalid(f"{self.table} have no datasets")

    def metric_terms(self, order: Order, at: int) -> tuple[Sql, Term, Term]:
        """Give a metric to sort by: the join that brings it, its bucket, its value (null outside bucket 0)."""
        raise SearchInvalid(f"{self.table} have no metrics")

    def walked(self, bucket: int, query: Query, *, session: Session) -> tuple[str, list[Sql]]:
        """Give the rows of one bucket of the first sort key, in its order: the tables, and what bounds them."""
        raise SearchInvalid(f"{self.table} have no metrics")


def find(session: Session, what: Searchable, *, query: Query) -> Page[Row]:
    """Find the ids of a page of rows, in order. Raises SearchInvalid, also for a search that takes too long."""
    if what.bounded and not query.experiments:
        return Page((), total=0 if query.counted else None)
    with _limited(session):
        rows = _Search(session, what, query=query).rows()
        total = _count(session, what, query=query) if query.counted else None
    width = len(what.ids)
    ids = tuple(row[:width] for row in rows[: query.limit])
    more = len(rows) > query.limit
    return Page(ids, token_of(query, rows[query.limit - 1][width:]) if more else "", total)


class _Search:
    """One search: how it is sorted, and what it has read of the buckets so far."""

    def __init__(self, session: Session, what: Searchable, *, query: Query) -> None:
        self._session, self._what, self._query = session, what, query
        named = {(one.subject, one.key) for one in query.order}
        self._order = [*query.order, *(tie for tie in what.ties if (tie.subject, tie.key) not in named)]
        self._joins, self._terms = _terms(self._order, what=what, session=session)
        self._after = _fitting(position_in(query), self._terms)

    def rows(self) -> list[Row]:
        """Give the rows of the page, and one more where there are more."""
        first = self._order[0]
        if not self._what.walks or first.subject is not Subject.METRIC:
            tables = Sql(f"{self._what.table} t" + "".join(join.text for join in self._joins), _values(self._joins))
            return self._read(tables, self._where(), terms=self._terms, after=self._after)
        found: list[Row] = []
        for bucket in self._buckets(first):
            if len(found) <= self._query.limit:
                found += self._bucket(bucket, first, limit=self._query.limit + 1 - len(found))
        return found

    def _buckets(self, first: Order) -> range:
        """Say which buckets may hold rows: a number that is compared is there, and is no NaN unless it differs."""
        asked = [one for one in self._query.where if one.subject is Subject.METRIC and one.key == first.key]
        end = 3 if not asked else 2
        if any(one.operator is not Operator.NE for one in asked):
            end = 1
        return range(0 if self._after is None else int(self._after[0] or 0), end)

    def _bucket(self, bucket: int, first: Order, *, limit: int) -> list[Row]:
        inline = [one for one in self._query.where if _inline(one, first)] if bucket == 0 else []
        tables, bounds = self._what.walked(bucket, self._query, session=self._session)
        bounds += [compare("o0.value", one, session=self._session) for one in inline]
        value = self._terms[1] if bucket == 0 else Term(Sql("NULL"), fixed=True)
        terms = [Term(Sql(str(bucket)), fixed=True), value, *self._terms[2:]]
        after = self._after if self._after is not None and self._after[0] == bucket else None
        joins = self._joins[1:]
        joined = Sql(tables + "".join(join.text for join in joins), _values(joins))
        return self._read(joined, [*bounds, *self._where(but=inline)], terms=terms, after=after, limit=limit)

    def _where(self, but: Sequence[Condition] = ()) -> list[Sql]:
        return _where(self._session, self._what, query=self._query, but=but)

    def _read(
        self, tables: Sql, where: list[Sql], *, terms: Sequence[Term], after: Position | None, limit: int | None = None
    ) -> list[Row]:
        chosen = [Sql(f"t.{one}") for one in self._what.ids] + [term.sql for term in terms]
        sorting = [
            f"{at} {'ASC' if term.ascending else 'DESC'}"
            for at, term in enumerate(terms, start=len(self._what.ids) + 1)
            if not term.fixed
        ]
        if after is not None:
            where = [*where, _behind(after, terms)]
        columns, met = both(chosen, by=", "), both(where or [Sql("1 = 1")])
        return self._session.rows(
            f"SELECT {columns.text} FROM {tables.text} WHERE {met.text} ORDER BY {', '.join(sorting)} LIMIT ?",
            *_bindable((*columns.values, *tables.values, *met.values)),
            self._query.limit + 1 if limit is None else limit,
        )


def _count(session: Session, what: Searchable, *, query: Query) -> int:
    met = both(_where(session, what, query=query) or [Sql("1 = 1")])
    row = session.row(f"SELECT COUNT(*) FROM {what.table} t WHERE {met.text}", *_bindable(met.values))
    return 0 if row is None else int(row[0])


def _where(session: Session, what: Searchable, *, query: Query, but: Sequence[Condition] = ()) -> list[Sql]:
    where = what.base(query, session)
    where += [_met(one, query, what=what, session=session) for one in query.where if one not in but]
    unmet = [_met(one, query, what=what, session=session) for one in query.without]
    return where + [Sql(f"({one.text}) IS NOT TRUE", one.values) for one in unmet]  # null is not met either


def _inline(one: Condition, first: Order) -> bool:
    return one.subject is Subject.METRIC and one.key == first.key and one.operator is not Operator.NE


def _fitting(position: Position | None, terms: Sequence[Term]) -> Position | None:
    """Refuse a position that this order cannot have. Raises SearchInvalid."""
    if position is None:
        return None
    fits = len(position) == len(terms) and all(_fits(*pair) for pair in zip(position, terms, strict=True))
    if not fits:
        raise SearchInvalid("Invalid page token: it does not fit this order. Start again at the first page")
    return position


def _fits(value: object, term: Term) -> bool:
    if isinstance(value, int):
        return term.number and -(2**63) <= value < 2**63
    return value is None or isinstance(value, float) == term.number


def _behind(after: Position, terms: Sequence[Term]) -> Sql:
    """Say that a row comes after a position: at the first sort key that differs, it is further on."""
    pairs = [(term, value) for term, value in zip(terms, after, strict=True) if not term.fixed]
    ways: list[Sql] = []
    for at, (term, value) in enumerate(pairs):
        if value is not None:  # null is the last of its bucket, and as good as any other null
            same = [_same(*pair) for pair in pairs[:at]]
            further = Sql(f"{term.sql.text} {'>' if term.ascending else '<'} ?", (*term.sql.values, value))
            ways.append(both([*same, further]))
    behind = both([Sql(f"({way.text})", way.values) for way in ways], by=" OR ")
    term, value = pairs[0]
    if value is None or len(ways) < 2:
        return Sql(f"({behind.text})", behind.values)
    begin = Sql(
        f"{term.sql.text} {'>=' if term.ascending else '<='} ?", (*term.sql.values, value)
    )  # lets an index begin here
    return both([begin, Sql(f"({behind.text})", behind.values)])


def _same(term: Term, value: object) -> Sql:
    if value is None:
        return Sql(f"{term.sql.text} IS NULL", term.sql.values)
    return Sql(f"{term.sql.text} = ?", (*term.sql.values, value))


def compare(column: str, one: Condition, *, session: Session) -> Sql:
    """Compare an expression as a condition says."""
    operator, value = one.operator, one.value
    if isinstance(value, tuple):
        listed = among(column, value, session=session)
        return listed if operator is Operator.IN else _not(listed)
    if operator not in {Operator.LIKE, Operator.ILIKE}:
        return Sql(f"{column} {'<>' if operator is Operator.NE else operator.value} ?", (value,))
    if session.postgresql:
        return Sql(f"{column} {operator.value} ? ESCAPE ''", (value,))
    pattern = str(value)
    if operator is Operator.LIKE:
        return Sql(f"{column} GLOB ?", (_glob(pattern),))
    if pattern.isascii():
        return Sql(f"{column} LIKE ?", (pattern,))  # which minds the case of all but ASCII letters
    return Sql(f"{LOWER}({column}) GLOB ?", (_glob(pattern.lower()),))


def among(column: str, values: Sequence[str], *, session: Session) -> Sql:
    """Say that an expression is one of these texts."""
    if len(values) <= _FEW:
        return Sql(f"{column} IN ({', '.join('?' * len(values))})", tuple(values))
    if session.postgresql:
        return Sql(f"{column} = ANY(?)", (list(values),))
    return Sql(f"{column} IN (SELECT value FROM json_each(?))", (msgspec.json.encode(values).decode(),))


def both(pieces: Sequence[Sql], *, by: str = " AND ") -> Sql:
    """Join conditions."""
    return Sql(by.join(piece.text for piece in pieces), tuple(value for piece in pieces for value in piece.values))


def _not(piece: Sql) -> Sql:
    return Sql(f"NOT ({piece.text})", piece.values)


def _met(one: Condition, query: Query, *, what: Searchable, session: Session) -> Sql:
    match one.subject:
        case Subject.METRIC:
            return what.measured(one, query, session=session)
        case Subject.DATASET:
            return what.read_from(one, query, session=session)
        case Subject.ATTRIBUTE:
            return _attribute(one, what=what, session=session)
        case _:
            return _labelled(one, what=what, session=session)


def _attribute(one: Condition, *, what: Searchable, session: Session) -> Sql:
    column, value = _column(what, one.key), one.value
    if column.kind == "time":
        return compare(f"({column.sql} / 1000)", one, session=session)
    if column.kind == "numeral" and one.operator not in {Operator.LIKE, Operator.ILIKE}:
        value = tuple(_numeral(each) for each in value) if isinstance(value, tuple) else _numeral(str(value))
    return compare(column.sql, msgspec.structs.replace(one, value=value), session=session)


def _numeral(text: str) -> str:
    """Write a number the one way that ids are written: '01' is 1. Raises SearchInvalid."""
    try:
        return str(int(text[:40]))
    except ValueError:
        raise SearchInvalid(f"Invalid experiment ID '{text[:40]}'. Experiment ID must be a valid integer.") from None


def _column(what: Searchable, key: str) -> Readable:
    if (column := what.attributes.get(key)) is None:
        raise SearchInvalid(f"Invalid attribute key '{key}' specified. Valid keys are '{sorted(what.attributes)}'")
    return column


def _labelled(one: Condition, *, what: Searchable, session: Session) -> Sql:
    table, owner = _labels(what, one.subject)
    joined = " AND ".join(f"l.{theirs} = t.{ours}" for theirs, ours in zip(owner, what.ids, strict=True))
    there = f"EXISTS (SELECT 1 FROM {table} l WHERE {joined} AND l.key = ?"
    match one.operator:
        case Operator.IS_NULL:
            return Sql(f"NOT {there})", (one.key,))
        case Operator.IS_NOT_NULL:
            return Sql(f"{there})", (one.key,))
        case _:
            compared = compare("l.value", one, session=session)
            return Sql(f"{there} AND {compared.text})", (one.key, *compared.values))


def _labels(what: Searchable, subject: Subject) -> Labels:
    if (labels := what.labels.get(subject)) is None:
        raise SearchInvalid(f"{what.table} have no {subject.value}s")
    return labels


def _terms(order: Sequence[Order], *, what: Searchable, session: Session) -> tuple[list[Sql], list[Term]]:
    """Give the joins and the sort keys of an order. What may be null comes behind a key that puts null last."""
    joins: list[Sql] = []
    terms: list[Term] = []
    for at, one in enumerate(order):
        if one.subject is Subject.METRIC:
            join, bucket, value = what.metric_terms(one, at)
            joins.append(join)
            terms += [bucket, value]
        elif one.subject is Subject.ATTRIBUTE:
            column = _column(what, one.key)
            sql = f"CAST({column.sql} AS BIGINT)" if column.kind == "numeral" else column.sql
            if column.nullable:
                terms.append(Term(Sql(f"CASE WHEN {column.sql} IS NULL THEN 1 ELSE 0 END")))
            terms.append(_term(sql, one, text=column.kind == "text", session=session))
        else:
            table, owner = _labels(what, one.subject)
            joined = " AND ".join(f"o{at}.{theirs} = t.{ours}" for theirs, ours in zip(owner, what.ids, strict=True))
            joins.append(Sql(f" LEFT JOIN {table} o{at} ON {joined} AND o{at}.key = ?", (one.key,)))
            terms.append(Term(Sql(f"CASE WHEN o{at}.value IS NULL THEN 1 ELSE 0 END")))
            terms.append(_term(f"o{at}.value", one, text=True, session=session))
    return joins, terms


def _term(sql: str, one: Order, *, text: bool, session: Session) -> Term:
    if text and session.postgresql:
        sql = f'({sql} COLLATE "C")'  # by code point, as SQLite sorts, whatever the database's language
    return Term(Sql(sql), one.ascending, number=not text)


def _glob(pattern: str) -> str:
    """Write a LIKE pattern as SQLite's GLOB has it, which minds the case."""
    return "".join(_GLOB.get(character, character) for character in pattern)


_GLOB = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}


def _values(pieces: Sequence[Sql]) -> tuple[object, ...]:
    return tuple(value for piece in pieces for value in piece.values)


def _bindable(values: Sequence[object]) -> Sequence[object]:
    """Refuse texts that no database can hold. Raises SearchInvalid."""
    for value in values:
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and ("\0" in text or not _encodes(text)):
                raise SearchInvalid(f"Invalid value {text[:40]!r}: it is not text that can be stored")
    return values


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _limited(session: Session) -> Iterator[None]:
    """Let no search run for longer than it may; the driver's error then becomes SearchInvalid."""
    if session.postgresql:
        session.run(f"SET LOCAL statement_timeout = {int(SECONDS * 1000)}")
        yield
        return
    deadline = time.monotonic() + SECONDS
    driver = session.driver
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)

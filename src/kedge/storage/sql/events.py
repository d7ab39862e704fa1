"""Events, their chain (`chain.py`), and the edges of the lineage graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select
from sqlalchemy import Row as TableRow

from kedge.domain.events import Event
from kedge.domain.ids import Digest
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.errors import StoreBroken
from kedge.storage.sql import schema
from kedge.storage.sql.chain import append
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.session import Session

PAGE = 1000

_table, _edges = schema.events, schema.edges
_decoder = msgspec.json.Decoder(Event)

_page = (
    select(_table.c.serial, _table.c.body, _table.c.hash)
    .where(_table.c.serial > bindparam("after"))
    .order_by(_table.c.serial)
    .limit(PAGE)
)


def record(connection: Connection, event: Event) -> int | None:
    """Append an event in the open transaction: its serial, or None where its key is already there."""
    return append(Session.of(connection), event)


class SqlEvents:
    """All that happened (port `Events`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def append(self, event: Event) -> bool:
        """Write an event; False where its key is already there."""
        with self._connections.writing() as connection:
            return record(connection, event) is not None

    def find(self, key: Digest) -> Event | None:
        """Find the event with this key."""
        with self._connections.reading() as connection:
            row = connection.execute(select(_table.c.body).where(_table.c.key == key)).first()
        return _event(row.body) if row is not None else None

    def list(self, *, subject: str | None = None, before: int | None = None, limit: int = 50) -> Sequence[tuple[int, Event]]:
        """List (serial, event), newest first, with serial < `before`."""
        query = select(_table.c.serial, _table.c.body).order_by(_table.c.serial.desc()).limit(limit)
        if subject is not None:
            query = query.where(_table.c.subject == subject)
        if before is not None:
            query = query.where(_table.c.serial < before)
        with self._connections.reading() as connection:
            rows = connection.execute(query).all()
        return [(row.serial, _event(row.body)) for row in rows]

    def chain(self) -> Iterator[tuple[int, bytes, str]]:
        """Walk (serial, canonical bytes, hash), oldest first, a page a transaction."""
        after = 0
        while rows := self._after(after):
            yield from ((row.serial, row.body.encode(), row.hash) for row in rows)
            after = rows[-1].serial

    def sources(self, node: Node) -> Sequence[Edge]:
        """List the edges from a node to what it was made of, in the order they were written."""
        return self._edges(kind=_edges.c.made_kind == node.kind.value, id=_edges.c.made == node.id)

    def uses(self, node: Node) -> Sequence[Edge]:
        """List the edges from what was made of a node, in the order they were written."""
        return self._edges(kind=_edges.c.source_kind == node.kind.value, id=_edges.c.source == node.id)

    def uses_of(self, nodes: Sequence[Node], *, limit: int) -> Sequence[Edge]:
        """List the edges from what was made of any of these nodes, all of one kind; the newest first."""
        if not nodes:
            return []
        found: list[TableRow[Any]] = []
        with self._connections.reading() as connection:
            for start in range(0, len(nodes), PAGE):
                ids = [node.id for node in nodes[start : start + PAGE]]
                where = (_edges.c.source_kind == nodes[0].kind.value) & _edges.c.source.in_(ids)
                asked = select(_edges).where(where).order_by(_edges.c.event.desc(), _edges.c.position).limit(limit)
                found += connection.execute(asked).all()
        found.sort(key=lambda row: (-row.event, row.position))
        return [_edge(row) for row in found[:limit]]

    def _after(self, serial: int) -> Sequence[TableRow[int, str, str]]:
        with self._connections.reading() as connection:
            return connection.execute(_page, {"after": serial}).all()

    def _edges(self, **where: object) -> Sequence[Edge]:
        query = select(_edges).where(*where.values()).order_by(_edges.c.event, _edges.c.position)  # type: ignore[arg-type]
        with self._connections.reading() as connection:
            rows = connection.execute(query).all()
        return [_edge(row) for row in rows]


def _edge(row: TableRow[Any]) -> Edge:
    return Edge(
        made=Node(NodeKind(row.made_kind), row.made),
        source=Node(NodeKind(row.source_kind), row.source),
        role=row.role,
    )


def _event(body: str) -> Event:
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise StoreBroken(f"an event in the metadata store cannot be read ({error}); restore it from a backup") from error

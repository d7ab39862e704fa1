"""How an event is appended to the chain, within the transaction of what it tells of. Light: plain statements.

The hash of event N is SHA-256 over the hash of event N - 1 (64 hex digits; nothing for the first) and the event's
canonical bytes (JSON, keys sorted). Serials count from 1 without gaps. A changed, lost or moved row breaks the chain.
"""

import msgspec

from kedge.domain.events import Event, chained
from kedge.domain.lineage import Edge
from kedge.storage.sql.session import Row, Session, to_us

LOCK_CHAIN = f"SELECT pg_advisory_xact_lock({0x6B65646765})"  # "kedge"; advisory locks are numbers

_encoder = msgspec.json.Encoder(order="sorted")
_add_edge = (
    "INSERT INTO edges (made_kind, made, role, source_kind, source, event, position) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)


def canonical(event: Event) -> bytes:
    """Give the bytes of an event that are hashed and kept."""
    return _encoder.encode(event)


def append(session: Session, event: Event) -> int | None:
    """Append an event in the open session: its serial, or None where its key is already there."""
    if session.postgresql:
        session.run(LOCK_CHAIN)
    if session.row("SELECT serial FROM events WHERE key = ?", event.key) is not None:
        return None
    head = session.row("SELECT serial, hash FROM events ORDER BY serial DESC LIMIT 1")
    serial, previous = (head[0] + 1, head[1]) if head is not None else (1, "")
    body = canonical(event)
    session.run(
        "INSERT INTO events (serial, key, kind, at, subject, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
        serial,
        event.key,
        event.kind.value,
        to_us(event.at),
        event.subject,
        body.decode(),
        chained(previous, body),
    )
    session.many(_add_edge, [_edge_row(edge, serial, position=at) for at, edge in enumerate(event.edges)])
    return serial


def _edge_row(edge: Edge, serial: int, *, position: int) -> Row:
    return edge.made.kind.value, edge.made.id, edge.role, edge.source.kind.value, edge.source.id, serial, position

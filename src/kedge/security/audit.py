"""The audit chain: each event's hash is SHA-256 over the hash before it and the event's own bytes.

    serial 1: hash_1 = sha256(        body_1)
    serial 2: hash_2 = sha256(hash_1 + body_2)      hashes as 64 hex digits
An edited, deleted, inserted or moved event breaks every hash after it. A tail that was cut off leaves a whole shorter
chain: only a head that was written down elsewhere shows that, so the report names the head.
"""

from collections.abc import Iterable

import msgspec

from kedge.domain.events import chained


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk along the chain found: how many events hold, the last hash that does, the first serial that does not."""

    events: int
    head: str
    broken: int | None = None
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Tell whether every event is where and as it was written."""
        return self.broken is None

    def __str__(self) -> str:
        if self.holds:
            return f"{self.events:,} events, unbroken; head {self.head or 'none'}"
        return f"broken at event {self.broken}: {self.reason}; {self.events:,} events before it hold"


def verify(chain: Iterable[tuple[int, bytes, str]], *, head: str = "") -> AuditReport:
    """Walk (serial, canonical bytes, hash), oldest first. A `head` noted earlier must be met on the way."""
    previous, events, met = "", 0, not head
    for serial, body, written in chain:
        if serial != events + 1:
            reason = f"serial {serial} stands where {events + 1} should"
            return AuditReport(events=events, head=previous, broken=events + 1, reason=reason)
        hashed = chained(previous, body)
        if hashed != written:
            reason = "its bytes, or its place, are not what its hash was made from"
            return AuditReport(events=events, head=previous, broken=serial, reason=reason)
        previous, events, met = written, serial, met or written == head
    if not met:
        reason = f"the chain ends before the noted head {head}: its end was cut off or written anew"
        return AuditReport(events=events, head=previous, broken=events + 1, reason=reason)
    return AuditReport(events=events, head=previous)

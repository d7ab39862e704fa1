"""A request worth telling a tracing system about: what it took in all, and in each stage."""

import msgspec


class TraceParent(msgspec.Struct, frozen=True, kw_only=True):
    """Where a caller's trace stands (W3C Trace Context, level 1): ids as numbers, and whether the caller keeps it."""

    trace_id: int
    span_id: int
    sampled: bool


class TracedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was answered. Times are nanoseconds since 1970; a stage is its name, begin and end."""

    name: str
    began: int
    ended: int
    failed: bool
    parent: TraceParent | None = None
    attributes: dict[str, str | int] = {}
    stages: list[tuple[str, int, int]] = []


def read_traceparent(text: str) -> TraceParent | None:
    """Read a `traceparent` header; None where it is not one (section 3.2 of the recommendation), and is then ignored."""
    parts = text.strip().split("-")
    if len(parts) < 4 or (parts[0] == "00" and len(parts) != 4) or parts[0] == "ff":
        return None
    if [len(part) for part in parts[:4]] != [2, 32, 16, 2] or any(set(part) - set("0123456789abcdef") for part in parts[:4]):
        return None
    trace_id, span_id = int(parts[1], 16), int(parts[2], 16)
    if not trace_id or not span_id:
        return None
    return TraceParent(trace_id=trace_id, span_id=span_id, sampled=bool(int(parts[3], 16) & 1))

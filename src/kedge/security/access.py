"""The one policy table: which right a request needs. A write without a row is refused, and fails a test.

Rights include one another: admin may write, write may read. The first row that fits decides. In a pattern `*` stands
for one part of a path, `**` at the end for any number of them.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class Right(IntEnum):
    """What a token may do. OPEN is what anyone may, without a token."""

    OPEN = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Grant(NamedTuple):
    """One row of the table: a method, a pattern of paths, the right they need."""

    method: str
    pattern: str
    right: Right


POLICY: tuple[Grant, ...] = (
    # what shows no data: the pages' own files, and whether a process lives
    Grant("GET", "/static/**", Right.OPEN),
    Grant("GET", "/api/v1/health", Right.OPEN),
    Grant("GET", "/login", Right.OPEN),
    Grant("POST", "/login", Right.OPEN),
    Grant("GET", "/v2", Right.OPEN),
    Grant("GET", "/v2/health/*", Right.OPEN),
    # whatever else can be read
    Grant("GET", "/**", Right.READ),
    # what adds facts
    Grant("POST", "/v2/models/*/infer", Right.WRITE),
    Grant("POST", "/v2/models/*/versions/*/infer", Right.WRITE),
    Grant("POST", "/api/v1/ground-truth", Right.WRITE),
    # what changes who answers
    Grant("POST", "/v2/models/*/refresh", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/promote", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/roll-back", Right.ADMIN),
    Grant("POST", "/models/*/promote", Right.ADMIN),
    Grant("POST", "/models/*/roll-back", Right.ADMIN),
)


def needed(method: str, path: str, *, policy: Sequence[Grant] = POLICY) -> Right | None:
    """Say which right a request needs; None for one that no row names. HEAD is read as GET."""
    wanted = "GET" if method == "HEAD" else method
    return next((rule.right for rule in policy if rule.method == wanted and fits(rule.pattern, path)), None)


def allowed(right: Right, method: str, *, path: str, policy: Sequence[Grant] = POLICY) -> bool:
    """Say whether a holder of `right` may send this request. A request that no row names is refused to everyone."""
    wanted = needed(method, path, policy=policy)
    return wanted is not None and right >= wanted


def fits(pattern: str, path: str) -> bool:
    """Say whether a decoded path fits a pattern. One with an empty, `.` or `..` part fits only `/**` and itself."""
    if pattern in (path, "/**"):
        return True
    wanted, parts = pattern.split("/"), path.split("/")
    if any(part in ("", ".", "..") for part in parts[1:]):
        return False
    if wanted[-1] == "**":
        wanted, parts = wanted[:-1], parts[: len(wanted) - 1]
    return len(wanted) == len(parts) and all(want in ("*", part) for want, part in zip(wanted, parts, strict=True))

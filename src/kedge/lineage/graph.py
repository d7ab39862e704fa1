"""The lineage graph, walked: up to everything that a node was made of, down to everything made of it."""

from collections import deque
from collections.abc import Callable, Sequence

from kedge.domain.lineage import Edge, Node
from kedge.ports import Events


def sources_of(events: Events, node: Node) -> tuple[Edge, ...]:
    """List the edges from a node up to its first sources, nearest first, each once."""
    return _walk(node, events.sources, end=lambda edge: edge.source)


def uses_of(events: Events, node: Node) -> tuple[Edge, ...]:
    """List the edges from a node down to its last uses, nearest first, each once."""
    return _walk(node, events.uses, end=lambda edge: edge.made)


def _walk(start: Node, edges_of: Callable[[Node], Sequence[Edge]], *, end: Callable[[Edge], Node]) -> tuple[Edge, ...]:
    found: dict[Edge, None] = {}
    seen, ahead = {start}, deque([start])
    while ahead:
        for edge in edges_of(ahead.popleft()):
            found.setdefault(edge)
            if end(edge) not in seen:  # a graph with a circle would be wrong, but must not hang
                seen.add(end(edge))
                ahead.append(end(edge))
    return tuple(found)

"""The graph is walked to its ends in both directions, each edge once, circles included."""

from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.lineage.graph import sources_of, uses_of


def node(name: str) -> Node:
    return Node(NodeKind.RUN, name)


class Events:
    def __init__(self, *pairs: str) -> None:
        self.edges = [Edge(node(made), node(source), "role") for made, source in pairs]

    def sources(self, of: Node):
        return [edge for edge in self.edges if edge.made == of]

    def uses(self, of: Node):
        return [edge for edge in self.edges if edge.source == of]


def names(edges) -> list[str]:
    return [edge.made.id + edge.source.id for edge in edges]


def test_up_and_down() -> None:
    events = Events("ab", "ac", "bd", "cd", "xd")
    assert names(sources_of(events, node("a"))) == ["ab", "ac", "bd", "cd"]
    assert names(sources_of(events, node("d"))) == []
    assert names(uses_of(events, node("d"))) == ["bd", "cd", "xd", "ab", "ac"]


def test_a_circle_ends() -> None:
    assert names(sources_of(Events("ab", "ba", "aa"), node("a"))) == ["ab", "aa", "ba"]


def test_the_same_edge_of_two_events_is_one() -> None:
    assert names(sources_of(Events("ab", "ab"), node("a"))) == ["ab"]


def test_the_room_walks_its_events(house) -> None:
    version = Node(NodeKind.MODEL_VERSION, "delay@1")
    kinds = [edge.source.kind.value for edge in house.lineage.sources(version)]
    assert kinds == ["run", "verdict", "dataset_version", "code", "environment", "params"]
    data = house.lineage.sources(version)[2].source
    assert version in {edge.made for edge in house.lineage.uses(data)}

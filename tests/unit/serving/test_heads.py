"""Heads of requests that were read before: found again byte for byte, with exactly their body behind them."""

from kedge.serving.door.heads import Head, KnownHeads, read_head
from kedge.serving.door.paths import place_of

GIVEN = {b"content-length": b"4", b"kedge-timeout": b"0.5", b"kedge-variant": b"champion", b"kedge-entity": b"N14"}
LINES = b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 4\r\nKedge-Timeout: 0.5\r\n\r\n"


def head() -> Head:
    return read_head(place_of("/v2/models/m/infer"), GIVEN)


def test_a_head_is_found_with_its_body_and_nothing_less_or_more() -> None:
    heads, read = KnownHeads(), head()
    assert heads.find(LINES + b"body") is None
    heads.learn(LINES + b"body", read)
    assert heads.find(LINES + b"BODY") == (read, b"BODY")
    assert (read.length, read.seconds, read.variant, read.entity) == (4, 0.5, "champion", "N14")
    for other in (
        LINES + b"bod",
        LINES + b"body+",
        LINES + b"body" + LINES,
        LINES,
        LINES[:-2],
        b"",
        LINES.lower() + b"body",
    ):
        assert heads.find(other) is None


def test_what_did_not_come_whole_and_alone_is_not_learnt() -> None:
    heads, read = KnownHeads(), head()
    bare = LINES.replace(b"\r\n", b"\n")  # the first empty line that is found is not the one that ends the head
    for odd in (LINES + b"bod", LINES + b"body+", b"\r\n\r\n" + LINES + b"body", bare + b"\r\n\r\n", bare + b"body"):
        heads.learn(odd, read)
        assert heads.find(odd) is None


def test_long_heads_are_read_each_time_and_many_are_forgotten() -> None:
    heads, read = KnownHeads(), head()
    long = LINES.replace(b"Kedge", b"X" * 3000 + b": y\r\nKedge") + b"body"
    heads.learn(long, read)
    assert heads.find(long) is None
    for place in range(5000):
        heads.learn(LINES.replace(b"0.5", b"%d" % place) + b"body", read)
    assert heads.find(LINES.replace(b"0.5", b"0") + b"body") is None
    assert heads.find(LINES.replace(b"0.5", b"4999") + b"body") is not None

"""The data plane's doors in a process of their own, against callers that mean harm or are broken: raw bytes on a socket."""

import gzip
import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psutil
import pytest
from tests.api.test_serving_clients import Ports, begin
from tests.unit.serving.doors import flights

INFER = b"POST /v2/models/flights/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = LIVE.replace(b"x\r\n", b"x\r\nConnection: close\r\n")
GOOD = msgspec.json.encode(flights(2, id="good"))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    ports = begin(tmp_path_factory.mktemp("wire"))
    alive(ports)  # from here on whole requests go the short way
    yield ports
    ports.process.terminate()
    assert ports.process.wait(30) == 0


@contextmanager
def connected(ports: Ports) -> Iterator[socket.socket]:
    host, _, port = ports.http.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield wire


def rest(wire: socket.socket) -> bytes:
    """Read until the server hangs up."""
    answer = b""
    try:
        while part := wire.recv(65536):
            answer += part
    except ConnectionError:
        pass
    return answer


def exchange(ports: Ports, data: bytes) -> bytes:
    with connected(ports) as wire:
        send(wire, data)
        return rest(wire)


def send(wire: socket.socket, data: bytes) -> bool:
    """Send; tell whether the server still took it."""
    try:
        wire.sendall(data)
    except ConnectionError:
        return False
    return True


def alive(ports: Ports) -> None:
    connection = http.client.HTTPConnection(ports.http, timeout=20)
    connection.request("POST", "/v2/models/flights/infer", GOOD)
    answer = connection.getresponse()
    assert (answer.status, msgspec.json.decode(answer.read())["id"]) == (200, "good")
    connection.close()


def memory(ports: Ports) -> float:
    return psutil.Process(ports.process.pid).memory_info().rss / 2**20


def infer(body: bytes, *more: bytes) -> bytes:
    return INFER + b"".join(line + b"\r\n" for line in more) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, *more: bytes) -> bytes:
    head = INFER + b"".join(line + b"\r\n" for line in more) + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "more",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: 0, 5\r\n\r\n",
        b"Content-Length: +0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 0x0\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
        b"Content-Length : 0\r\n\r\n",
        b"Content-Length: 0\r\n X: y\r\n\r\n",
        b"Bad Header: 1\r\n\r\n",
        b"X: a\x00b\r\n\r\n",
    ],
)
def test_no_second_request_is_smuggled(ports: Ports, more: bytes) -> None:
    answer = exchange(ports, INFER + more + LAST)
    assert b'"live"' not in answer
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'{"error":"' in answer
    alive(ports)


def test_a_body_shorter_than_it_says_gets_no_answer_and_a_longer_one_no_second(ports: Ports) -> None:
    with connected(ports) as wire:
        wire.sendall(infer(GOOD).replace(b"Content-Length: %d" % len(GOOD), b"Content-Length: %d" % (len(GOOD) + 1)))
        wire.shutdown(socket.SHUT_WR)
        assert rest(wire) == b""
    longer = exchange(ports, infer(GOOD).replace(b"Content-Length: %d" % len(GOOD), b"Content-Length: %d" % (len(GOOD) - 1)))
    assert longer.count(b"HTTP/1.1 ") <= 2
    assert b"HTTP/1.1 200" not in longer
    alive(ports)


def test_chunks_and_pipelines_are_answered_in_order(ports: Ports) -> None:
    one = [msgspec.json.encode(flights(1, id=f"p{place}")) for place in range(20)]
    sent = b"".join(chunked(body) if place % 2 else infer(body) for place, body in enumerate(one)) + LAST
    answer = exchange(ports, sent)
    assert answer.count(b"HTTP/1.1 200") == 21
    places = [answer.index(b'"id":"p%d"' % place) for place in range(20)]
    assert places == sorted(places)
    with connected(ports) as wire:  # byte by byte
        for byte in infer(one[0])[:-1]:
            wire.sendall(bytes([byte]))
        wire.sendall(one[0][-1:])
        assert wire.recv(65536).startswith(b"HTTP/1.1 200")


def one(wire: socket.socket) -> bytes:
    """Read one answer."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += wire.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += wire.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        msgspec.json.encode(flights(300, id="long")),
        msgspec.json.encode(flights(2, id="some", outputs=[{"name": "late"}])),
        msgspec.json.encode(flights(2, id="raw", parameters={"binary_data_output": True})),
        msgspec.json.encode(flights(2, outputs=[{"name": "nothing"}])),
        msgspec.json.encode({"inputs": []}),
        b"{",
        *(msgspec.json.encode(flights(1, parameters={"raise": each})) for each in ("refused", "late", "nothing")),
    ],
)
def test_the_short_way_and_the_long_answer_byte_for_byte_alike(ports: Ports, body: bytes) -> None:
    with connected(ports) as wire:
        for sent in (infer(body), chunked(body), infer(body)):
            wire.sendall(sent)
            answer = one(wire)
            assert answer.startswith(b"HTTP/1.1 ")
            if sent == infer(body):
                wire.sendall(chunked(body))  # chunks go the long way
                assert one(wire) == answer


def test_a_head_that_was_read_before_asks_with_another_body_and_with_no_other_length(ports: Ports) -> None:
    def distance(of: int) -> bytes:
        return GOOD.replace(b"100.0", b"%d.0" % of)

    def answered(wire: socket.socket) -> float:
        return float(msgspec.json.decode(one(wire).partition(b"\r\n\r\n")[2])["outputs"][0]["data"][0])

    head = infer(GOOD).removesuffix(GOOD)
    with connected(ports) as wire:
        for of in (100, 200, 300, 400):  # read on the long way, on the short, and then known
            wire.sendall(head + distance(of))
            assert answered(wire) == of / 1000
        wire.sendall(head + distance(500) + head + distance(600))
        both = b""
        while both.count(b"HTTP/1.1 200") < 2 or not both.endswith(b"]}"):
            both += wire.recv(65536)
        assert both.index(b'"data":[0.5') < both.index(b'"data":[0.6')
        for parts in ((head, distance(700)), (head[:20], head[20:] + distance(700)), (head + GOOD[:9], distance(700)[9:])):
            for part in parts:
                wire.sendall(part)
                time.sleep(0.05)
            assert answered(wire) == 0.7
        wire.sendall(b"\r\n" + head + distance(800))
        assert answered(wire) == 0.8
        wire.sendall(head + b"{" * len(GOOD))
        assert one(wire).startswith(b"HTTP/1.1 400")
        wire.sendall(head + distance(900))
        assert answered(wire) == 0.9
        wire.sendall(head + distance(100) + b"\r\nGET / HTTP/1.1 smuggled\r\n\r\n")
        assert rest(wire).count(b"HTTP/1.1 400") == 1
    alive(ports)


def test_a_direct_request_behind_another_waits_for_it(ports: Ports) -> None:
    slow = msgspec.json.encode(flights(1, id="slow", parameters={"raise": "later"}))
    answer = exchange(ports, infer(slow) + infer(GOOD) + infer(slow) + LAST)
    assert answer.count(b"HTTP/1.1 200") == 4
    assert answer.index(b'"id":"slow"') < answer.index(b'"id":"good"') < answer.rindex(b'"id":"slow"')


def test_who_sends_drop_by_drop_is_cut_off(ports: Ports) -> None:
    begun = time.monotonic()
    with connected(ports) as head, connected(ports) as body, connected(ports) as silent, connected(ports) as blank:
        head.sendall(b"GET /v2 HTTP/1.1\r\n")
        body.sendall(INFER + b"Content-Length: 100\r\n\r\n{")
        blank.sendall(LIVE)
        told = b""
        while b'"live"' not in told:
            told += blank.recv(65536)
        for _ in range(12):  # half a second for a head, one for a body
            time.sleep(0.1)
            for wire, drop in ((head, b"X: y\r\n"), (body, b" "), (blank, b"\r\n")):
                send(wire, drop)
        alive(ports)
        assert rest(head).startswith(b"HTTP/1.1 408")
        assert b"the body of the request did not arrive in time" in rest(body)
        assert rest(silent) == rest(blank) == b""
    assert time.monotonic() - begun < 20


def test_heads_and_trailers_have_an_end(ports: Ports) -> None:
    before = memory(ports)
    with connected(ports) as wire:
        wire.sendall(b"GET /v2 HTTP/1.1\r\n")
        while send(wire, b"X-%s: y\r\n" % (b"a" * 1000)):
            pass
    assert exchange(ports, b"GET /" + b"a" * 600_000).startswith(b"HTTP/1.1 431")
    assert exchange(ports, LAST.replace(b"\r\n", b"\r\nX: " + b"a" * 70_000 + b"\r\n", 1)).startswith(b"HTTP/1.1 431")
    with connected(ports) as wire:
        wire.sendall(INFER + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
        begun = time.monotonic()
        while send(wire, b"X: y\r\n" * 10_000) and time.monotonic() - begun < 10:
            pass
    assert memory(ports) - before < 64
    alive(ports)


def test_64_mib_of_blanks_are_not_read(ports: Ports) -> None:
    before = memory(ports)
    with connected(ports) as wire:
        wire.sendall(INFER + b"Content-Length: %d\r\n\r\n" % (64 << 20))
        assert wire.recv(65536).startswith(b"HTTP/1.1 413")
    with connected(ports) as wire:
        wire.sendall(INFER + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 64 and send(wire, b"100000\r\n" + b" " * 2**20 + b"\r\n"):
            sent += 1
        assert sent < 64
    blanks = exchange(ports, infer(b" " * (15 << 20), b"Connection: close"))
    assert blanks.startswith(b"HTTP/1.1 400")
    bomb = gzip.compress(b" " * (64 << 20))
    assert exchange(ports, infer(bomb, b"Content-Encoding: gzip", b"Connection: close")).startswith(b"HTTP/1.1 413")
    deep = b'{"inputs": ' + b"[" * (1 << 20)
    assert exchange(ports, infer(deep, b"Connection: close")).startswith(b"HTTP/1.1 400")
    for brackets in (b"[],", b"{},"):
        many = b'{"inputs": [], "x": [' + brackets * 5_000_000 + b"0]}"
        assert b"the body has more than" in exchange(ports, infer(many, b"Connection: close"))
    assert memory(ports) - before < 128
    alive(ports)


def test_who_hangs_up_is_not_answered(ports: Ports) -> None:
    def cancelled() -> int:
        return int(exchange(ports, LAST.replace(b"/v2/health/live", b"/metrics")).split()[-1])

    before = cancelled()
    with connected(ports) as wire:
        wire.sendall(infer(msgspec.json.encode(flights(1, parameters={"raise": "later"}))))
        time.sleep(0.1)
    until = time.monotonic() + 10
    while cancelled() == before:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert cancelled() == before + 1


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
def test_no_other_protocol_is_switched_to(ports: Ports, upgrade: bytes) -> None:
    more = b"x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n" % upgrade
    with connected(ports) as wire:
        wire.sendall(LIVE.replace(b"x\r\n", more))
        assert wire.recv(65536).startswith(b"HTTP/1.1 200")
    assert b"400" in exchange(ports, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")[:20]


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
def test_a_body_is_read_beside_an_offer_of_another_protocol(ports: Ports, name: bytes) -> None:
    """Clients that prefer HTTP/2 offer it with their first request, and send that whole in HTTP/1.1."""
    body = msgspec.json.encode(flights(2))
    offers = (b"Connection: Upgrade, HTTP2-Settings", name + b": h2c", b"HTTP2-Settings: AAMAAABk")
    with connected(ports) as wire:
        for request in (infer(body, *offers), infer(body)):
            wire.sendall(request)
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")
    assert exchange(ports, infer(body, name + b": h2c", b"Connection: close")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("hosts", [b"", b"Host: x\r\nHost: x\r\n", b"Host: x\r\nhost: y\r\n"])
def test_a_request_names_one_host(ports: Ports, hosts: bytes) -> None:
    count = hosts.lower().count(b"host:")
    body = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD)
    for request in (
        b"GET /v2/health/live HTTP/1.1\r\n" + hosts + b"\r\n",
        INFER.splitlines(keepends=True)[0] + hosts + body,
    ):
        answer = exchange(ports, request + LAST)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer
        assert f"the request has {count} Host headers, and needs one".encode() in answer
        assert answer.count(b"HTTP/1.1") == 1, "nothing behind it is answered"
    alive(ports)


def test_a_host_is_asked_of_http_1_1_alone(ports: Ports) -> None:
    assert exchange(ports, b"GET /v2/health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert exchange(ports, b"GET /v2/health/live HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n").startswith(b"HTTP/1.1 400 ")

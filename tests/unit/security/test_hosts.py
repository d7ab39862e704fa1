"""The fixed list of Host and Origin headers: which are let in, and every trick to get round it."""

import pytest

from kedge.security.hosts import LOOPBACK, address_of, host_allowed, is_loopback, origin_allowed


@pytest.mark.parametrize(
    "header",
    [
        "localhost",
        "LOCALHOST",
        "localhost:8400",
        "localhost.",
        "localhost.:8400",
        "127.0.0.1",
        "127.0.0.1:8400",
        "[::1]",
        "[::1]:8400",
        "localhost:1",
        "localhost:65535",
    ],
)
def test_own_hosts(header) -> None:
    assert host_allowed(header, LOOPBACK)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        ".",
        ":",
        ":8400",
        "evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "notlocalhost",
        "localhost..",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:123456",
        "localhost:port",
        "localhost:-1",
        "localhost:8400:8400",
        "localhost evil.example",
        " localhost",
        "localhost ",
        "localhost\n",
        "localhost,evil.example",
        "localhost/evil.example",
        "localhost#",
        "localhost?",
        "localhost@evil.example",
        "evil.example@localhost",
        "user:pass@localhost:8400",
        "http://localhost",
        "127.0.0.1.evil.example",
        "127.1",
        "127.0.0.2",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "::1",
        "[::1",
        "::1]",
        "[::1]evil",
        "[::1].",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::1%25lo]",
        "[localhost]",
        "l\u043ecalhost",
        "xn--lcalhost-c7a",
        "localhost\x00",
        "*",
    ],
)
def test_foreign_hosts(header) -> None:
    assert not host_allowed(header, LOOPBACK)


def test_names_of_ones_own() -> None:
    allowed = ("ml.example.org", "10.0.0.7", "[fe80::1]", "Models.")
    for header in ("ml.example.org:443", "ML.example.org", "10.0.0.7:8400", "[fe80::1]:8400", "[FE80::1]", "models"):
        assert host_allowed(header, allowed), header
    for header in ("localhost", "example.org", "x.ml.example.org", "mlxexample.org", "10.0.0.70"):
        assert not host_allowed(header, allowed), header
    assert not host_allowed("localhost", ())


def test_addresses() -> None:
    assert address_of("Localhost.:8400") == ("localhost", 8400)
    assert address_of("[::1]:80") == ("::1", 80)
    assert address_of("a_b-c.d") == ("a_b-c.d", None)
    assert address_of("-a") is None
    assert address_of("a-") is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "localhost:8400"),
        (None, "evil.example"),  # the host has a check of its own
        ("http://localhost:8400", "localhost:8400"),
        ("HTTP://LocalHost:8400", "localhost:8400"),
        ("http://localhost", "localhost"),
        ("http://localhost:80", "localhost"),
        ("http://localhost", "localhost:80"),
        ("https://localhost", "localhost:443"),
        ("http://[::1]:8400", "[::1]:8400"),
        ("http://localhost.:8400", "localhost:8400"),
    ],
)
def test_own_origins(origin, host) -> None:
    assert origin_allowed(origin, host, allowed=LOOPBACK)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "localhost:8400"),
        ("null", "localhost:8400"),
        ("http://evil.example", "localhost:8400"),
        ("http://evil.example", "evil.example"),
        ("http://localhost:3000", "localhost:8400"),
        ("http://localhost", "localhost:8400"),
        ("https://localhost:8400", "localhost"),
        ("http://127.0.0.1:8400", "localhost:8400"),
        ("http://localhost.evil.example:8400", "localhost:8400"),
        ("http://localhost:8400/", "localhost:8400"),
        ("http://localhost:8400@evil.example", "localhost:8400"),
        ("http://evil.example#localhost:8400", "localhost:8400"),
        ("http://localhost:8400 http://evil.example", "localhost:8400"),
        ("file://", "localhost:8400"),
        ("chrome-extension://localhost:8400", "localhost:8400"),
        ("localhost:8400", "localhost:8400"),
        ("http://localhost:8400", ""),
        ("http://localhost:8400", None),
        ("http://", "localhost:8400"),
        ("http://::", "localhost:8400"),
    ],
)
def test_foreign_origins(origin, host) -> None:
    assert not origin_allowed(origin, host, allowed=LOOPBACK)


@pytest.mark.parametrize(
    ("name", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example", False),
        ("example.org", False),
    ],
)
def test_loopback(name, loopback) -> None:
    assert is_loopback(name) is loopback

"""Which addresses may be called where a setting names the place."""

import pytest

from kedge.domain.outward import refusal, target_of
from kedge.errors import ConfigError

INSIDE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.1.1",
    "::1",
    "fe80::1%eth0",
    "fc00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "192.0.2.1",
    "198.18.0.1",
    "240.0.0.1",
]
NEVER = ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "0.0.0.0", "::", "224.0.0.1"]


@pytest.mark.parametrize("address", INSIDE)
def test_what_only_this_machine_or_network_reaches_is_refused_unless_it_is_meant(address: str) -> None:
    assert "allow_private" in refusal(address, allow_private=False)
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_metadata_services_and_no_address_at_all_are_never_called(address: str) -> None:
    assert refusal(address, allow_private=False)
    assert refusal(address, allow_private=True)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_public_addresses_are_called(address: str) -> None:
    assert refusal(address, allow_private=False) == ""


@pytest.mark.parametrize("address", ["", "localhost", "2130706433", "0x7f.1", "127.1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert "no IP address" in refusal(address, allow_private=True)


def test_a_url_is_taken_apart() -> None:
    target = target_of("https://hooks.example/a/b?c=d")
    assert (target.host, target.port, target.path, target.header) == ("hooks.example", 443, "/a/b?c=d", "hooks.example")
    assert target_of("http://[::1]:8080").header == "[::1]:8080"
    assert target_of("http://h:80/").header == "h"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://h/secret-path",
        "file:///etc/passwd",
        "https://",
        "https:///secret-path",
        "https://user:secret@h/",
        "https://h:99999/secret-path",
        "https://h/ä-secret",
        "https://h/a secret",
        "https://h/\r\nX: secret",
        "https://[::1/secret",
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        target_of(url)
    assert "secret" not in str(error.value)

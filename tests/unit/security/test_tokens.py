"""Tokens: written from random bytes, kept as hashes, found in constant time, refused when weak or over."""

import base64
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from kedge.errors import ConfigError
from kedge.security.access import Right
from kedge.security.redact import HIDDEN, redact
from kedge.security.tokens import Token, find_holder, given_token, hash_of, presented_by

NOW = datetime(2013, 3, 1, tzinfo=UTC)
TEXT = "kedge_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"  # as the advice of `given_token` makes one


def token(text: str = TEXT, **changes) -> Token:
    return Token(**{"name": "ann", "hash": hash_of(text), "right": Right.READ, **changes})


def test_written_form() -> None:
    assert redact(f"got {TEXT}") == f"got {HIDDEN}"
    assert TEXT not in repr(token())


def test_the_right_token_is_found() -> None:
    other = token("another token of some length", name="bob")
    assert find_holder(TEXT, [other, token(), other], now=NOW) == token()


@pytest.mark.parametrize("presented", [None, "", " ", TEXT[:-1], TEXT + "x", TEXT.lower(), hash_of(TEXT), "ü"])
def test_other_tokens_are_not(presented) -> None:
    assert find_holder(presented, [token()], now=NOW) is None


def test_the_hash_of_nothing_opens_nothing() -> None:
    assert find_holder("", [token("")], now=NOW) is None
    assert find_holder(None, [token("")], now=NOW) is None


def test_no_tokens_no_holder() -> None:
    assert find_holder(TEXT, [], now=NOW) is None


def test_tokens_end() -> None:
    ends = token(expires_at=NOW)
    assert find_holder(TEXT, [ends], now=NOW - timedelta(microseconds=1)) == ends
    assert find_holder(TEXT, [ends], now=NOW) is None


def test_every_token_is_compared_in_constant_time(monkeypatch) -> None:
    compared = []

    def compare(one, two):
        compared.append((one, two))
        return one == two

    monkeypatch.setattr(hmac, "compare_digest", compare)
    find_holder(TEXT, [token(), token("b"), token("c")], now=NOW)
    assert len(compared) == 3
    assert {len(side) for pair in compared for side in pair} == {64}


def test_a_token_that_a_person_set() -> None:
    given = given_token(TEXT)
    assert (given.hash, given.right, given.name, given.expires_at) == (hash_of(TEXT), Right.ADMIN, "KEDGE_TOKEN", None)
    assert given_token(TEXT, name="x", right=Right.READ).right is Right.READ


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "too easy to guess"),
        ("admin", "too easy to guess"),
        ("short-but-random-X7", "too easy to guess"),
        ("a" * 64, "too easy to guess"),
        ("abcabcabc" * 9, "too easy to guess"),
        ("with space in the middle of it", "cannot stand in a header"),
        ("with-\n-newline-in-the-middle", "cannot stand in a header"),
        ("mit-Ümlaut-und-mehr-als-zwanzig", "cannot stand in a header"),
    ],
)
def test_weak_tokens_are_refused(text, message) -> None:
    with pytest.raises(ConfigError, match=f"KEDGE_TOKEN .*{message}.*; make one with"):
        given_token(text)


def test_an_error_never_shows_the_token() -> None:
    with pytest.raises(ConfigError) as caught:
        given_token("hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (f"Bearer {TEXT}", TEXT),
        (f"bearer  {TEXT} ", TEXT),
        (f"BEARER {TEXT}", TEXT),
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        (TEXT, None),
        (f"Basic {TEXT}", None),
        (f"Basic {base64.b64encode(f'any:{TEXT}'.encode()).decode()}", TEXT),
        (f"basic {base64.b64encode(f':{TEXT}'.encode()).decode()}", TEXT),
        (f"Basic {base64.b64encode(b'any:').decode()}", None),
        (f"Basic {base64.b64encode(b'any').decode()}", None),
        ("Basic \u00e9", None),
        ("Basic /////w==", None),
        (f"Bearer{TEXT}", None),
    ],
)
def test_authorization_headers(header, text) -> None:
    assert presented_by(header) == text

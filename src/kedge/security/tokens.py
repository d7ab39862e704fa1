"""API tokens: long random strings, kept only as hashes, with rights and an end. No passwords.

kedge_<43 letters of base64>     256 bits; SHA-256 needs no salt and no stretching for secrets that cannot be guessed
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime

import msgspec

from kedge.errors import ConfigError
from kedge.security.access import Right

PREFIX = "kedge_"
SECRET_BYTES = 32
SHORTEST = 20


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows of a token: for whom, its hash, what it may do, until when (None: until it is taken away)."""

    name: str
    hash: str
    right: Right
    expires_at: datetime | None = None


def hash_of(text: str) -> str:
    """Hash a token as it is kept: SHA-256, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def given_token(text: str, *, name: str = "KEDGE_TOKEN", right: Right = Right.ADMIN) -> Token:
    """Take a token that a person set. Raises ConfigError where it could be guessed or cannot travel in a header."""
    advice = f"make one with: python -c \"import secrets; print('{PREFIX}' + secrets.token_urlsafe({SECRET_BYTES}))\""
    if len(text) < SHORTEST or len(set(text)) < SHORTEST // 2:
        raise ConfigError(f"{name} is too easy to guess: under {SHORTEST} letters, or few different ones; {advice}")
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ConfigError(f"{name} holds letters that cannot stand in a header; {advice}")
    return Token(name=name, hash=hash_of(text), right=right)


def presented_by(header: str | None) -> str | None:
    """Read the token of an Authorization header: `Bearer TOKEN`, or the password of `Basic ...`, whatever the user's name.

    None for anything else.
    """
    scheme, _, text = (header or "").strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return text.strip() or None
        case "basic":
            try:
                return base64.b64decode(text.strip(), validate=True).decode().partition(":")[2] or None
            except ValueError:
                return None
    return None


def find_holder(presented: str | None, tokens: Iterable[Token], *, now: datetime) -> Token | None:
    """Find the token that was presented, unless it has ended.

    Every token is compared, in constant time, so that the time taken tells nothing.
    """
    hashed = hash_of(presented or "")
    found = None
    for token in tokens:
        same = hmac.compare_digest(token.hash, hashed)
        if same and presented and (token.expires_at is None or now < token.expires_at):
            found = token
    return found

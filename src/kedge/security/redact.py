"""Secrets are taken out of whatever Kedge keeps or shows: tracebacks, params, tags, URLs, messages.

Found by what they look like: a password in a URL, a value whose name says that it is secret, a known token's prefix, a
private key, a long string without structure. Digests (plain hex) are names here and stay.
"""

import re
from collections.abc import Mapping
from itertools import pairwise

HIDDEN = "***"

# every repeat before a literal is bounded, so that no text can be made to be slow

# a token is a secret; tokens are counted (max_tokens), and text is made of them (tokenizer, token_type)
_ACCESS = r"token(?!i[sz]|s(?![a-z])|[_-]?(?:count|limit|length|type|budget))|(?:api|access|auth|refresh)[_-]?tokens"
_SECRET_NAME = re.compile(
    rf"passw|pwd|passphrase|secret|{_ACCESS}|(?:api|access|private|auth)[_-]?key|credential|authorization", re.IGNORECASE
)
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(-----END \1PRIVATE KEY-----|\Z)", re.DOTALL)
# the password ends at the last @ before the host: passwords may hold an unescaped @
_URL_PASSWORD = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@'\"]{0,200}:)[^\s/'\"]{1,500}(?=@)", re.IGNORECASE)
_BEARER = re.compile(r"\b(?P<scheme>bearer|basic)\s+(?!\*\*\*)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_NAMED = re.compile(
    rf"(?P<name>(?:{_SECRET_NAME.pattern})[\w.-]{{0,64}}[\"']?[ \t]{{0,8}}(?:=|:(?!//))[ \t]{{0,8}})"
    r"(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&)\]}\"']+)",
    re.IGNORECASE,
)
_KNOWN_ACCESS = re.compile(
    r"\b(?:kedge_|gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abprs]-|AKIA|ASIA|eyJ[A-Za-z0-9_-]{1,1000}\.)[A-Za-z0-9._-]{12,}"
)
_LONG = re.compile(r"(?<![A-Za-z0-9_+-])[A-Za-z0-9_+-]{32,}={0,2}")
_RANDOM_TURNS = 0.42  # random base64 changes between small, capital and digit at .62 of its letters, a name at .2 to .3


def looks_secret(name: str) -> bool:
    """Say whether a value of this name should never be shown."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """Put *** in the place of every secret in a text. A second time changes nothing."""
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _URL_PASSWORD.sub(rf"\g<before>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<scheme> {HIDDEN}", text)
    text = _NAMED.sub(_hide_value, text)
    text = _KNOWN_ACCESS.sub(HIDDEN, text)
    return _LONG.sub(lambda match: HIDDEN if _random(match[0]) else match[0], text)


def redacted(values: Mapping[str, str]) -> dict[str, str]:
    """Redact named values: those whose name looks secret entirely, the others where they hold a secret."""
    return {name: HIDDEN if looks_secret(name) and value else redact(value) for name, value in values.items()}


def _hide_value(match: re.Match[str]) -> str:
    value = match["value"]
    if value.lower() in {"bearer", "basic"}:  # `Authorization: Bearer ***`: what followed is already gone
        return match[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{match['name']}{quote}{HIDDEN}{quote}"


def _random(word: str) -> bool:
    """Say whether a long word has small and capital letters and digits, and goes from one to the other all the time."""
    kinds = [_kind(letter) for letter in word]
    turns = sum(one != other for one, other in pairwise(kinds))
    return {"small", "capital", "digit"} <= set(kinds) and turns > _RANDOM_TURNS * (len(word) - 1)


def _kind(letter: str) -> str:
    return "digit" if letter.isdigit() else "small" if letter.islower() else "capital" if letter.isupper() else "mark"

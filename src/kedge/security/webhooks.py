"""Signed messages between programs: who sent this body, and when.

    Kedge-Signature: t=UNIX,v1=HEX          HMAC-SHA256 over "UNIX." and the body; five minutes old at most
    X-Hub-Signature-256: sha256=HEX         HMAC-SHA256 over the body, as GitHub and those who follow it sign
A message is named by what was signed, so that one that is sent again is the same one.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from kedge.domain.ids import Digest, digest_bytes
from kedge.errors import SignatureInvalid

HEADER = "kedge-signature"
FOREIGN = "x-hub-signature-256"
FRESH = timedelta(minutes=5)


def sign(body: bytes, secret: str, *, at: datetime) -> str:
    """Sign a body: give the value of the header `Kedge-Signature`."""
    stamp = int(at.timestamp())
    return f"t={stamp},v1={_code(b'%d.' % stamp + body, secret)}"


def check(headers: Mapping[str, str], body: bytes, *, secret: str, now: datetime) -> Digest:
    """Check who signed a body (header names in lower case), and name the message. Raises SignatureInvalid."""
    if (told := headers.get(HEADER)) is not None:
        parts = dict(part.strip().partition("=")[::2] for part in told.split(","))
        stamp = parts.get("t", "")
        signed = stamp.encode() + b"." + body
        _require(_equal(parts.get("v1", ""), _code(signed, secret)), "its signature does not fit the secret")
        fresh = stamp.isascii() and stamp.isdecimal() and len(stamp) < 12
        age = abs(now - datetime.fromtimestamp(int(stamp), UTC)) if fresh else FRESH + FRESH
        _require(age <= FRESH, "it was signed more than five minutes ago; send it again, and check both clocks")
        return digest_bytes(signed)
    told = headers.get(FOREIGN, "")
    _require(bool(told), "it is not signed: send Kedge-Signature or X-Hub-Signature-256")
    _require(_equal(told.removeprefix("sha256="), _code(body, secret)), "its signature does not fit the secret")
    return digest_bytes(body)


def _code(signed: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _equal(told: str, wanted: str) -> bool:
    return hmac.compare_digest(told.encode(), wanted.encode())


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SignatureInvalid(f"the message is refused: {otherwise}")

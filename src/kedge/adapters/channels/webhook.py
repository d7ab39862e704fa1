"""A signed webhook: one JSON document a message, `Kedge-Signature: t=SECONDS,v1=HEX`.

HEX is the HMAC-SHA256, under the channel's secret, of the time, a dot and the body. A receiver computes it over the raw
body, compares in constant time, refuses a time that is minutes off, and drops an id that it has had (`docs/alerts.md`).
"""

import hashlib
import hmac
import time

import msgspec

from kedge.adapters.channels.posting import Poster
from kedge.domain.channels import Message

FORMAT = 1
SIGNATURE = "Kedge-Signature"


class WebhookChannel:
    """Sends each message to an address, signed where the channel has a secret."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    def send(self, message: Message) -> str:
        """Send a message; say what the receiver answered. Raises NotTold, ConfigError for a secret that is not there."""
        body, headers = document(message), {"Kedge-Delivery": message.id}
        if key := self._poster.key():
            headers[SIGNATURE] = signature(key, body, at=int(time.time()))
        return self._poster.post(body, headers=headers)


def document(message: Message) -> bytes:
    """Write a message as the document that receivers read. Keys are never taken away within a version."""
    notice, life = message.notice, message.notice.life
    alert = life.newest
    told = {
        "version": FORMAT,
        "id": message.id,
        "event": f"alert.{notice.move.value}",
        "at": notice.at,
        "project": message.project,
        "by": notice.actor,
        "reason": notice.reason,
        "alert": {
            "id": life.id,
            "model": life.model,
            "kind": life.kind,
            "severity": life.severity,
            "state": life.state,
            "subject": alert.subject,
            "message": alert.message,
            "opened_at": life.opened_at,
            "seen_at": life.seen_at,
            "count": life.count,
            "episode": life.episode,
            "evidence": alert.evidence,
            "limit": alert.limit,
            "window": alert.window,
            "url": message.url,
        },
    }
    return msgspec.json.encode(told)


def signature(key: str, body: bytes, *, at: int) -> str:
    """Sign a body: time in whole seconds since 1970, and HMAC-SHA256 over time, dot and body, in hex."""
    made = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={made}"

"""PagerDuty, Events API v2: an alert triggers, acknowledges and resolves one incident an episode, by its dedup_key."""

from typing import Any

import msgspec

from kedge.adapters.channels.posting import Poster
from kedge.adapters.channels.wording import facts, headline, said
from kedge.domain.alert_life import AlertMove
from kedge.domain.channels import Message

EVENTS = "https://events.pagerduty.com/v2/enqueue"
SUMMARY = 1024  # the most letters that it takes
_ACTIONS = {AlertMove.ACKNOWLEDGED: "acknowledge", AlertMove.RESOLVED: "resolve"}


class PagerDutyChannel:
    """Sends each message as an event. A test is resolved at once."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    def send(self, message: Message) -> str:
        """Send a message; say what PagerDuty answered. Raises NotTold, ConfigError without a routing key."""
        event = document(message, self._poster.key())
        answer = self._poster.post(msgspec.json.encode(event), usual=EVENTS)
        if message.notice.move is AlertMove.TESTED:
            answer = self._poster.post(msgspec.json.encode(event | {"event_action": "resolve"}), usual=EVENTS)
        return answer


def document(message: Message, key: str) -> dict[str, Any]:
    """Write a message as an event."""
    notice, life = message.notice, message.notice.life
    event: dict[str, Any] = {
        "routing_key": key,
        "event_action": _ACTIONS.get(notice.move, "trigger"),
        "dedup_key": f"kedge/{message.project}/{life.id}/{life.episode}",
        "client": "Kedge",
        "payload": {
            "summary": f"{headline(message)}. {said(message)}"[:SUMMARY],
            "source": message.project or life.model,
            "severity": life.severity.value,
            "timestamp": notice.at,
            "component": life.model,
            "group": life.kind.value,
            "class": life.newest.subject,
            "custom_details": dict(facts(message)) | {"delivery": message.id},
        },
    }
    if message.url:
        event["client_url"] = message.url
        event["links"] = [{"href": message.url, "text": "Why"}]
    return event

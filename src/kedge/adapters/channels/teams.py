"""Microsoft Teams, by a workflow that takes webhook requests: an adaptive card in a message."""

from typing import Any

from kedge.adapters.channels.wording import facts, headline, icon, said
from kedge.domain.alert_life import AlertState
from kedge.domain.alerting import AlertSeverity
from kedge.domain.channels import Message

CARD = "application/vnd.microsoft.card.adaptive"
_COLOURS = {AlertSeverity.INFO: "accent", AlertSeverity.WARNING: "warning", AlertSeverity.CRITICAL: "attention"}
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\*_[]()#~`"})


def document(message: Message) -> dict[str, Any]:
    """Write a message as an adaptive card, version 1.4."""
    life = message.notice.life
    colour = "good" if life.state is AlertState.RESOLVED else _COLOURS[life.severity]
    title = {"type": "TextBlock", "size": "medium", "weight": "bolder", "wrap": True, "color": colour}
    rows = [{"title": name, "value": _plain(value)} for name, value in facts(message)]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            title | {"text": _plain(f"{icon(message)} {headline(message)}")},
            {"type": "TextBlock", "wrap": True, "text": _plain(said(message))},
            {"type": "FactSet", "facts": rows},
            {"type": "TextBlock", "isSubtle": True, "size": "small", "text": f"Kedge, delivery {message.id}"},
        ],
    }
    if message.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Why", "url": message.url}]
    return {"type": "message", "attachments": [{"contentType": CARD, "contentUrl": None, "content": card}]}


def _plain(text: str) -> str:
    """Write text so that nothing in it is a mark of Markdown."""
    return text.translate(_MARKS)

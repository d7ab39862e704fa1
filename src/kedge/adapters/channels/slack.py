"""Slack, by an incoming webhook: a header, what happened, the figures, and a button to the page (Block Kit)."""

from typing import Any

from kedge.adapters.channels.wording import facts, headline, icon, said
from kedge.domain.channels import Message

HEADER, SECTION, FIELD = 150, 3000, 2000  # the most letters that Block Kit takes


def document(message: Message) -> dict[str, Any]:
    """Write a message as blocks; `text` is what a notification shows."""
    title = f"{icon(message)} {headline(message)}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title[:HEADER], "emoji": True}},
        {"type": "section", "text": {"type": "mrkdwn", "text": escaped(said(message))[:SECTION]}},
        {"type": "section", "fields": [_field(name, value) for name, value in facts(message)]},
    ]
    if message.url:
        button = {"type": "button", "text": {"type": "plain_text", "text": "Why"}, "url": message.url}
        blocks.append({"type": "actions", "elements": [button]})
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"Kedge, delivery {message.id}"}]})
    return {"text": escaped(f"{title}. {said(message)}")[:SECTION], "blocks": blocks}


def escaped(text: str) -> str:
    """Write text so that nothing in it is a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _field(name: str, value: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": f"*{name}*\n{escaped(value)}"[:FIELD]}

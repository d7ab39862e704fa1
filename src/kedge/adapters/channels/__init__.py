"""Channels by which people are told: one module each, made from a project's declaration.

Secrets are read when a message is sent, so that a rotated one is used at once and none stays in memory or in a record.
"""

from kedge.adapters.channels import slack, teams
from kedge.adapters.channels.log import LogChannel
from kedge.adapters.channels.mail import MailChannel
from kedge.adapters.channels.outgoing import Resolve, resolve
from kedge.adapters.channels.pagerduty import PagerDutyChannel
from kedge.adapters.channels.posting import DocumentChannel, Poster, Secret
from kedge.adapters.channels.webhook import WebhookChannel
from kedge.domain.channels import ChannelKind, ChannelRules
from kedge.ports import AlertChannel

__all__ = ["Secret", "channel"]


def channel(rules: ChannelRules, secret: Secret, *, resolver: Resolve = resolve) -> AlertChannel:
    """Make a channel."""
    poster = Poster(rules, secret, resolver=resolver)
    match rules.kind:
        case ChannelKind.LOG:
            return LogChannel()
        case ChannelKind.EMAIL:
            return MailChannel(rules, secret, resolver=resolver)
        case ChannelKind.WEBHOOK:
            return WebhookChannel(poster)
        case ChannelKind.SLACK:
            return DocumentChannel(poster, slack.document)
        case ChannelKind.TEAMS:
            return DocumentChannel(poster, teams.document)
        case ChannelKind.PAGERDUTY:
            return PagerDutyChannel(poster)

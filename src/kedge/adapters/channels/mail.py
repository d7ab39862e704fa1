"""Mail by SMTP: a plain and an HTML part, encrypted by STARTTLS unless the channel says otherwise.

All messages of an alert share a thread (References); the Message-ID is the delivery's id, so that a mail that was sent
twice can be told. A login never goes over a connection that is not encrypted, unless the server is this machine.
"""

from __future__ import annotations

import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape

from kedge.adapters.channels.outgoing import Resolve, pinned, resolve
from kedge.adapters.channels.posting import Secret
from kedge.adapters.channels.wording import facts, headline, icon, said
from kedge.domain.channels import ChannelRules, MailSecurity, Message
from kedge.domain.durations import seconds_of
from kedge.errors import NotTold

_PORTS = {MailSecurity.STARTTLS: 587, MailSecurity.SSL: 465, MailSecurity.NONE: 25}
_FINAL = 550


class MailChannel:
    """Sends each message as a mail."""

    def __init__(self, rules: ChannelRules, secret: Secret, *, resolver: Resolve = resolve) -> None:
        self._rules, self._secret, self._resolver = rules, secret, resolver

    def send(self, message: Message) -> str:
        """Send a mail; say what the server answered. Raises NotTold, ConfigError for a password that is not there."""
        rules = self._rules
        port = rules.port or _PORTS[rules.security]
        password = self._secret(rules.secret_env, rules.secret_file) if rules.user else ""
        address = pinned(rules.host, port, allow_private=rules.allow_private, resolver=self._resolver)
        try:
            with _server(rules, address, port=port) as server:
                if rules.user:
                    server.login(rules.user, password)
                refused = server.send_message(written(message, rules))
        except smtplib.SMTPException as error:
            raise _not_told(rules.host, error) from None
        except OSError as error:
            raise NotTold(f"{rules.host} ({address}) gave no answer within {rules.timeout}: {error}") from None
        left = f"; refused for {', '.join(refused)}" if refused else ""
        return f"250 taken for {len(rules.to) - len(refused)} of {len(rules.to)}{left}"


def written(message: Message, rules: ChannelRules) -> EmailMessage:
    """Write a mail."""
    notice = message.notice
    mail = EmailMessage()
    mail["Subject"] = f"[{notice.life.severity.value}] {headline(message)}"
    mail["From"] = _address(rules.sender)
    mail["To"] = [_address(one) for one in rules.to]
    mail["Date"] = format_datetime(notice.at)
    mail["Message-ID"] = f"<{message.id}@kedge>"
    mail["References"] = f"<{notice.life.id}.{notice.life.episode}@kedge>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Kedge-Delivery"] = message.id
    told = "\n".join(f"{name}: {value}" for name, value in facts(message))
    link = f"\n\nWhy: {message.url}" if message.url else ""
    mail.set_content(f"{headline(message)}\n\n{said(message)}\n\n{told}{link}\n")
    mail.add_alternative(_page(message), subtype="html")
    return mail


def _page(message: Message) -> str:
    rows = "".join(
        f'<tr><th align="left" style="padding:2px 12px 2px 0">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in facts(message)
    )
    link = f'<p><a href="{escape(message.url)}">Why, and what to do</a></p>' if message.url else ""
    return (
        f'<html><body style="font-family:sans-serif"><h2>{icon(message)} {escape(headline(message))}</h2>'
        f"<p>{escape(said(message))}</p><table>{rows}</table>{link}</body></html>"
    )


def _address(text: str) -> Address:
    name, _, rest = text.rpartition("<")
    return Address(display_name=name.strip().strip('"'), addr_spec=rest.strip().removesuffix(">"))


def _server(rules: ChannelRules, address: str, *, port: int) -> smtplib.SMTP:
    """Connect to an address as the host that was named: its certificate is checked by that name. Raises NotTold."""
    timeout = seconds_of(rules.timeout)
    trust = ssl.create_default_context()
    if rules.security is MailSecurity.SSL:
        server: smtplib.SMTP = _PinnedTls(address, rules.host, port=port, timeout=timeout, trust=trust)
    else:
        server = smtplib.SMTP(timeout=timeout)
        server.connect(address, port)
        server._host = rules.host  # type: ignore[attr-defined]  # STARTTLS checks the certificate by it
    if rules.security is MailSecurity.STARTTLS:
        server.starttls(context=trust)
    return server


class _PinnedTls(smtplib.SMTP_SSL):
    """TLS from the first byte, to an address, by the certificate of a name."""

    def __init__(self, address: str, name: str, *, port: int, timeout: float, trust: ssl.SSLContext) -> None:
        super().__init__(timeout=timeout, context=trust)
        self._host = name
        self.connect(address, port)


def _not_told(host: str, error: smtplib.SMTPException) -> NotTold:
    if isinstance(error, smtplib.SMTPResponseException):
        words = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return NotTold(f"{host} answered {error.smtp_code} {words}", final=error.smtp_code >= _FINAL)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        each = "; ".join(f"{one}: {code} {words!r}" for one, (code, words) in error.recipients.items())
        return NotTold(f"{host} refused every recipient: {each}")
    return NotTold(f"{host}: {error}")

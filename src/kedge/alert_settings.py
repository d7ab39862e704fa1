"""`[alerts]` and `[alerts.NAME]` of the project file: how people are told, and by which channels.

[alerts]              rules: url, calm, escalate_after, escalate_to, remind, quiet_hours
[alerts.ops]          a channel named "ops": kind, url or url_env, secret_env or secret_file, severity, kinds ...
"""

import re
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from kedge.document import Document, choices_at
from kedge.domain.channels import AlertRules, ChannelKind, ChannelRules, quiet_hours, short_form
from kedge.domain.durations import seconds_of
from kedge.domain.outward import target_of
from kedge.domain.project import ProjectSpec
from kedge.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_RULES = tuple(field.name for field in msgspec.structs.fields(AlertRules) if field.name != "channels")
_BY_URL = (ChannelKind.WEBHOOK, ChannelKind.SLACK, ChannelKind.TEAMS)


def read_alerts(document: Document) -> AlertRules:
    """Read the section: its tables are channels, the rest are rules. Raises ConfigError with file and line."""
    table = document.table("alerts")
    channels = {
        name: _channel(document, name, written=written) for name, written in table.items() if isinstance(written, dict)
    }
    rules = {name: value for name, value in table.items() if not isinstance(value, dict)}
    for name in rules:
        if name not in _RULES:
            known = ", ".join(_RULES)
            document.fail(("alerts", name), f"alerts.{name} is not known; known are {known}, and channels: [alerts.{name}]")
    try:
        return msgspec.structs.replace(msgspec.convert(rules, AlertRules), channels=channels)
    except msgspec.ValidationError as error:
        document.fail(("alerts",), f"alerts: {_said(error)}")


def check_alerts(document: Document, spec: ProjectSpec) -> None:
    """Check that every channel that is named is declared, and every rule can be read. Raises ConfigError."""
    rules = spec.alerts
    for name in spec.monitoring.alerts:
        _check_named(document, name, rules=rules)
    for name in rules.escalate_to:
        if name not in rules.channels:
            document.fail(("alerts", "escalate_to"), f"alerts.escalate_to: {name!r} is no channel; declare [alerts.{name}]")
    if rules.escalate_to and not rules.escalate_after:
        document.fail(("alerts", "escalate_to"), 'alerts.escalate_to needs alerts.escalate_after, such as "1h"')
    for key in ("calm", "escalate_after", "remind"):
        _check(document, ("alerts", key), reads=seconds_of, text=getattr(rules, key))
    _check(document, ("alerts", "quiet_hours"), reads=quiet_hours, text=rules.quiet_hours)
    _check(document, ("alerts", "url"), reads=target_of, text=rules.url)


def _check_named(document: Document, name: str, *, rules: AlertRules) -> None:
    place = ("monitoring", "alerts")
    written = short_form(name)
    if written is not None:
        _check(document, place, reads=target_of, text=written[1] or "?")
    elif name != "log" and name not in rules.channels:
        shown = name.partition(":")[0]
        document.fail(
            place,
            f'monitoring.alerts: {shown!r} is no channel; write "log", "webhook:https://...", or declare [alerts.{shown}]',
        )


def _channel(document: Document, name: str, *, written: dict[str, Any]) -> ChannelRules:
    """Read one channel. Raises ConfigError."""
    if not NAME.fullmatch(name):
        document.fail(("alerts",), f'alerts: a channel is named {name!r}; write 1 to 63 letters, digits, "-" or "_"')
    try:
        rules = msgspec.convert(written, ChannelRules)
    except msgspec.ValidationError as error:
        _fail(document, name, message=_said(error))
    if rules.kind in _BY_URL and bool(rules.url) == bool(rules.url_env):
        _fail(document, name, message="give its address: either url, or url_env, the environment variable that holds it")
    if rules.kind is ChannelKind.PAGERDUTY and not (rules.secret_env or rules.secret_file):
        _fail(document, name, message="name its routing key: secret_env or secret_file")
    if rules.kind is ChannelKind.EMAIL:
        _check_mail(document, name, rules=rules)
    if rules.secret_env and rules.secret_file:
        _fail(document, name, message="secret_env and secret_file say the same thing twice; keep one")
    try:
        seconds_of(rules.timeout)
        if rules.url:
            target_of(rules.url)
    except (ValueError, ConfigError) as error:
        _fail(document, name, message=str(error))
    return rules


def _check_mail(document: Document, name: str, *, rules: ChannelRules) -> None:
    if not (rules.host and rules.sender and rules.to):
        _fail(document, name, message="a mail needs host, sender and to")
    if any("@" not in address or "\n" in address for address in (rules.sender, *rules.to)):
        _fail(document, name, message='sender and each of to must be an address, such as "Kedge <kedge@example.org>"')
    if rules.user and not (rules.secret_env or rules.secret_file):
        _fail(document, name, message=f"name the password of {rules.user!r}: secret_env or secret_file")


def _fail(document: Document, name: str, *, message: str) -> NoReturn:
    header = re.compile(rf"\s*\[\s*alerts\s*\.\s*\"?{re.escape(name)}\"?\s*\]")
    line = next((number for number, text in enumerate(document.lines, 1) if header.match(text)), document.line(("alerts",)))
    raise ConfigError(f"{document.path}, line {line}: alerts.{name}: {message}") from None


def _check(document: Document, place: tuple[str, str], *, reads: Callable[[str], object], text: str) -> None:
    try:
        if text:
            reads(text)
    except (ValueError, ConfigError) as error:
        document.fail(place, f"{'.'.join(place)}: {error}")


def _said(error: msgspec.ValidationError) -> str:
    text, _, path = str(error).partition(" - at `$")
    keys = tuple(re.findall(r"\.([A-Za-z_]\w*)", path))
    where = f"{'.'.join(keys)}: " if keys else ""
    return f"{where}{text[:1].lower()}{text[1:]}{choices_at(ChannelRules, keys)}"

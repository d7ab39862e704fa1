"""What channels have in common that are told by a POST of a JSON document to the address that the project names."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kedge.adapters.channels.outgoing import Resolve, post, resolve
from kedge.domain.channels import ChannelRules, Message

Secret = Callable[[str, str], str]
"""Reads a secret by the name of an environment variable, or of a file. Raises ConfigError."""


class Poster:
    """Posts to one channel's address. Secrets are read when they are used."""

    def __init__(self, rules: ChannelRules, secret: Secret, *, resolver: Resolve = resolve) -> None:
        self._rules, self._secret, self._resolver = rules, secret, resolver

    def key(self) -> str:
        """Read the channel's secret; "" where it names none. Raises ConfigError for one that is not there."""
        rules = self._rules
        return self._secret(rules.secret_env, rules.secret_file) if rules.secret_env or rules.secret_file else ""

    def post(self, body: bytes, *, headers: Mapping[str, str] | None = None, usual: str = "") -> str:
        """Send a body to the channel's address, or to the `usual` one where it names none; say what the receiver answered.

        Raises NotTold, ConfigError.
        """
        rules = self._rules
        answer = post(
            rules.url or (self._secret(rules.url_env, "") if rules.url_env else usual),
            body,
            headers=headers or {},
            timeout=rules.timeout,
            allow_private=rules.allow_private,
            resolver=self._resolver,
        )
        return str(answer)


class DocumentChannel:
    """Sends each message as the document that `write` makes of it, and nothing else."""

    def __init__(self, poster: Poster, write: Callable[[Message], dict[str, Any]]) -> None:
        self._poster, self._write = poster, write

    def send(self, message: Message) -> str:
        """Send a message; say what the receiver answered. Raises NotTold, ConfigError for an address that is not there."""
        return self._poster.post(msgspec.json.encode(self._write(message)))

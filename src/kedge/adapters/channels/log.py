"""Telling people by the log: logger `kedge.alerts`, level WARNING (what is resolved or acknowledged: INFO)."""

import logging

from kedge.domain.alert_life import AlertMove
from kedge.domain.channels import Message

_log = logging.getLogger("kedge.alerts")
_CALM = (AlertMove.RESOLVED, AlertMove.ACKNOWLEDGED)


class LogChannel:
    """Writes each message to the log."""

    def send(self, message: Message) -> str:
        """Write one message; its fields are attributes of the record, for handlers that want them."""
        life, move = message.notice.life, message.notice.move
        extra = {
            "alert_id": life.id,
            "alert_kind": life.kind.value,
            "model": life.model,
            "severity": life.severity.value,
            "move": move.value,
            "delivery": message.id,
        }
        said = life.newest.message if move is AlertMove.RAISED else f"{move.value}: {message.notice.reason}"
        level = logging.INFO if move in _CALM else logging.WARNING
        _log.log(level, "%s: %s: %s", life.model, life.kind.value, said, extra=extra)
        return "written to the log"

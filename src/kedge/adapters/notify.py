"""Telling people by the log (logger `kedge.alerts`, level WARNING), or not at all."""

import logging

from kedge.domain.monitoring import Alert

_log = logging.getLogger("kedge.alerts")


class LogNotifier:
    """Writes each alert to the log."""

    def notify(self, alert: Alert) -> None:
        """Write one alert; its fields are attributes of the record, for handlers that want them."""
        extra = {"alert_key": alert.key, "alert_kind": alert.kind.value, "model": alert.model}
        _log.warning("%s: %s: %s", alert.model, alert.kind.value, alert.message, extra=extra)


class SilentNotifier:
    """Tells nobody: for rehearsals, and projects with `alerts = []`. The alerts stand in the history all the same."""

    def notify(self, alert: Alert) -> None:
        """Keep quiet."""

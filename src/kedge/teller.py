"""The teller: a thread of the control plane that sends what people are to be told, in one process at a time.

It looks every few seconds whether anything is due; only then does it take the lease. A process that was killed holds it
for a minute.
"""

from __future__ import annotations

import logging
import threading

from kedge.app import House

_log = logging.getLogger("kedge.teller")


class AlertTeller:
    """Sends each `seconds`, from `start` to `stop`."""

    def __init__(self, house: House, *, seconds: float = 2.0) -> None:
        self._house, self._seconds = house, seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kedge-teller", daemon=True)
        self._said = ""

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self, seconds: float = 15.0) -> None:
        """End after the message that is under way; what is left is sent by the next process."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self._house.messenger.tick()
            except Exception as error:  # this thread's door: if it died, nobody would be told any more
                if str(error) != self._said:
                    self._said = str(error)
                    _log.error("alerts cannot be told now, they wait: %s", error)
                continue
            self._said = ""

"""Follows the deployment: a thread that looks for a newer revision and has the plane load it.

It outlives whatever a look meets, be it a store that is away or a version that is broken: what is active goes on
answering. A revision that failed is told once and tried again after a while, not at each look.
"""

import logging
import threading

from kedge.serving.plane import Plane

_log = logging.getLogger("kedge.serving")
_LOOKS_TO_REST = 50


class Follower:
    """Looks each `seconds` from `start` to `stop`."""

    def __init__(self, plane: Plane, *, seconds: float = 0.2) -> None:
        self._plane, self._seconds = plane, seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="kedge-follow", daemon=True)
        self._failed: int | None = None
        self._rest = 0
        self._told = ""

    def start(self) -> None:
        """Take a first look at once, so that what is deployed answers the first request; then go on looking."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way."""
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Look once. A failure is counted by the plane, and told when it is a new one."""
        self._rest -= 1
        if self._rest <= 0:
            self._failed = None
        try:
            self._plane.refresh(skip=self._failed)
        except Exception as error:  # this thread's door: if it died, no later revision would ever be served
            self._failed, self._rest = self._plane.wanted, _LOOKS_TO_REST
            if str(error) != self._told:
                self._told = str(error)
                _log.error("the deployment cannot be followed, what is active goes on serving: %s", error)

    def _follow(self) -> None:
        while not self._stopping.wait(self._seconds):
            self.look()

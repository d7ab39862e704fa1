"""Follows the deployments: a thread that looks for newer revisions and has the planes load them.

It outlives whatever a look meets, be it a store that is away or a version that is broken: what is active goes on
answering. A revision that failed is told once and tried again after a while, not at each look.
"""

import logging
import threading

from kedge.serving.host import Host
from kedge.serving.plane import Plane

_log = logging.getLogger("kedge.serving")
_LOOKS_TO_REST = 50


class Follower:
    """Looks each `seconds` from `start` to `stop`."""

    def __init__(self, host: Host, *, seconds: float = 0.2) -> None:
        self._host, self._seconds = host, seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="kedge-follow", daemon=True)
        self._failed: dict[str, _Failed] = {}

    def start(self) -> None:
        """Take a first look at once, so that what is deployed answers the first request; then go on looking."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way."""
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Look once at each model that was asked for. A failure is counted by its plane, and told when it is a new one."""
        for plane in self._host.planes:
            if plane.follows:
                self._look(plane, self._failed.setdefault(plane.model, _Failed()))

    def _look(self, plane: Plane, failed: "_Failed") -> None:
        failed.rest -= 1
        if failed.rest <= 0:
            failed.revision = None
        try:
            plane.refresh(skip=failed.revision)
        except Exception as error:  # this thread's door: if it died, no later revision would ever be served
            failed.revision, failed.rest = plane.wanted, _LOOKS_TO_REST
            if str(error) != failed.told:
                failed.told = str(error)
                _log.error("the deployment of %s cannot be followed, what is active goes on: %s", plane.model, error)

    def _follow(self) -> None:
        while not self._stopping.wait(self._seconds):
            self.look()


class _Failed:
    """What could not be loaded of one model: which revision, for how many looks it rests, and what was told of it."""

    def __init__(self) -> None:
        self.revision: int | None = None
        self.rest = 0
        self.told = ""

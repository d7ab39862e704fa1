"""The controller of rollouts: looks at every trial each few seconds, in one process at a time.

    any trial? -> the lease row (taken, or renewed) -> a live look at each model on trial
Who holds the lease looks; the others wait until it has ended. A process that was killed holds it for half a minute. The
rooms that judge are imported when a first trial is found: a control plane without one stays light.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

import msgspec

from kedge.app import House
from kedge.domain.ids import Digest, ModelName
from kedge.domain.rollout import RolloutLook
from kedge.windows import is_played

LEASE = Digest("controller:rollout")
LEASE_SECONDS = 30.0
_log = logging.getLogger("kedge.controller")


class Looker(msgspec.Struct, frozen=True, kw_only=True):
    """The process that looks at trials: its name, HOST:PID:MARK, and when another takes over if it was killed."""

    owner: str
    until: datetime


def looker(house: House) -> Looker | None:
    """Find which process looks at trials now; None where none does."""
    held = house.meta.runs.holder(LEASE)
    return None if held is None or held[1] <= house.clock.now() else Looker(owner=held[0], until=held[1])


class Controller:
    """Looks each `seconds` from `start` to `stop`, and tells each look to `told`."""

    def __init__(
        self, house: House, *, seconds: float = 2.0, told: Callable[[RolloutLook], None] | None = None, owner: str = ""
    ) -> None:
        self._house, self._seconds, self._told = house, seconds, told
        self._owner = owner or f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kedge-controller", daemon=True)
        self._said = ""

    def start(self) -> None:
        """Begin to look, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way, and let go of the lease."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._house.meta.runs.release(LEASE, self._owner)

    def tick(self) -> list[RolloutLook]:
        """Look once at every model on trial, where this process holds the lease."""
        trials = self._trials()
        if not trials or not self._leads():
            return []
        looks = []
        for model in trials:
            if self._stopping.is_set() or not self._leads():
                break
            look = self._house.live.look(self._house.spec, model)
            if look is not None:
                looks.append(look)
        return looks

    def _trials(self) -> list[ModelName]:
        """List the models on trial."""
        deployments = self._house.meta.deployments
        newest = ((name, deployments.find(name)) for name in deployments.names())
        on_trial = [name for name, found in newest if found is not None and found.challenger is not None]
        return [name for name in on_trial if not is_played(self._house, name)]

    def _leads(self) -> bool:
        """Take the lease, or renew it."""
        return self._house.meta.runs.claim(LEASE, self._owner, now=self._house.clock.now(), seconds=LEASE_SECONDS)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                looks = self.tick()
            except Exception as error:  # this thread's door: if it died, no trial would be guarded any more
                if str(error) != self._said:
                    self._said = str(error)
                    _log.error("a trial cannot be looked at, it holds: %s", error)
                continue
            self._said = ""
            for look in looks if self._told is not None else ():
                self._told(look)  # type: ignore[misc]

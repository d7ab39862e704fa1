"""What this process logs to: one channel for each store or server, and the runs that are open."""

import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from kedge.client.channel import Channel
from kedge.client.life import Watchman
from kedge.client.remote import RemoteDelivery
from kedge.domain.tracking import RunStatus
from kedge.scripts import StoreDelivery, left_spools, open_spool, target_of
from kedge.settings import Settings
from kedge.training import Delivery

if TYPE_CHECKING:
    from kedge.client.run import ActiveRun

EXIT_SECONDS = 10.0


class Process:
    """The one place that knows every channel and every open run of this process."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._open: list[ActiveRun] = []
        self._opening = threading.Lock()
        self._watchman = Watchman(self)
        self._parents: list[object] = []  # kept from being closed in a child: the parent uses them
        self.current: ContextVar[ActiveRun | None] = ContextVar("kedge_run", default=None)

    def channel(self, settings: Settings) -> Channel:
        """Find or open the channel to where the settings say."""
        where = target_of(settings)
        with self._opening:
            if where not in self._channels:
                self._channels[where] = Channel(
                    where,
                    spool=lambda: open_spool(settings),
                    delivery=lambda: delivery_to(settings),
                    left=lambda: left_spools(settings),
                )
            channel = self._channels[where]
        self._watchman.watch()
        channel.start()
        return channel

    def opened(self, run: "ActiveRun") -> None:
        """Note an open run."""
        self._open.append(run)

    def ended(self, run: "ActiveRun") -> None:
        """Note that a run ended."""
        if run in self._open:
            self._open.remove(run)

    def innermost(self) -> "ActiveRun | None":
        """Find the run that this thread is in, else the newest open one: threads do not inherit what they are in."""
        found = self.current.get()
        if found is not None and found.is_open:
            return found
        return self._open[-1] if self._open else None

    def end_all(self, status: RunStatus) -> None:
        """End the runs that are open, newest first, and the channels."""
        for run in reversed(self._open[:]):
            if run.owner == os.getpid():
                run.end(status, wait_seconds=0.0)
        for channel in list(self._channels.values()):
            channel.leave(EXIT_SECONDS)

    def settle(self, settings: Settings, seconds: float = EXIT_SECONDS) -> bool:
        """Bring what this process logged there, if it did; False where that took too long."""
        channel = self._channels.get(target_of(settings))
        return channel is None or channel.settle(seconds)

    def drain_all(self, seconds: float) -> None:
        """Hand all that was logged to the spools."""
        for channel in list(self._channels.values()):
            channel.drain(seconds)

    def forget_all(self) -> None:
        """Begin anew in a forked child: the runs stay open there, under channels of its own."""
        self._opening = threading.Lock()
        for channel in self._channels.values():
            channel.forget()
            self._parents.append(channel)
        self._channels = {}
        for run in self._open:
            run.forked()


def delivery_to(settings: Settings) -> Delivery:
    """Make the way to a control plane, or into a store."""
    return RemoteDelivery(settings.server, token=settings.token) if settings.server else StoreDelivery(settings)


PROCESS = Process()

"""Closes the loop without a hand, beside the control plane: has `kedge watch` run when a window has closed, or a training
was asked for.

Measuring, deciding and training take frame libraries and minutes, so a child does them; one at a time, on however many
machines (`windows.leading`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kedge.app import House
from kedge.child_keeper import ChildKeeper
from kedge.domain.alerting import raised
from kedge.monitoring.telling.alerts import stuck_alert
from kedge.security.redact import redact
from kedge.windows import is_due

SECONDS = 5.0


@contextmanager
def kept_closed(house: House) -> Iterator[None]:
    """Keep a house's loop closed meanwhile, and what it serves watched."""
    keeper = LoopKeeper(house)
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


class LoopKeeper(ChildKeeper):
    """Looks whether there is anything to watch or to answer."""

    def __init__(self, house: House, *, seconds: float = SECONDS) -> None:
        where = house.settings
        super().__init__(
            where.project,
            where.store,
            words=["watch", str(where.project), "--json"],
            seconds=seconds,
            complaint="a closed window was not watched",
            busy=None,
            log="kedge.loop",
        )
        self._house = house

    def due(self) -> bool:
        """Say whether a window has closed that was not watched, or a training was asked for and may be made."""
        return is_due(self._house)

    def failed(self, told: str) -> None:
        """Tell people as well: nothing is measured nor trained meanwhile, and silence would look like health."""
        super().failed(told)
        house, said = self._house, redact(told.splitlines()[-1][:300] if told else "it ended without a word")
        alert = stuck_alert(house.spec.name, at=house.clock.now(), said=said)
        house.meta.watches.raise_alert(alert, raised(alert))

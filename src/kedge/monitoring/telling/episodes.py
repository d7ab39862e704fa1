"""When people are told: once per episode, and once per silence.

An alarm that comes back before its condition has been gone for `alerts.calm` is the same episode: detectors start again
after each alarm, and a feature that stays away from its reference would otherwise ring every day. An episode and the
alert that tells of it end by one rule (`calm_windows`), so that whatever begins anew is told anew.
"""

import msgspec

from kedge.domain.alerting import AlertKind, alert_id
from kedge.domain.channels import CALM_WINDOWS
from kedge.domain.ids import ModelName

OF_THE_SERVICE = {AlertKind.SILENCE, AlertKind.OPERATIONS, AlertKind.BUSINESS}
"""Kinds of alarm that are about what is served, whichever version is champion."""


class Episodes(msgspec.Struct):
    """For each alarm (kind and subject of its alert), the number of the window that last saw it or its condition. More than
    `quiet` windows without either end its episode."""

    last: dict[str, int] = {}
    quiet: int = CALM_WINDOWS

    def begins(self, kind: AlertKind, number: int, *, subject: str = "") -> bool:
        """Note an alarm in a window, and say whether it begins an episode. Two subjects have episodes of their own."""
        goes_on = self.goes_on(kind, number, subject=subject)
        self.last[_episode(kind, subject)] = number
        return not goes_on

    def goes_on(self, kind: AlertKind, number: int, *, subject: str = "") -> bool:
        """Note that the condition of an alarm still holds in a window: its detector starts again after an alarm, and needs
        time for the next. False where no episode is under way; nothing is noted then."""
        last = self.last.get(_episode(kind, subject))
        if last is None or number - last > self.quiet:
            return False
        self.last[_episode(kind, subject)] = number
        return True

    def standing(self, model: ModelName, number: int) -> list[str]:
        """Name the alerts whose alarm or condition was noted in a window, told then or earlier."""
        seen = (name.partition(":") for name, last in self.last.items() if last == number)
        return [alert_id(model, AlertKind(kind), subject=subject) for kind, _, subject in seen]

    def forget(self) -> None:
        """Let the next alarm about the champion begin an episode: there is a new one."""
        self.last = {name: last for name, last in self.last.items() if AlertKind(name.partition(":")[0]) in OF_THE_SERVICE}


class Silence(msgspec.Struct):
    """How long something has not come, in windows, and the longest that it ever stayed away and came back."""

    came: bool = False
    quiet: int = 0
    longest: int = 0
    told: bool = False

    def heard(self, count: int, *, patience: int = 1) -> bool:
        """Take one window, and say whether the silence is longer than any before and not told yet.

        Once anything has come, `patience` times the longest quiet so far is normal (at least `patience` - 1 windows):
        nights and weekends are learnt.
        """
        if count:
            self.longest = max(self.longest, self.quiet)
            self.came, self.quiet, self.told = True, 0, False
            return False
        if not self.came:
            return False
        self.quiet += 1
        if self.told or self.quiet <= max(patience * self.longest, patience - 1):
            return False
        self.told = True
        return True


def _episode(kind: AlertKind, subject: str) -> str:
    return f"{kind.value}:{subject}" if subject else kind.value

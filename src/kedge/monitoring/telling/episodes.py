"""When people are told: once per episode, and once per silence.

An alarm that comes back before its condition has been gone for `alerts.calm` is the same episode: detectors start again
after each alarm, and a feature that stays away from its reference would otherwise ring every day. An episode and the
alert that tells of it end by one rule (`calm_windows`), so that whatever begins anew is told anew.
"""

from datetime import timedelta

import msgspec

from kedge.domain.alerting import AlertKind, alert_id
from kedge.domain.channels import CALM_WINDOWS
from kedge.domain.durations import span_of
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import MonitoringRules

WEEK = timedelta(days=7)
WEEKS_REMEMBERED = 8
USUAL_TIMES = 2
"""A silence of so many times the usual longest one is told."""

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
    """How long something has not come, in windows, whether that was told, and how long it stayed away before, in seconds:
    at most in the week under way, of which `known` are seen, and in each whole week before, the newest last."""

    came: bool = False
    quiet: int = 0
    told: bool = False
    known: float = 0.0
    gap: float = 0.0
    weeks: list[float] = []

    def heard(
        self, count: int, *, window: timedelta, first: timedelta, least: int = 0, declared: timedelta | None = None
    ) -> bool:
        """Take one window, and say whether the silence is longer than any that is usual, and not told yet.

        Twice the usual longest silence is normal: that is the second longest of eight weeks' longest, so that one outage
        teaches nothing, and nights and weekends do. Until a week has been seen, as much as `first` is. At `least` so many
        windows are normal. What is `declared` is held plainly instead.
        """
        length = window.total_seconds()
        if count:
            self.gap = max(self.gap, self.quiet * length)
            self.came, self.quiet, self.told = True, 0, False
        elif self.came:
            self.quiet += 1
        if not self.came:
            return False
        silent = self.quiet * length
        long = self._is_usual_twice(silent, first=first) if declared is None else silent >= declared.total_seconds()
        tells = not self.told and self.quiet > (least if declared is None else 0) and long
        self.told = self.told or tells
        self.known += length
        if count and self.known >= WEEK.total_seconds():  # a week ends when something comes: a longer silence is one
            self.weeks = [*self.weeks, self.gap][-WEEKS_REMEMBERED:]
            self.known = self.gap = 0.0
        return tells

    def _is_usual_twice(self, silent: float, *, first: timedelta) -> bool:
        if not self.weeks:
            return silent > first.total_seconds()
        longest = sorted(self.weeks, reverse=True)
        return silent > USUAL_TIMES * longest[min(1, len(longest) - 1)]


def silence_declared(rules: MonitoringRules, what: str) -> timedelta | None:
    """Give how long something may stay away; None where that is to be learnt."""
    text = rules.silence if isinstance(rules.silence, str) else rules.silence.get(what, "auto")
    return None if text == "auto" else span_of(text)


def _episode(kind: AlertKind, subject: str) -> str:
    return f"{kind.value}:{subject}" if subject else kind.value

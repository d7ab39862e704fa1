"""Alerts: what a person is told, once per episode. An alert says what, since when, how sure, and what follows.

An alarm that comes back within a week of windows is the same episode: detectors start again after each alarm, and a
feature that stays away from its reference would otherwise ring every day.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Alert, AlertKind, Drift, Risk, Window

QUIET_WINDOWS = 7
FEW_NAMES = 5


class Episodes(msgspec.Struct):
    """For each kind of alarm, the number of the window that last saw it."""

    last: dict[str, int] = {}

    def begins(self, kind: AlertKind, number: int) -> bool:
        """Note an alarm in a window, and say whether it begins an episode."""
        last = self.last.get(kind.value)
        self.last[kind.value] = number
        return last is None or number - last > QUIET_WINDOWS

    def forget(self) -> None:
        """Let the next alarm of any kind begin an episode: there is a new champion."""
        self.last.clear()


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


def drift_alert(
    model: ModelName, window: Window, *, at: datetime, drift: Sequence[Drift], evidence: float, limit: float
) -> Alert:
    """Tell that the inputs moved, naming the columns that did (or the one that speaks loudest)."""
    moved = sorted((one for one in drift if one.alarm), key=lambda one: -one.evidence)
    moved = moved or sorted(drift, key=lambda one: -one.evidence)[:1]
    names = ", ".join(one.column for one in moved[:FEW_NAMES])
    told = ", ".join(f"{one.column} ({one.stream})" for one in moved[:FEW_NAMES])
    more = f" and {len(moved) - FEW_NAMES} more" if len(moved) > FEW_NAMES else ""
    return Alert(
        key=_key(model, AlertKind.DATA_DRIFT, window=window),
        model=model,
        kind=AlertKind.DATA_DRIFT,
        message=f"{told}{more} moved away from the training data in the window that ended {window.end:%Y-%m-%d %H:%M}; "
        f"{odds(evidence, limit)}. Nothing is retrained by this alone",
        raised_at=at,
        subject=names,
        evidence=evidence,
        limit=limit,
    )


def answers_alert(model: ModelName, window: Window, *, at: datetime, version: int, evidence: float, limit: float) -> Alert:
    """Tell that the answers moved."""
    return Alert(
        key=_key(model, AlertKind.PREDICTION_DRIFT, window=window),
        model=model,
        kind=AlertKind.PREDICTION_DRIFT,
        message=f"the answers of version {version} moved away from those at its gate in the window that ended "
        f"{window.end:%Y-%m-%d %H:%M}; {odds(evidence, limit)}. Nothing is retrained by this alone",
        raised_at=at,
        subject=f"version {version}",
        evidence=evidence,
        limit=limit,
    )


def risk_alert(model: ModelName, window: Window, *, at: datetime, version: int, risk: Risk) -> Alert:
    """Tell that the live loss is above what was accepted."""
    return Alert(
        key=_key(model, AlertKind.RISK, window=window),
        model=model,
        kind=AlertKind.RISK,
        message=f"version {version} loses more than was accepted: at least {risk.lower:.4g} a row over {risk.days} days of "
        f"labels (95 % sure at any time), {risk.mean:.4g} on average; the limit is {risk.limit:.4g}",
        raised_at=at,
        subject=f"version {version}",
        evidence=risk.lower,
        limit=risk.limit,
    )


def silence_alert(model: ModelName, window: Window, *, at: datetime, what: str, windows: int) -> Alert:
    """Tell that predictions or labels stopped coming."""
    return Alert(
        key=f"{_key(model, AlertKind.SILENCE, window=window)}/{what}",
        model=model,
        kind=AlertKind.SILENCE,
        message=f"no {what} for {windows} {'window' if windows == 1 else 'windows'}, longer than ever before; the last "
        f"window ended {window.end:%Y-%m-%d %H:%M}",
        raised_at=at,
        subject=what,
    )


def odds(evidence: float, limit: float) -> str:
    """Say evidence as odds: "evidence 3,200 : 1, alarms at 1,000 : 1"."""
    shown = f"{evidence:,.0f}" if evidence < 1e9 else f"{evidence:.0e}"
    return f"evidence {shown} : 1, alarms at {limit:,.0f} : 1"


def _key(model: ModelName, kind: AlertKind, *, window: Window) -> str:
    return f"{model}/{kind.value}/{window.id}"

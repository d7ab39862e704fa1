"""Fairness, business metrics and operations over a model's newest windows: what the API, the commands and the page read."""

from datetime import datetime

import msgspec

from kedge.domain.fairness import Fairness
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Health
from kedge.domain.operations import Operations
from kedge.domain.worth import BusinessFound
from kedge.errors import NotFound
from kedge.ports import MetaStore


class DeclaredWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One window's figures; those that were not asked for, or not measured, are left out."""

    start: datetime
    end: datetime
    fairness: Fairness | None = None
    business: tuple[BusinessFound, ...] = ()
    operations: Operations | None = None


class DeclaredWindows(msgspec.Struct, frozen=True, kw_only=True):
    """A model's newest windows, oldest first."""

    model: ModelName
    windows: tuple[DeclaredWindow, ...]


def declared_windows(meta: MetaStore, model: ModelName, *, kind: str, limit: int) -> DeclaredWindows:
    """Read one kind of figures of a model's newest windows. NotFound where no window was measured."""
    healths = meta.watches.list(model, limit=limit)
    if not healths:
        raise NotFound(f"no window of {model!r} was measured yet; measure those that have closed with: kedge watch")
    return DeclaredWindows(model=model, windows=tuple(_window(health, kind) for health in healths))


def _window(health: Health, kind: str) -> DeclaredWindow:
    figures = {kind: getattr(health, kind)}
    return DeclaredWindow(start=health.window.start, end=health.window.end, **figures)

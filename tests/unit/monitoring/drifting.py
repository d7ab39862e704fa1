"""Streams to watch: twenty features, windows of them, and what the detectors say window by window."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from kedge.domain.monitoring import Profile, Window
from kedge.monitoring.drift.kept import DriftState
from kedge.monitoring.drift.reference import Reference, take_columns
from kedge.monitoring.drift.window import WindowDrift, look, watched
from kedge.monitoring.served import Gathered

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES, ROWS, RUN_LENGTH = 20, 1000, 1000.0
SPREADS = (1.0, 2.16, 1.41)  # standard deviations of the three kinds of feature


def draw(random, rows: int = ROWS, *, shift: float = 0.0, kinds: int = 3) -> dict[str, np.ndarray]:
    """Draw 20 features (normal, lognormal, gamma by turns); the first three are moved by `shift` standard deviations."""
    kind = (random.normal, random.lognormal, lambda size: random.gamma(2, size=size))
    return {
        f"f{i:02d}": kind[i % kinds](size=rows) + (shift * SPREADS[i % kinds] if i < 3 else 0.0) for i in range(FEATURES)
    }


def reference(columns: dict, tolerance="auto", *, block: int = ROWS) -> Reference:
    """Take a reference from columns of values, with blocks of so many rows."""
    frame = pl.DataFrame(columns, strict=False)
    learnt = take_columns(frame, frame.columns, blockings=[np.arange(len(frame)) // block], tolerance=tolerance)
    return Reference(
        version=1,
        profile=Profile(columns=learnt.profiles, rows=len(frame)),
        tolerances=learnt.tolerances,
        blocks=learnt.blocks,
    )


@dataclass
class Watcher:
    """A reference, and the state that windows leave."""

    reference: Reference

    def __post_init__(self) -> None:
        self.watch, self.state, self.number = watched(self.reference), DriftState(), 0

    def see(self, *parts: dict, hidden: frozenset[str] = frozenset()) -> WindowDrift:
        """Look at a window (a day), given in parts."""
        window = Window(BEGAN + timedelta(days=self.number), BEGAN + timedelta(days=self.number + 1))
        self.number += 1
        gathered = [Gathered(len(next(iter(part.values()), ())), part, hidden) for part in parts]
        return look(
            self.watch,
            self.state,
            window=window,
            number=self.number,
            parts=gathered,
            outputs=[],
            run_length=RUN_LENGTH,
        )


def alarms(watcher: Watcher, window: Callable[[int], dict], *, windows: int) -> list[tuple[int, list[str]]]:
    """Play windows; give the numbers (from 1) of those that alarmed, and the columns that each listed."""
    heard = []
    for number in range(1, windows + 1):
        seen = watcher.see(window(number))
        if seen.alarmed("data"):
            heard.append((number, [one.column for one in seen.drift if one.alarm]))
    return heard

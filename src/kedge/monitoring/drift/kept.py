"""The detectors as they are kept in the store between two windows: small, and the same whoever measures the next one."""

from datetime import datetime

import msgspec
import numpy as np

from kedge.monitoring.drift import detect, joint
from kedge.monitoring.drift.detect import Capital, Watch
from kedge.monitoring.drift.joint import JointMemory


class DetectorsKept(msgspec.Struct):
    """One family of detectors (the columns, or the answers), float64 bytes; empty before the first window."""

    log: bytes = b""
    since: bytes = b""
    excess: bytes = b""
    rows: bytes = b""
    joint_log: bytes = b""
    joint_since: bytes = b""


class MovedSince(msgspec.Struct, array_like=True):
    """Since when a column moved, and the number of the window that last listed it."""

    since: datetime
    last: int


class DriftState(msgspec.Struct):
    """The drift detectors after a window, and the columns that moved in the current episode."""

    data: DetectorsKept = msgspec.field(default_factory=DetectorsKept)
    answers: DetectorsKept = msgspec.field(default_factory=DetectorsKept)
    moved: dict[str, MovedSince] = {}

    def began(self, column: str, since: datetime, *, number: int, quiet: int) -> datetime:
        """Note that a column is listed in a window, and say since when it moved: within an episode, since its first. More
        than `quiet` windows in which it is not listed end the episode."""
        known = self.moved.get(column)
        first = known.since if known is not None and number - known.last <= quiet else since
        self.moved[column] = MovedSince(first, number)
        return first


def taken_up(watch: Watch, kept: DetectorsKept) -> tuple[Capital, JointMemory]:
    """Take up detectors where they were left; from the start where nothing is kept, or what is kept fits other bets."""
    likes = _arrays(detect.start(watch), joint.start(watch))
    written = (kept.log, kept.since, kept.excess, kept.rows, kept.joint_log, kept.joint_since)
    if any(len(data) != 8 * like.size for data, like in zip(written, likes, strict=True)):
        return detect.start(watch), joint.start(watch)
    log, since, excess, rows, joint_log, joint_since = (
        np.frombuffer(data, dtype="<f8").reshape(like.shape) for data, like in zip(written, likes, strict=True)
    )
    return Capital(log, since), JointMemory(excess, rows, Capital(joint_log, joint_since))


def left(capital: Capital, memory: JointMemory) -> DetectorsKept:
    """Leave detectors to be taken up."""
    return DetectorsKept(*(np.ascontiguousarray(one, dtype="<f8").tobytes() for one in _arrays(capital, memory)))


def _arrays(capital: Capital, memory: JointMemory) -> tuple[np.ndarray, ...]:
    return (capital.log, capital.since, memory.excess, memory.rows, memory.capital.log, memory.capital.since)

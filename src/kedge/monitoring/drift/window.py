"""One window's drift: its columns counted like the reference, distances to show, detectors to alarm."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from kedge.domain.channels import CALM_WINDOWS
from kedge.domain.monitoring import ColumnProfile, Drift, Profile, Window
from kedge.monitoring.drift import detect, joint
from kedge.monitoring.drift.distances import distances
from kedge.monitoring.drift.kept import DetectorsKept, DriftState, left, taken_up
from kedge.monitoring.drift.normal import unseen
from kedge.monitoring.drift.oddities import WindowSeen, notes_of
from kedge.monitoring.drift.profile import cell_count, place, profile_like
from kedge.monitoring.drift.reference import Reference
from kedge.monitoring.served import Gathered


class Watched(msgspec.Struct, frozen=True, eq=False):
    """A reference with its bets compiled: for the columns, and for the version's own answers where they are known; and
    what it leaves `untold`."""

    reference: Reference
    data: detect.Watch
    answers: detect.Watch
    untold: tuple[str, ...] = ()

    @property
    def families(self) -> int:
        """Count what can alarm: the columns together, and the answers. They share the declared run length."""
        return (1 if self.data.columns else 0) + (1 if self.answers.columns else 0)


class WindowDrift(msgspec.Struct, frozen=True, eq=False):
    """What a window showed: its profile, each column's drift, the evidence of both families and since when it grows (of
    those that alarm), the limit of each."""

    profile: Profile
    drift: tuple[Drift, ...]
    evidence: dict[str, float]
    since: dict[str, datetime]
    limit: float
    notes: tuple[str, ...]

    def alarmed(self, family: str) -> bool:
        """Say whether the columns ("data") or the answers ("prediction") alarm."""
        return self.evidence.get(family, 0.0) >= self.limit > 0


def watched(reference: Reference) -> Watched:
    """Compile a reference's bets."""
    answers = [reference.answers] if reference.answers is not None else []
    return Watched(
        reference,
        detect.compile_watch(reference.profile.columns, reference.tolerances),
        detect.compile_watch(answers, reference.tolerances),
        unseen(reference),
    )


def look(
    watch: Watched,
    state: DriftState,
    *,
    window: Window,
    number: int,
    parts: Iterable[Gathered],
    outputs: Sequence[float] | np.ndarray,
    run_length: float,
    quiet: int = CALM_WINDOWS,
) -> WindowDrift:
    """Take the window with this number into the detectors and say what moved. `outputs` are the champion's own answers;
    more than `quiet` windows in which a column is not listed end its episode.

    After an alarm the family that alarmed starts again from nothing.
    """
    limit = run_length * max(1, watch.families)
    looking = _Looking(state, at=window.start, number=number, limit=limit, quiet=quiet)
    known = watch.reference.profile.columns
    data = looking.family(watch.data, state.data, references=known, parts=parts)
    state.data = data.kept
    profile, notes = data.counted, notes_of(watch.reference, data.counted.columns, seen=data.seen, untold=watch.untold)
    families = {"data": data}
    if watch.reference.answers is not None:
        own = watch.reference.answers
        answered = Gathered(len(outputs), {own.name: np.asarray(outputs, dtype=np.float64)})
        answers = looking.family(watch.answers, state.answers, references=(own,), parts=[answered])
        state.answers = answers.kept
        families["prediction"] = answers
        profile = Profile(columns=(*profile.columns, *answers.counted.columns), rows=profile.rows)
    return WindowDrift(
        profile,
        tuple(one for family in families.values() for one in family.drift),
        {name: family.evidence for name, family in families.items()},
        {name: family.since for name, family in families.items() if family.since is not None},
        limit,
        notes,
    )


class _Family(msgspec.Struct, frozen=True, eq=False):
    """One family after a window: what was counted and seen, each column's drift, the evidence of all, since when it grew
    (None: no alarm), and the detectors for the next window."""

    counted: Profile
    seen: WindowSeen
    drift: tuple[Drift, ...]
    evidence: float
    since: datetime | None
    kept: DetectorsKept


class _Counted(msgspec.Struct, frozen=True, eq=False):
    """A window's columns counted: as a profile, as cells (columns, cells), and what their rows earned together."""

    profile: Profile
    table: np.ndarray
    earned: np.ndarray
    seen: WindowSeen


class _Looking:
    """What all columns of a look share: the window, the limit, and the episodes."""

    def __init__(self, state: DriftState, *, at: datetime, number: int, limit: float, quiet: int) -> None:
        self._state, self._at, self._number, self._limit, self._quiet = state, at.timestamp(), number, limit, quiet

    def family(
        self, watch: detect.Watch, kept: DetectorsKept, *, references: Sequence[ColumnProfile], parts: Iterable[Gathered]
    ) -> _Family:
        """Take a window into one family of detectors; after an alarm they start again from nothing."""
        capital, memory = taken_up(watch, kept)
        counted = _count(references, parts, width=watch.width, planned=joint.plan(watch, memory))
        capital = detect.step(watch, capital, counts=counted.table, at=self._at)
        memory = joint.step(watch, memory, counts=counted.table, earned=counted.earned, at=self._at)
        evidences = (1 - joint.WEIGHT) * detect.evidence(watch, capital)
        drift = self._drift(watch, capital, evidences=evidences, references=references, counted=counted.profile.columns)
        together = float(evidences.mean()) + joint.WEIGHT * joint.evidence(memory) if references else 0.0
        since = None
        if together >= self._limit:
            first = min((one.since for one in drift if one.since is not None), default=None)
            since = first or self._since("", joint.since(memory))  # none is sure by itself: since the joint bets earned
            capital, memory = detect.start(watch), joint.start(watch)
        return _Family(counted.profile, counted.seen, drift, together, since, left(capital, memory))

    def _drift(
        self,
        watch: detect.Watch,
        capital: detect.Capital,
        *,
        evidences: np.ndarray,
        references: Sequence[ColumnProfile],
        counted: Sequence[ColumnProfile],
    ) -> tuple[Drift, ...]:
        """Say of each column how far it moved and whether it is among those that did (e-d-BH)."""
        limits, listed = detect.limits(evidences, self._limit)
        streams, found = detect.leading(watch, capital), distances(references, counted)
        return tuple(
            Drift(
                column=reference.name,
                psi=found[index].get("psi", 0.0),
                jensen_shannon=found[index].get("jensen_shannon", 0.0),
                shift=found[index].get("total_variation" if reference.labels else "rank_shift", 0.0),
                evidence=float(evidences[index]),
                limit=float(limits[index]),
                alarm=bool(listed[index]),
                distances=found[index],
                stream=streams[index][0],
                since=self._since(reference.name, streams[index][1]) if listed[index] else None,
            )
            for index, reference in enumerate(references)
        )

    def _since(self, column: str, seconds: float) -> datetime:
        at = datetime.fromtimestamp(round(seconds), UTC)
        return self._state.began(column, at, number=self._number, quiet=self._quiet)


def _count(known: Sequence[ColumnProfile], parts: Iterable[Gathered], *, width: int, planned: joint.JointBets) -> _Counted:
    """Count a window's columns like the reference's, part by part, and let its rows earn what was planned."""
    table, earned, seen = np.zeros((len(known), width), dtype=np.int64), np.zeros(planned.bets.shape), WindowSeen()
    offsets = np.arange(len(known))[:, None] * width
    for part in parts:
        seen.add(part)
        placed = _placed(known, part, seen=seen)
        hidden = [index for index, column in enumerate(known) if column.name in part.hidden]
        counts = np.bincount((placed + offsets).ravel(), minlength=table.size).reshape(table.shape)
        counts[hidden] = 0  # nothing is known of these values, so nothing is counted and nothing bet on them
        table += counts
        earned += joint.earn(planned, placed, hidden=hidden)
    columns = tuple(profile_like(column, row[: cell_count(column)]) for column, row in zip(known, table, strict=True))
    return _Counted(Profile(columns=columns, rows=seen.rows), table.astype(np.float64), earned, seen)


def _placed(known: Sequence[ColumnProfile], part: Gathered, *, seen: WindowSeen) -> np.ndarray:
    """Find the cell of each row in each column: int64 (columns, rows). A column that did not come counts as missing."""
    placed = np.zeros((len(known), part.rows), dtype=np.int64)
    for index, column in enumerate(known):
        if column.name in part.hidden:
            continue
        if column.name not in part.columns:
            placed[index] = cell_count(column) - 1
            continue
        found = place(column, part.columns[column.name])
        placed[index] = found.cells
        seen.note(column.name, odd=found.odd, infinite=found.infinite)
    return placed

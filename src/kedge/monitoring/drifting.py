"""One window's drift: its columns counted like the reference, distances to show, detectors to alarm."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from kedge.domain.monitoring import ColumnProfile, Drift, Profile, Value
from kedge.monitoring import detect
from kedge.monitoring.drift import distances
from kedge.monitoring.profile import cells, count_like, merge
from kedge.monitoring.reference import Reference
from kedge.monitoring.served import Gathered
from kedge.monitoring.state import MonitorState, pack, unpack


class Watched(msgspec.Struct, frozen=True, eq=False):
    """A reference with its bets compiled: for the columns, and for the version's own answers where they are known."""

    reference: Reference
    data: detect.Watch
    answers: detect.Watch

    @property
    def families(self) -> int:
        """Count what can alarm: the columns together, and the answers. They share the declared run length."""
        return (1 if self.data.columns else 0) + (1 if self.answers.columns else 0)


class WindowDrift(msgspec.Struct, frozen=True, eq=False):
    """What a window showed: its profile, each column's drift, the evidence of both families, the limit of each."""

    profile: Profile
    drift: tuple[Drift, ...]
    evidence: dict[str, float]
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
    )


def look(
    watch: Watched,
    state: MonitorState,
    *,
    parts: Iterable[Gathered],
    outputs: Sequence[float],
    run_length: float,
) -> WindowDrift:
    """Take a window into the detectors and say what moved. `outputs` are the champion's own answers.

    After an alarm the family that alarmed starts again from nothing.
    """
    seen, notes = _count(watch.reference, parts)
    counted = seen.columns
    limit = run_length * max(1, watch.families)
    data = detect.step(watch.data, unpack(state.data, watch.data.start()), counts=[cells(column) for column in counted])
    drift, together = _drift(watch.data, data, references=watch.reference.profile.columns, counted=counted, limit=limit)
    evidence = {"data": together}
    state.data = pack(watch.data.start() if together >= limit else data)
    if watch.reference.answers is not None:
        answered, _ = count_like(watch.reference.answers, list(outputs))
        bets = detect.step(watch.answers, unpack(state.answers, watch.answers.start()), counts=[cells(answered)])
        of_answers, together = _drift(
            watch.answers, bets, references=[watch.reference.answers], counted=[answered], limit=limit
        )
        evidence["prediction"] = together
        state.answers = pack(watch.answers.start() if together >= limit else bets)
        drift, counted = (*drift, *of_answers), (*counted, answered)
    return WindowDrift(Profile(columns=counted, rows=seen.rows), drift, evidence, limit, notes)


def _count(reference: Reference, parts: Iterable[Gathered]) -> tuple[Profile, tuple[str, ...]]:
    """Count a window's columns like the reference's, part by part, and name what is odd."""
    known = reference.profile.columns
    window = Profile(columns=tuple(count_like(column, [])[0] for column in known), rows=0)
    came: dict[str, None] = {}
    hidden: set[str] = set()
    texts: Counter[str] = Counter()
    for part in parts:
        came |= dict.fromkeys(part.columns)
        hidden |= part.hidden
        counted = {column.name: count_like(column, _values(part, column.name)) for column in known}
        texts.update({name: found for name, (_, found) in counted.items()})
        window = merge(window, Profile(columns=tuple(column for column, _ in counted.values()), rows=part.rows))
    notes = [
        _odd(column, now, texts=texts[column.name], came=column.name in came)
        for column, now in zip(known, window.columns, strict=True)
    ]
    notes += [f"{name}: personal, so its values are not in the log and it is not watched" for name in sorted(hidden)]
    new = [name for name in came if name not in {column.name for column in known}]
    notes += [f"{name}: the column appeared; version {reference.version} was not trained on it" for name in new]
    return window, tuple(note for note in notes if note)


def _values(part: Gathered, name: str) -> Sequence[Value]:
    """Give a column's values: missing where it did not come, none where they are hidden, so that nothing is bet on it."""
    return part.columns.get(name, () if name in part.hidden else [None] * part.rows)


def _odd(known: ColumnProfile, now: ColumnProfile, *, texts: int, came: bool) -> str:
    """Name what is odd about a column of a window; "" for nothing."""
    if now.rows and not came:
        return f"{known.name}: the column vanished; all {now.rows} rows count as missing"
    if texts:
        return f"{known.name}: {texts} of {now.rows} values are text where numbers were expected"
    if now.rows and now.missing == now.rows and known.missing < known.rows:
        return f"{known.name}: all {now.rows} values are missing"
    return ""


def _drift(
    watch: detect.Watch,
    state: np.ndarray,
    *,
    references: Sequence[ColumnProfile],
    counted: Sequence[ColumnProfile],
    limit: float,
) -> tuple[tuple[Drift, ...], float]:
    """Say of each column how far it moved and whether it is among those that did (e-d-BH); and the evidence of all."""
    evidences = detect.evidence(watch, state)
    limits, listed = detect.limits(evidences, limit)
    streams, found = detect.leading_streams(watch, state), distances(references, counted)
    drift = tuple(
        Drift(
            column=reference.name,
            psi=found[place].get("psi", 0.0),
            jensen_shannon=found[place].get("jensen_shannon", 0.0),
            shift=found[place].get("total_variation" if reference.labels else "rank_shift", 0.0),
            evidence=float(evidences[place]),
            limit=float(limits[place]),
            alarm=bool(listed[place]),
            distances=found[place],
            stream=streams[place],
        )
        for place, reference in enumerate(references)
    )
    return drift, detect.together(evidences)

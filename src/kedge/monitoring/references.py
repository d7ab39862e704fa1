"""What each version calls normal: taken once when the loop releases it, or when it takes up a champion it has not made.

    training rows                  -> the profile of each column, and its own movement from window to window
    the gate's rows, answered      -> the profile of the answers, and the loss that was accepted
    the gate's rows, asked about   -> what they teach of estimates and causes (not where nobody is served)
Rows that somebody gives, or a version's own first answers, are taken by `given.py` and kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec

from kedge.domain.alerting import raised
from kedge.domain.durations import span_of
from kedge.domain.ids import Digest, ModelName
from kedge.domain.normal import CalledNormal
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import Candidate, ModelVersion, candidate_of, misfit
from kedge.errors import DataInvalid, KedgeError, NotFound, SourceFailed
from kedge.evaluation.room import Evaluation
from kedge.monitoring.drift.normal import normal_of
from kedge.monitoring.drift.reference import Reference, take
from kedge.monitoring.gate_rows import AskedAtGate, ask_at_gate
from kedge.monitoring.quality.at_gate import AtGate
from kedge.monitoring.telling import alerts
from kedge.ports import BlobStore, Clock, Notes, Runs, Watches

if TYPE_CHECKING:
    from kedge.features.frame import TrainingFrame

TRIED_ROWS = 1000
"""How many of the newest rows a champion that the loop has not made is asked, to see whether it can answer them."""
_Kept = TypeVar("_Kept", Reference, AtGate)


class References:
    """Takes, keeps and finds what versions call normal. Where it `serves` nobody, only what decisions read is taken."""

    def __init__(
        self,
        *,
        evaluation: Evaluation,
        runs: Runs,
        watches: Watches,
        blobs: BlobStore,
        notes: Notes,
        clock: Clock,
        serves: bool = True,
    ) -> None:
        self._evaluation, self._runs, self._watches = evaluation, runs, watches
        self._blobs, self._notes, self._clock, self._serves = blobs, notes, clock, serves

    def take(self, spec: ProjectSpec, version: ModelVersion, frame: TrainingFrame) -> None:
        """Keep what a version calls normal: the profile and own movement of its training rows, and the answers and the
        loss of the candidate that went through its gate on the newest step's rows. Once per version."""
        if self.has(spec.name, version.number):
            return
        asked = ask_at_gate(self._candidate(version), frame, evaluation=self._evaluation)
        taught = asked.taught(spec, version, evaluation=self._evaluation) if asked is not None and self._serves else None
        self._teach(spec.name, version.number, taught=taught)
        reference = take(
            frame,
            version=version.number,
            columns=[column.name for column in version.signature.inputs],
            window=span_of(spec.monitoring.window),
            tolerance=spec.monitoring.tolerance,
            answers=asked.answers if asked is not None else None,
            accepted=asked.accepted(spec) if asked is not None else None,
        )
        self.point(spec.name, version.number, to=self.write(reference))

    def take_up(self, spec: ProjectSpec, champion: ModelVersion, *, frame: Callable[[], TrainingFrame]) -> str:
        """Take a reference of a champion that the loop has not made, on the project's rows that were known when it was
        registered; tell people, once, what it lacks for being compared and watched. Gives that; "" for nothing."""
        if self.has(spec.name, champion.number):
            return ""
        task, rows = spec.data.task, None
        lacks = misfit(champion, task)
        try:
            if not lacks:
                known = frame()
                lacks = misfit(champion, task, columns=known.rows.columns)
                rows = None if lacks else known
        except (DataInvalid, SourceFailed) as error:
            lacks = str(error)
        if rows is not None and len(rows):
            _, lacks = self._evaluation.try_score(champion, rows.rows.tail(TRIED_ROWS), task=task)
        if lacks:
            at, number = self._clock.now(), champion.number
            alert = alerts.unwatched_alert(spec.name, number, at=at, lacks=lacks, drift=rows is not None)
            self._watches.raise_alert(alert, raised(alert))
        if rows is not None:
            self.take(spec, champion, rows)
            newest = rows.newest()
            if not lacks and len(newest):
                answers = self._evaluation.score(champion, newest.rows)
                self.learn(spec, champion, asked=AskedAtGate(champion, newest.rows, answers, newest.y()))
        return lacks

    def learn(self, spec: ProjectSpec, version: ModelVersion, *, asked: AskedAtGate) -> None:
        """Keep what labelled rows teach about a version that no gate of the loop has seen: what its features are worth, and
        a sample to hold later rows against. Nothing, where they are too few or cannot be read."""
        if not self._serves or self._candidate(version) is not None:
            return
        with suppress(KedgeError):  # the reference stands without it; the pages say what is missing
            self._teach(spec.name, version.number, taught=asked.taught(spec, version, evaluation=self._evaluation))

    def _teach(self, model: ModelName, number: int, *, taught: AtGate | None) -> None:
        if taught is not None:
            self._notes.put(_gate_note(model, number), self._blobs.put(msgspec.msgpack.encode(taught)).encode())

    def write(self, reference: Reference) -> Digest:
        """Write a reference that was taken elsewhere; it counts once a version is pointed to it."""
        return self._blobs.put(msgspec.msgpack.encode(reference))

    def point(self, model: ModelName, number: int, *, to: Digest) -> None:
        """Let a version call normal what was written, in place of what it called so before."""
        self._notes.put(_reference_note(model, number), to.encode())

    def has(self, model: ModelName, number: int) -> bool:
        """Say whether a version has a reference."""
        return self._notes.get(_reference_note(model, number)) is not None

    def find(self, model: ModelName, number: int) -> Reference | None:
        """Find what a version calls normal."""
        return self._read(_reference_note(model, number), Reference)

    def at_gate(self, model: ModelName, number: int) -> AtGate | None:
        """Find what the gate's rows taught about a version."""
        return self._read(_gate_note(model, number), AtGate)

    def normal(self, model: ModelName, number: int) -> CalledNormal:
        """Say what a version calls normal. Raises NotFound where it has no reference."""
        reference = self.find(model, number)
        if reference is None:
            raise NotFound(
                f"version {number} of {model!r} has no reference; the loop takes one when it releases a version, and for a "
                f"model registered by hand rows of the time when it was fit say it: kedge monitor normal {model} ROWS",
                what="reference",
                id=f"{model}/{number}",
            )
        return normal_of(reference)

    def _candidate(self, version: ModelVersion) -> Candidate | None:
        """Read the gate's candidate from its run; None where the run or its model is gone."""
        try:
            return candidate_of(self._runs.get(version.candidate_run))
        except NotFound:
            return None

    def _read(self, note: str, kind: type[_Kept]) -> _Kept | None:
        digest = self._notes.get(note)
        return msgspec.msgpack.decode(self._blobs.get(Digest(digest.decode())), type=kind) if digest else None


def _gate_note(model: ModelName, number: int) -> str:
    return f"monitoring:{model}:gate:{number}"


def _reference_note(model: ModelName, number: int) -> str:
    return f"monitoring:{model}:reference:{number}"

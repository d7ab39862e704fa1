"""The room's door: score a model, put a candidate through the gate, measure a gain, compute a logged answer again."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from kedge.domain.data import KNOWN_AT
from kedge.domain.evaluation import Gain, GateRules, Recomputed, Task, Verdict, conclude
from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import Digest, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.monitoring import PredictionBatch
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import ORIGINAL, Candidate, ModelVersion, Servable, misfit
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import KedgeError, ModelRefused, NotFound
from kedge.evaluation.agree import AGREEMENT, agreement
from kedge.evaluation.arrays import DTYPES, Arrays
from kedge.evaluation.compare import blocks_of
from kedge.evaluation.gate import Evidence, Opponent, columns_of, judge, require_sensible
from kedge.evaluation.load import ModelLoader
from kedge.evaluation.metrics import Vector, loss_name, loss_rows
from kedge.evaluation.parity import ComparedForm, ToExamine, tolerance_of
from kedge.features.encode import encode, encode_frame
from kedge.features.frame import TrainingFrame
from kedge.ports import BlobStore, Clock, Events

if TYPE_CHECKING:
    import polars as pl

ACTOR = "policy:gate"
COMPARED_ROWS = 20
FAULTS = (KedgeError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a model that the loop has not made may raise when it is asked for rows that it was not made for."""
JUDGES = {"gate": "The gate", AGREEMENT: "The refit's agreement"}


class Evaluation:
    """Judge models on rows that they have not seen. Houses that share models share their `loader`; `compare` compiles a
    model and compares the form, where a check asks."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        loader: ModelLoader,
        events: Events,
        clock: Clock,
        compare: Callable[[ToExamine], ComparedForm | None] | None = None,
    ) -> None:
        self._blobs, self._loader, self._events, self._clock = blobs, loader, events, clock
        self._compare = compare

    def score(self, model: Candidate | ModelVersion | Servable, columns: pl.DataFrame | Mapping[str, Any]) -> Vector:
        """Answer rows: a frame, or columns by name, to float64 (n,). The model is loaded once and kept."""
        signature = model.table if isinstance(model, Servable) else model.signature
        matrix = encode(signature, columns) if isinstance(columns, Mapping) else encode_frame(signature, columns)
        return self._loader.answer(model, matrix)

    def try_score(
        self, champion: ModelVersion, columns: pl.DataFrame | Mapping[str, Any], *, task: Task
    ) -> tuple[Vector | None, str]:
        """Answer a project's rows with its champion, whoever made that: its answers, or none and why not."""
        names = columns if isinstance(columns, Mapping) else columns.columns
        if problem := misfit(champion, task, columns=names):
            return None, problem
        try:
            return self.score(champion, columns), ""
        except FAULTS as error:
            if champion.run:  # the loop's own answered such rows at its gate: this is a fault of ours
                raise
            return None, f"it cannot answer these rows: {error}"

    def run(self, model: Servable, inputs: Arrays) -> dict[str, np.ndarray]:
        """Answer named arrays. The model is loaded once and kept. Raises ModelRefused where its answers are not what its
        signature says."""
        return self._loader.run(model, inputs)

    def answers_in(self, form: str) -> bool:
        """Say whether a compiled form can answer here: whether its library is installed."""
        return self._loader.answers_in(form)

    def gate(self, spec: ProjectSpec, candidate: Candidate, *, against: ModelVersion | None, on: TrainingFrame) -> Verdict:
        """Judge a candidate by the project's checks on rows it has not seen, once: the verdict of the same candidate,
        champion, rows and rules is read again. A candidate whose refit is champion already (its turn was killed after
        the release) keeps the verdict it had. ConfigError for a check that could never be judged."""
        require_sensible(spec.gate, on.task, columns=on.rows.columns)
        if against is not None and against.candidate_run == candidate.run:
            return conclude(tuple(each for each in against.verdict.findings if each.check != AGREEMENT))
        rival = (against.number, against.digest, against.trained_upto) if against else None
        judged = (candidate.run, candidate.digest, candidate.trained_upto)
        key = digest_of("gate", spec.name, judged, rival, on.digest, on.upto, spec.gate)
        if (known := self._judged(key)) is not None:
            return known
        verdict = judge(self._evidence(spec.gate, candidate, against=against, on=on), spec.gate)
        facts: dict[str, Fact] = {"stage": "gate", "champion": against.number if against else None}
        self._record(key, spec, judged=candidate, verdict=verdict, facts=facts)
        return verdict

    def require_agreement(
        self, spec: ProjectSpec, final: Candidate, candidate: Candidate, *, on: TrainingFrame, after: Verdict
    ) -> Verdict:
        """Add to a verdict whether the refit answers like the candidate that was tested, on the same rows; once."""
        judged = (final.run, final.digest, candidate.run, candidate.digest)
        key = digest_of("agreement", spec.name, judged, on.digest, on.upto, after)
        if (known := self._judged(key)) is not None:
            return known
        rows, y, blocks = labelled(on)
        finding = agreement(
            on.task,
            y,
            refit=self.score(final, rows),
            candidate=self.score(candidate, rows),
            blocks=blocks,
            metric=loss_name(spec.gate.metric, on.task),
            threshold=spec.gate.threshold,
        )
        verdict = conclude((*after.findings, finding))
        self._record(key, spec, judged=final, verdict=verdict, facts={"stage": AGREEMENT, "candidate": candidate.run})
        return verdict

    def gain(self, spec: ProjectSpec, candidate: Candidate, *, over: ModelVersion | None, on: TrainingFrame) -> Gain | None:
        """Measure how much less a candidate loses than the champion, a row, on rows that neither has seen. None where
        there is no champion, no such row, or no usable answer."""
        if over is None:
            return None
        rows, y, _ = labelled(on)
        unseen = _unseen(rows, over, candidate=candidate)
        rows, y = rows.filter(unseen), y[unseen]
        if not len(y):
            return None
        metric = loss_name(spec.gate.metric, on.task)
        theirs, _ = self.try_score(over, rows, task=on.task)
        if theirs is None:
            return None
        both = (theirs, self.score(candidate, rows))
        losses = [loss_rows(metric, y, p=answers, threshold=spec.gate.threshold) for answers in both]
        mean = float(np.mean(losses[0] - losses[1]))
        gap = (candidate.trained_upto - over.trained_upto) / on.step
        return Gain(mean=mean, rows=len(y), gap=gap, cpu_seconds=candidate.cpu_seconds) if math.isfinite(mean) else None

    def recompute(
        self,
        model: ModelVersion | Servable,
        batch: PredictionBatch,
        *,
        row: int,
        call: Callable[[], Sequence[PredictionBatch]] = tuple,
    ) -> Recomputed:
        """Answer a logged row again, in the batch of rows it was answered in. NotFound where this version did not.

        Where requests were answered by one call of the model, `call` gives their records: they are asked for only where
        the request alone does not give the same bits, as few models mind what they are asked beside.
        """
        if isinstance(model, Servable) and model.tensors is not None:
            return self._tensors_again(model, model.tensors, batch=batch, row=row)
        rows = _rows_of(batch, model.number)
        if row not in rows:
            raise NotFound(
                f"version {model.number} of {model.model!r} did not answer row {row} of request {batch.request!r}"
            )
        used = batch.versions[row] == model.number
        logged = (batch.outputs if used else batch.shadow[model.number])[row]
        done = self._again(model, [batch], of=batch, row=row, logged=logged)
        if done.equal or model.number not in batch.calls:
            return done
        return self._again(model, [*call()] or [batch], of=batch, row=row, logged=logged)

    def _tensors_again(self, model: Servable, signature: TensorSignature, *, batch: PredictionBatch, row: int) -> Recomputed:
        """Answer a logged question of named arrays again, if the log has what it asked; each was a call by itself."""
        used = batch.versions[row] == model.number
        watched = signature.watched
        absent = [spec.name for spec in signature.inputs if spec.name not in batch.features or spec.name in batch.hidden]
        why = ""
        if absent:
            why = (
                f"its inputs {', '.join(absent)} are not in the log: it keeps those of one value a row, and no personal ones"
            )
        elif batch.rows:
            why = "some rows of its question are not in the log"
        elif not watched:
            why = "its signature says of no output that it is watched, so the log has no answer to compare with"
        if why:
            raise ModelRefused(f"version {model.number} of {model.model!r}: this answer cannot be computed again: {why}")
        inputs = {spec.name: _column_of(batch.features[spec.name], spec) for spec in signature.inputs}
        again = float(self.run(model, inputs)[watched].reshape(-1)[row])
        logged = float((batch.outputs if used else batch.shadow[model.number])[row])
        equal = struct.pack("<d", again) == struct.pack("<d", logged)
        return Recomputed(again=again, logged=logged, equal=equal, batch_rows=len(batch.versions))

    def _again(
        self,
        model: ModelVersion | Servable,
        batches: Sequence[PredictionBatch],
        *,
        of: PredictionBatch,
        row: int,
        logged: float,
    ) -> Recomputed:
        """Have a version answer the rows that it answered of some requests, in one call; give one request's row."""
        mine = [_rows_of(each, model.number) for each in batches]
        columns = {
            name: [each.features[name][i] for each, rows in zip(batches, mine, strict=True) for i in rows]
            for name in of.features
        }
        first = sum(len(rows) for each, rows in zip(batches, mine, strict=True) if _before(each, of, version=model.number))
        again = float(self.score(_as_answered(model, of), columns)[first + _rows_of(of, model.number).index(row)])
        equal = struct.pack("<d", again) == struct.pack("<d", logged)
        return Recomputed(again=again, logged=logged, equal=equal, batch_rows=sum(map(len, mine)))

    def _evidence(
        self, rules: GateRules, candidate: Candidate, *, against: ModelVersion | None, on: TrainingFrame
    ) -> Evidence:
        """Gather what the checks look at."""
        rows, y, blocks = labelled(on)
        opponent = None
        if against is not None:
            answers, problem = self.try_score(against, rows, task=on.task)
            opponent = Opponent(
                number=against.number,
                answers=answers,
                unseen=_unseen(rows, against, candidate=candidate),
                problem=f"champion {against.number} cannot be compared: {problem}",
            )
        columns = {name: rows[name].cast(str).fill_null("missing").to_list() for name in columns_of(rules)}
        answers = self.score(candidate, rows)
        compiled = self._compiled(candidate, rows) if any(check.parity for check in rules.checks) else None
        return Evidence(
            task=on.task, y=y, answers=answers, blocks=blocks, columns=columns, champion=opponent, compiled=compiled
        )

    def _compiled(self, candidate: Candidate, rows: pl.DataFrame) -> ComparedForm | None:
        """Compile a candidate, and compare the form with it."""
        if self._compare is None:
            return None
        asked = ToExamine(
            format=candidate.format,
            files=self._blobs.get_tree(candidate.digest),
            signature=candidate.signature,
            rows=encode_frame(candidate.signature, rows.head(COMPARED_ROWS)),
            tolerance=tolerance_of(candidate.format),
        )
        return self._compare(asked)

    def _judged(self, key: Digest) -> Verdict | None:
        """Read the verdict that was already reached under a key."""
        event = self._events.find(key)
        return msgspec.json.decode(self._blobs.get(Digest(str(event.facts["verdict"]))), type=Verdict) if event else None

    def _record(
        self, key: Digest, spec: ProjectSpec, *, judged: Candidate, verdict: Verdict, facts: dict[str, Fact]
    ) -> None:
        """Write the verdict and the event that names it."""
        digest = keep(self._blobs, verdict)
        why = f"{len(verdict.findings)} findings, all passed" if verdict.passed else "; ".join(verdict.reasons)
        self._events.append(
            Event(
                key=key,
                kind=EventKind.GATE_JUDGED,
                at=self._clock.now(),
                subject=spec.name,
                actor=ACTOR,
                message=f"{JUDGES[str(facts['stage'])]} {verdict.outcome.value} run {judged.run}: {why}",
                facts={"outcome": verdict.outcome.value, "verdict": digest, "run": judged.run, **facts},
                edges=(Edge(verdict_node(digest), Node(NodeKind.RUN, judged.run), "judged"),),
            )
        )


def _column_of(values: Sequence[Any], spec: TensorSpec) -> np.ndarray:
    """Make a logged column the array that was asked, in its shape: [rows], or [rows, 1]."""
    array = np.empty(len(values), object) if spec.datatype == "BYTES" else np.array(values, DTYPES[spec.datatype])
    if spec.datatype == "BYTES":
        array[:] = values
    return array.reshape(len(values), *(1 for _ in spec.shape[1:]))


def _rows_of(batch: PredictionBatch, version: int) -> list[int]:
    """List the rows of a request that went through a version in one call."""
    return next((rows for number, rows in batch.batches if number == version), [])


def _before(batch: PredictionBatch, other: PredictionBatch, *, version: int) -> bool:
    """Say whether a request's rows came before another's in the call that both were part of."""
    return batch is not other and batch.calls[version][1] < other.calls[version][1]


def _as_answered(model: ModelVersion | Servable, batch: PredictionBatch) -> ModelVersion | Servable:
    """Give a version in the form in which it answered a batch. Raises ModelRefused where that form is not there."""
    logged = batch.forms.get(model.number, ORIGINAL)
    if logged == (model.form if isinstance(model, Servable) else ORIGINAL):
        return model
    if logged == ORIGINAL and isinstance(model, Servable):
        return msgspec.structs.replace(model, parity=None)
    raise ModelRefused(
        f"version {model.number} of {model.model!r} answered in the form {logged!r}, which the registry does not hold for it"
    )


def keep(blobs: BlobStore, verdict: Verdict) -> Digest:
    """Store a verdict by its content; the digest names it in the lineage graph."""
    return blobs.put(msgspec.json.encode(verdict))


def verdict_node(digest: Digest) -> Node:
    """Name a verdict in the lineage graph."""
    return Node(NodeKind.VERDICT, digest)


def labelled(frame: TrainingFrame) -> tuple[pl.DataFrame, Vector, np.ndarray[Any, np.dtype[np.int64]]]:
    """Take the rows that have a label: the rows, their labels (n,), and the day of each, counted back from the end."""
    y = frame.y()
    known = np.isfinite(y)
    rows = frame.rows if known.all() else frame.rows.filter(known)
    return rows, y[known], blocks_of(rows[KNOWN_AT].to_numpy(), frame.upto)


def _unseen(rows: pl.DataFrame, champion: ModelVersion, *, candidate: Candidate) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mark the rows that became known after the training data of both ended."""
    seen = max(champion.trained_upto, candidate.trained_upto).replace(tzinfo=None)
    return np.asarray(rows[KNOWN_AT].to_numpy() > np.datetime64(seen, "us"))

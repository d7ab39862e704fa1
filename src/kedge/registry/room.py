"""The room's door: register versions, move the champion alias, go back, read the history."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from kedge.domain.evaluation import Verdict
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import Digest, ModelName, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import (
    CHAMPION,
    ORIGINAL,
    AliasMove,
    Candidate,
    CatalogVersion,
    ModelVersion,
    Servable,
    servable_of,
    taken_up,
)
from kedge.errors import AliasConflict, AliasMoved, Conflict, ModelRefused, NotFound
from kedge.evaluation.arrays import same_bits, unpack_example
from kedge.evaluation.room import Evaluation, keep, verdict_node
from kedge.features.encode import encode_frame
from kedge.features.frame import TrainingFrame
from kedge.ports import BlobStore, Clock, Models, RegisteredModels, Tables
from kedge.registry.examining import Examiner
from kedge.registry.holders import previous_holder
from kedge.registry.moves import alias_moved

ACTOR = "policy:gate"
EXAMPLE_ROWS = 20
TRIES = 10  # at a number that another process may take first


class Registry:
    """Keep model versions, and say which one is champion."""

    def __init__(
        self,
        *,
        models: Models,
        blobs: BlobStore,
        tables: Tables,
        evaluation: Evaluation,
        clock: Clock,
        registered: RegisteredModels | None = None,
        examiner: Examiner | None = None,
    ) -> None:
        self._catalogued = registered
        self._refused: dict[Digest, str] = {}  # why files cannot be served: they never change
        self._models, self._blobs, self._tables = models, blobs, tables
        self._evaluation, self._clock, self._examiner = evaluation, clock, examiner

    def champion(self, model: ModelName) -> ModelVersion | None:
        """Find the version that the champion alias points to, as the loop sees it: one of its own, or one that a client or a
        person registered and that can be served; any other is none."""
        move = self._models.alias(model, CHAMPION)
        return self.find(model, move.number) if move is not None and move.number is not None else None

    def find(self, model: ModelName, number: int) -> ModelVersion | None:
        """Find a version as the loop sees it, whoever registered it; None where there is none that can be served."""
        if (own := self._models.find(model, number)) is not None:
            return own
        given = self._catalogued.find_version(model, number) if self._catalogued is not None else None
        try:
            return taken_up(self.servable(model, number), given.created_at) if given is not None else None
        except (ModelRefused, NotFound):
            return None

    def get(self, model: ModelName, number: int) -> ModelVersion:
        """Read a version. Raises NotFound."""
        version = self._models.find(model, number)
        if version is None:
            raise NotFound(f"model {model!r} has no version {number}; list its versions to see which there are")
        return version

    def history(self, model: ModelName) -> Sequence[AliasMove]:
        """List all moves of all aliases, oldest first."""
        return self._models.moves(model)

    def register(
        self, spec: ProjectSpec, final: Candidate, candidate: Candidate, verdict: Verdict, frame: TrainingFrame
    ) -> ModelVersion:
        """Make a version of a refit whose candidate passed the gate; the same run again is the same version.

        ModelRefused where the verdict did not pass.
        """
        if not verdict.passed:
            raise ModelRefused(
                f"run {final.run} did not pass the gate, so it is not registered: {'; '.join(verdict.reasons)}"
            )
        if (known := _made_by(final, self._models.list(spec.name))) is not None:
            return known
        version = ModelVersion(
            model=spec.name,
            number=0,
            digest=final.digest,
            format=final.format,
            run=final.run,
            candidate_run=candidate.run,
            signature=final.signature,
            service=frame.service,
            verdict=verdict,
            datasets=frame.versions,
            example=self._keep_example(final, frame),
            trained_upto=final.trained_upto,
            registered_at=self._clock.now(),
        )
        return self._add(version, self._examined(version))

    def servable(self, model: ModelName, number: int) -> Servable:
        """Give what is needed to serve a version. Raises NotFound; ModelRefused saying why it cannot be served.

        Where the library of its compiled form is not installed, the original answers.
        """
        known = self._models.servable(model, number) or self._found_out(model, number)
        if known.form != ORIGINAL and not self._evaluation.answers_in(known.form):
            return msgspec.structs.replace(known, parity=None)
        return known

    def keep_servable(self, prepared: Servable, version: CatalogVersion, *, actor: str) -> Servable:
        """Write what serving needs of a version that is no loop's, once, and give what is kept."""
        made = msgspec.structs.replace(prepared, model=version.model, number=version.number, run=version.run)
        event = Event(
            key=digest_of("model-servable", made.model, made.number, made.digest),
            kind=EventKind.MODEL_SERVABLE,
            at=self._clock.now(),
            subject=made.model,
            actor=actor,
            message=f"Version {made.number} of {made.model} can be served, in its form {made.form}",
            facts={"number": made.number, "digest": made.digest, "format": made.format, "form": made.form},
        )
        self._models.make_servable(made, event)
        return self._models.servable(made.model, made.number) or made

    def _found_out(self, model: ModelName, number: int) -> Servable:
        """Find out what serving needs of a version that nobody has looked at: the loop's own, or a client's files."""
        if (version := self._models.find(model, number)) is not None:
            return servable_of(version)
        given = self._catalogued.find_version(model, number) if self._catalogued is not None else None
        if given is None:
            raise NotFound(f"model {model!r} has no version {number}; list its versions to see which there are")
        if given.digest is None or self._examiner is None:
            raise ModelRefused(f"version {number} of {model!r} cannot be served: it had no files when it was registered")
        try:
            if (why := self._refused.get(given.digest)) is not None:
                raise ModelRefused(why)
            prepared = self._examiner.prepare_tree(given.digest)
        except ModelRefused as error:
            self._refused[given.digest] = str(error)
            raise ModelRefused(f"version {number} of {model!r} cannot be served: {error}") from error
        return self.keep_servable(prepared, given, actor=given.actor or ACTOR)

    def verify(self, version: ModelVersion | Servable) -> None:
        """Load what answers and have it answer the example again: ModelRefused where an answer is not bit for bit what it
        was at registration; StoreBroken where a byte of its files has changed."""
        if isinstance(version, Servable) and version.tensors is not None:
            kept = unpack_example(self._blobs.get(version.example))
            self._require_same(version, same_bits(self._evaluation.run(version, kept.inputs), kept.outputs))
            return
        signature = version.table if isinstance(version, Servable) else version.signature
        example = self._tables.decode(self._blobs.get(version.example))
        logged = example[signature.output].to_numpy()
        if isinstance(version, Servable) and version.parity is not None and version.parity.holds:
            logged = np.array(version.parity.answers)
        again = self._evaluation.score(version, example.drop(signature.output))
        self._require_same(version, np.array_equal(again.view(np.uint64), logged.view(np.uint64)))

    def _require_same(self, version: ModelVersion | Servable, same: object) -> None:
        if not same:
            raise ModelRefused(
                f"version {version.number} of {version.model!r} answers its example rows otherwise than at registration;"
                " it runs in another environment or its files are not what was registered: register it anew"
            )

    def require_serial(self, model: ModelName, serial: int | None) -> None:
        """Check that the champion alias has moved so many times; None is content with any. Raises AliasConflict."""
        _require(self._models.alias(model, CHAMPION), serial)

    def promote(self, model: ModelName, number: int, *, actor: str, reason: str, serial: int | None = None) -> None:
        """Point the champion alias to a version; nothing where it does already.

        Where someone moved it meanwhile it is tried once more, unless it then points to a newer version or `serial` was
        given, the number of moves that the caller has seen: AliasConflict. Raises NotFound; ModelRefused for a version that
        cannot be served.
        """
        self.servable(model, number)
        try:
            self._point(model, number, actor=actor, reason=reason, serial=serial)
        except AliasConflict:
            if serial is not None:
                raise
            found = self._models.alias(model, CHAMPION)
            if found is not None and (found.number or 0) > number:
                raise
            self._point(model, number, actor=actor, reason=reason)

    def roll_back(self, model: ModelName, *, actor: str, reason: str, serial: int | None = None) -> int:
        """Point the champion alias to its previous holder, and give that version's number.

        Twice in a row goes two back, never forth again. NotFound where nothing was champion before.
        """
        moves = self._models.moves(model)
        there = {number for number in {move.number for move in moves} - {None} if self._is_servable(model, number)}
        previous = previous_holder([move for move in moves if move.number in {None, *there}])
        if previous is None:
            raise NotFound(f"model {model!r} has no champion before this one; promote a version by its number instead")
        self._point(model, previous, actor=actor, reason=reason, serial=serial)
        return previous

    def _is_servable(self, model: ModelName, number: int | None) -> bool:
        try:
            return number is not None and bool(self.servable(model, number))
        except (NotFound, ModelRefused):
            return False

    def _examined(self, version: ModelVersion) -> Servable:
        """Find out what serving needs of a version, a compiled form with its parity above all."""
        found = servable_of(version)
        if self._examiner is None:
            return found
        example = self._tables.decode(self._blobs.get(version.example)).drop(version.signature.output)
        return self._examiner.examine(found, encode_frame(version.signature, example))

    def _add(self, version: ModelVersion, servable: Servable) -> ModelVersion:
        """Write a version under the next free number. Raises Conflict where others were faster, time after time.

        Where another process was first under this run's key, its version is the one that counts.
        """
        for left in reversed(range(TRIES)):
            versions = self._models.list(version.model)
            if (known := _made_by(version, versions)) is not None:
                return known
            version = msgspec.structs.replace(version, number=self._models.last_number(version.model) + 1)
            try:
                numbered = msgspec.structs.replace(servable, number=version.number)
                self._models.add(version, self._registered(version), servable=numbered)
                break
            except Conflict:
                if not left:
                    raise
        return _made_by(version, self._models.list(version.model)) or version

    def _point(self, model: ModelName, number: int, *, actor: str, reason: str, serial: int | None = None) -> None:
        """Move the champion alias from where it is found now: compare and set."""
        found = self._models.alias(model, CHAMPION)
        _require(found, serial)
        if found is not None and found.number == number:
            return
        move = AliasMove(
            model=model,
            alias=CHAMPION,
            number=number,
            previous=found.number if found else None,
            serial=found.serial + 1 if found else 1,
            moved_at=self._clock.now(),
            actor=actor,
            reason=reason,
        )
        self._models.move(move, alias_moved(move))

    def _keep_example(self, final: Candidate, frame: TrainingFrame) -> Digest:
        """Store some of the newest rows with the answers that the model gives them in one batch."""
        newest = frame.newest().rows.select([column.name for column in final.signature.inputs])
        chosen = np.unique(np.linspace(0, len(newest) - 1, min(EXAMPLE_ROWS, len(newest))).astype(np.int64))
        rows = newest[chosen.tolist()]
        answers = pl.Series(final.signature.output, self._evaluation.score(final, rows), dtype=pl.Float64)
        return self._blobs.put(self._tables.encode(rows.with_columns(answers)))

    def _registered(self, version: ModelVersion) -> Event:
        """Make the event of a registration, with the edges that `why` walks."""
        made = Node(NodeKind.MODEL_VERSION, f"{version.model}@{version.number}")
        edges = (
            Edge(made, Node(NodeKind.RUN, version.run), "refit"),
            Edge(made, Node(NodeKind.RUN, version.candidate_run), "candidate"),
            Edge(made, verdict_node(keep(self._blobs, version.verdict)), "verdict"),
            *(Edge(made, Node(NodeKind.DATASET_VERSION, digest), "training data") for digest in version.datasets),
        )
        return Event(
            key=digest_of("model-registered", version.model, version.run),
            kind=EventKind.MODEL_REGISTERED,
            at=version.registered_at,
            subject=version.model,
            actor=ACTOR,
            message=f"Version {version.number} of {version.model} registered from run {version.run}",
            facts={"number": version.number, "digest": version.digest, "run": version.run},
            edges=edges,
        )


def _require(found: AliasMove | None, serial: int | None) -> None:
    if serial is not None and serial != (found.serial if found else 0):
        raise AliasMoved(CHAMPION, serial, found=found.serial if found else 0)


def _made_by(made: Candidate | ModelVersion, versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """Find the version that a run made."""
    return next((version for version in versions if version.run == made.run), None)

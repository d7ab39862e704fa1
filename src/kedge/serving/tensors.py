"""Answers of models of named arrays: checked against the signature, one call at a time in a thread of their own, logged.

    question -> arrays -> split (by request: its entity, or its id) -> model call -> journal -> answer
A challenger that fails harms nobody: the champion answers. The output that the signature calls watched is what the log's
readers look at; inputs and outputs of one value a row are logged as they are, larger arrays are not.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from time import monotonic

import msgspec
import numpy as np

from kedge.domain.ids import ModelName, RequestId, prediction_id
from kedge.domain.monitoring import COPIED, PredictionBatch, Value
from kedge.domain.predictions import Ack
from kedge.domain.rollout import Deployment, Strategy, takes_challenger
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import FAILURES, DeadlineExceeded, Overloaded, RequestInvalid
from kedge.evaluation.arrays import DTYPES
from kedge.serving.batch import back
from kedge.serving.calls import refused
from kedge.serving.inputs import column_of, require_whole
from kedge.serving.loader import Active, Loaded
from kedge.serving.log import PredictionLog
from kedge.serving.metrics import ModelMetrics
from kedge.serving.shadow import Shadow
from kedge.serving.wire.questions import OURS, InferRequest, InferResponse, Tensor

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Loaded, Arrays], dict[str, np.ndarray]]
VERSION = OURS[0]

_LATE = "the time was up before the model had answered; give it more, or ask again"


class TensorsAnswered(msgspec.Struct, kw_only=True, gc=False):
    """What the model's thread made of a question: the version that answered and its answers, why the challenger failed,
    the seconds of the record."""

    version: int
    answers: dict[str, np.ndarray] = {}
    failure: str = ""
    seconds: dict[str, float]


class TensorsCopied(msgspec.Struct, kw_only=True, gc=False):
    """A question that was answered, and what version `number` makes of it in shadow: its answers, or why it failed."""

    active: Active
    number: int
    bare: PredictionBatch
    answered: TensorsAnswered
    inputs: Arrays
    answers: dict[str, np.ndarray] = {}
    failure: str = ""
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """Tell how many rows it has."""
        return len(self.bare.versions)


class TensorCalls:
    """Answers questions to one model of named arrays. `most` may wait; `called` is told when its thread begins and ends."""

    def __init__(
        self,
        *,
        log: PredictionLog,
        metrics: ModelMetrics,
        most: int,
        most_copied: int,
        patience: float,
        called: Callable[[bool], None],
    ) -> None:
        self._run: Run = _run
        self._log, self._metrics, self._most, self._patience = log, metrics, most, patience
        self._called = called
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kedge-tensors")
        self.pending = 0
        self._shadow = Shadow[TensorsCopied](
            "tensors", call=self._answer_copies, done=self._log_copies, left_out=metrics.left_out.add, most_rows=most_copied
        )

    async def settled(self, seconds: float) -> bool:
        """Wait until what was copied to a version in shadow is logged, no longer than so many seconds; say whether it is."""
        return await self._shadow.settled(seconds)

    async def ask(
        self,
        question: InferRequest,
        active: Active,
        *,
        deployment: Deployment,
        named: tuple[str, RequestId],
        at: datetime,
        probe: bool,
    ) -> InferResponse:
        """Answer a question; `named` is its id as its caller knows it, and as the log does. Raises RequestInvalid,
        ModelRefused, Overloaded, DeadlineExceeded."""
        arrived = monotonic()
        signature = tensors_of(active)
        inputs = read_arrays(question.inputs, signature)
        rows = _rows(signature, inputs)
        wanted = _wanted(question, signature)
        if self.pending >= self._most:
            raise Overloaded(f"{self.pending} questions wait for {deployment.model!r} already; ask again in a moment")
        entity = question.entity or named[1]
        times = (arrived, question.deadline or arrived + self._patience)
        call = self._begun(lambda: self._answered(active, deployment, inputs=inputs, entity=entity, times=times))
        try:
            done = await asyncio.wait_for(call, max(0.0, times[1] - monotonic()))
        except TimeoutError:
            raise DeadlineExceeded(_LATE) from None
        version, answers = done.version, done.answers
        logged = False
        if not probe:
            bare = PredictionBatch(
                request=named[1],
                model=ModelName(question.model),
                at=at,
                revision=deployment.revision,
                service="",
                entities=[question.entity] * rows if question.entity else [],
                versions=[version] * rows,
                features={},
                as_of={},
                outputs=[],
                batches=[(version, list(range(rows)))],
                errors=dict.fromkeys(range(rows), done.failure) if done.failure else {},
                seconds=done.seconds,
                roles=active.roles,
                variant=question.variant or "",
            )
            logged = await self._kept(bare, lambda record: _filled(record, done, inputs=inputs, signature=signature))
            challenger = deployment.challenger
            if logged and challenger is not None and deployment.strategy is Strategy.SHADOW:
                copy = TensorsCopied(active=active, number=challenger, bare=bare, answered=done, inputs=inputs)
                asyncio.get_running_loop().call_soon(self._shadow.put, [copy])
        self._count(done, active, deployment=deployment, rows=rows, arrived=arrived)
        return InferResponse(
            model=question.model,
            version=str(version),
            id=named[0],
            parameters=_said(active, named, logged=logged),
            outputs=[
                _added(name, named[1], version=version, rows=rows)
                if name in OURS and name not in answers
                else _tensor(name, answers, signature=signature)
                for name in wanted
            ],
        )

    async def _kept(self, bare: PredictionBatch, fill: Callable[[PredictionBatch], PredictionBatch]) -> bool:
        """Log an answered question, as safely as its answer is to wait for."""
        logged = self._log.append_filled(bare, fill)
        return await self._log.acknowledged() if logged and self._log.ack is Ack.SYNCED else logged

    def _begun(self, call: Callable[[], TensorsAnswered]) -> "asyncio.Future[TensorsAnswered]":
        """Have the thread make a call; it is pending until the thread is done with it, whoever still waits."""
        loop = asyncio.get_running_loop()
        work = self._thread.submit(call)
        self.pending += 1
        if self.pending == 1:
            self._called(True)
        future = asyncio.wrap_future(work)
        work.add_done_callback(lambda _: back(loop, self._returned))
        return future

    def _returned(self) -> None:
        self.pending -= 1
        self._called(False)
        if self.pending:
            self._called(True)

    def _answered(
        self, active: Active, deployment: Deployment, *, inputs: Arrays, entity: str, times: tuple[float, float]
    ) -> TensorsAnswered:
        """Call the model, in its thread."""
        began, (arrived, deadline) = monotonic(), times
        if began > deadline:
            raise DeadlineExceeded(_LATE)
        done = TensorsAnswered(version=deployment.champion, seconds={"queue": began - arrived, "predict": 0.0})
        challenger = deployment.challenger
        if challenger is not None and deployment.strategy is not Strategy.SHADOW and takes_challenger(deployment, entity):
            try:
                done.answers = self._timed(done, active.versions[challenger], inputs=inputs, trial=True)
                done.version = challenger
            except FAILURES as error:
                done.failure = f"{type(error).__name__}: {error}"
            done.seconds["predict"] = done.seconds["challenger"]
        if not done.answers:
            try:
                done.answers = self._timed(done, active.versions[deployment.champion], inputs=inputs, trial=False)
            except FAILURES as error:
                raise refused("the model failed on these inputs", error) from error
        return done

    def _answer_copies(self, copies: Sequence[TensorsCopied]) -> None:
        """Let the version in shadow answer, in its thread."""
        for copy in copies:
            began = monotonic()
            try:
                copy.answers = self._run(copy.active.versions[copy.number], copy.inputs)
            except FAILURES as error:
                copy.failure = f"{type(error).__name__}: {error}"
            copy.seconds = monotonic() - began

    def _log_copies(self, copies: Sequence[TensorsCopied]) -> None:
        """Say each record again, with what the version in shadow answered, and count it."""
        for copy in copies:
            bare = msgspec.structs.replace(copy.bare, variant=COPIED)
            if not self._log.append_filled(bare, partial(_copied, copy=copy)):
                self._metrics.left_out.add(copy.count)
            counted = self._metrics.version(copy.number, COPIED)
            counted.row_errors.add(copy.count if copy.failure else 0)
            counted.stages["predict"].observe(copy.seconds)

    def _timed(self, done: TensorsAnswered, loaded: Loaded, *, inputs: Arrays, trial: bool) -> dict[str, np.ndarray]:
        """Call one version, and note what its own call took."""
        began = monotonic()
        try:
            return self._run(loaded, inputs)
        finally:
            stage = "challenger" if trial else "predict"
            done.seconds[stage] = done.seconds.get(stage, 0.0) + monotonic() - began

    def _count(self, done: TensorsAnswered, active: Active, *, deployment: Deployment, rows: int, arrived: float) -> None:
        counted = self._metrics.version(done.version, active.roles[done.version])
        counted.requests[200].add()
        counted.rows.add(rows)
        counted.stages["queue"].observe(done.seconds["queue"])
        counted.stages["predict"].observe(done.seconds["predict"])
        counted.stages["total"].observe(monotonic() - arrived)
        if deployment.challenger is not None and done.failure:
            self._metrics.version(deployment.challenger, "challenger").row_errors.add(rows)


def _run(loaded: Loaded, inputs: Arrays) -> dict[str, np.ndarray]:
    return loaded.run(inputs)


def _filled(
    record: PredictionBatch, done: TensorsAnswered, *, inputs: Arrays, signature: TensorSignature
) -> PredictionBatch:
    """Add to a record what was asked and answered."""
    rows, watched = len(record.versions), signature.watched
    return msgspec.structs.replace(
        record,
        features=_columns(inputs, rows=rows),
        outputs=_watched(done.answers, signature, rows=rows),
        tensors=_columns({name: array for name, array in done.answers.items() if name != watched}, rows=rows),
    )


def _copied(record: PredictionBatch, copy: TensorsCopied) -> PredictionBatch:
    """Fill a record that is said again, with what the version in shadow made of the question."""
    rows, signature, number = copy.count, tensors_of(copy.active), copy.number
    filled = _filled(record, copy.answered, inputs=copy.inputs, signature=signature)
    everything = list(range(rows))
    return msgspec.structs.replace(
        filled,
        shadow={} if copy.failure else {number: _watched(copy.answers, signature, rows=rows)},
        errors=dict.fromkeys(everything, copy.failure) if copy.failure else {},
        batches=filled.batches if copy.failure else [*filled.batches, (number, everything)],
        seconds={**filled.seconds, "challenger": copy.seconds},
    )


def tensors_of(active: Active) -> TensorSignature:
    """Give the signature of what answers. Raises TypeError where that is a table."""
    signature = active.champion.tensors
    if signature is None:
        raise TypeError(f"{active.champion.model!r} answers tables, not tensors")
    return signature


def read_arrays(tensors: Sequence[Tensor], signature: TensorSignature) -> dict[str, np.ndarray]:
    """Check tensors against a signature, and give arrays. Raises RequestInvalid naming the input and what was expected."""
    known = {spec.name: spec for spec in signature.inputs}
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and tensors[0].name not in known and _of_numbers(signature):
        tensors = _parted(tensors[0], signature)
    given = [tensor.name for tensor in tensors]
    if unknown := [name for name in given if name not in known]:
        raise RequestInvalid(f"unknown input {', '.join(unknown)}; this model takes {', '.join(known)}")
    if len(set(given)) < len(given):
        raise RequestInvalid(f"input given twice: {', '.join(dict.fromkeys(n for n in given if given.count(n) > 1))}")
    if missing := [name for name in known if name not in given]:
        raise RequestInvalid(f"missing input {', '.join(missing)}; this model takes {', '.join(known)}")
    arrays = {tensor.name: _array(tensor, known[tensor.name]) for tensor in tensors}
    if signature.batched and len(lengths := {len(array) for array in arrays.values()}) > 1:
        raise RequestInvalid(f"inputs differ in their rows: {', '.join(map(str, sorted(lengths)))}")
    return arrays


def _of_numbers(signature: TensorSignature) -> bool:
    """Say whether each input is a column of numbers, so that one matrix can hold them all."""
    return signature.batched and all(s.shape == (-1,) and s.datatype not in ("BOOL", "BYTES") for s in signature.inputs)


def _parted(tensor: Tensor, signature: TensorSignature) -> list[Tensor]:
    """Part a matrix (rows, columns) into the inputs, in their order. A column takes what its datatype holds."""
    names = [spec.name for spec in signature.inputs]
    if tensor.shape[1] != len(names):
        raise RequestInvalid(
            f"input {tensor.name!r}: {tensor.shape[1]} columns, not {len(names)}: {', '.join(names)} in this order"
        )
    return [_fitted(column_of(tensor, spec.name, place=at), spec) for at, spec in enumerate(signature.inputs)]


def _fitted(column: Tensor, spec: TensorSpec) -> Tensor:
    """Make whole numbers float64, and floats that are whole int64; any other datatype is left to be refused."""
    data, missing, kind = column.data, column.missing, column.data.dtype.kind
    if spec.datatype == "INT64" and kind == "f":
        require_whole(spec.name, data)
        empty = np.isnan(data)
        missing = empty if missing is None else missing | empty
        data = np.where(empty, 0, data).astype(np.int64)
    elif spec.datatype == "FP64" and kind in "fiu":
        data = data.astype(np.float64) if missing is None else np.where(missing, np.nan, data.astype(np.float64))
    else:
        return column
    return Tensor(spec.name, spec.datatype, column.shape, data, missing)


def _array(tensor: Tensor, spec: TensorSpec) -> np.ndarray:
    if tensor.datatype != spec.datatype:
        raise RequestInvalid(f"input {spec.name!r}: datatype {tensor.datatype}, not {spec.datatype}")
    shape = tensor.shape
    if len(shape) == len(spec.shape) + 1 and shape[-1:] == (1,):
        shape = shape[:-1]  # a column as [rows, 1]
    wanted = ", ".join("any" if size == -1 else str(size) for size in spec.shape)
    if len(shape) != len(spec.shape) or any(w not in (-1, n) for w, n in zip(spec.shape, shape, strict=True)):
        raise RequestInvalid(f"input {spec.name!r}: shape {list(tensor.shape)}, not [{wanted}]")
    if 0 in shape:
        raise RequestInvalid(f"input {spec.name!r}: shape {list(tensor.shape)} has nothing in it")
    data = tensor.text() if spec.datatype == "BYTES" else tensor.data
    if not spec.nullable and (place := _first_empty(data, tensor.missing)) is not None:
        raise RequestInvalid(
            f"input {spec.name!r}: {place} has a missing or infinite value, and this model needs one everywhere"
        )
    return np.ascontiguousarray(data.reshape(shape), dtype=DTYPES[spec.datatype])


def _first_empty(data: np.ndarray, missing: np.ndarray | None) -> str | None:
    """Name the first row, and where it has several values the element, that has none or an infinite one."""
    empty = ~np.isfinite(data) if data.dtype.kind == "f" else np.zeros(data.shape, bool)
    if missing is not None:
        empty = empty | missing.reshape(data.shape)
    if not empty.any():
        return None
    row, *element = (int(place) for place in np.argwhere(empty)[0])
    return f"row {row}, element {', '.join(map(str, element))}" if any(element) else f"row {row}"


def _rows(signature: TensorSignature, inputs: Arrays) -> int:
    return len(inputs[signature.inputs[0].name]) if signature.batched and signature.inputs else 1


def _wanted(question: InferRequest, signature: TensorSignature) -> Sequence[str]:
    own = [spec.name for spec in signature.outputs]
    known = dict.fromkeys((*own, *OURS))
    if question.outputs is None:
        return own
    names = list(dict.fromkeys(each.name for each in question.outputs))
    if unknown := [name for name in names if name not in known]:
        raise RequestInvalid(f"unknown output {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def _said(active: Active, named: tuple[str, RequestId], *, logged: bool) -> dict[str, object]:
    """Say beside an answer where it comes from, and how the log knows it where that is not its id."""
    parameters = active.parameters if logged else {**active.parameters, "logged": False}
    return parameters if named[1] == named[0] else {**parameters, "request": named[1]}


def _added(name: str, request: RequestId, *, version: int, rows: int) -> Tensor:
    """Say of each row which version answered it, or by what id the log knows it."""
    if name == VERSION:
        return Tensor(name, "INT64", (rows,), np.full(rows, version, np.int64))
    return Tensor(name, "BYTES", (rows,), np.array([prediction_id(request, row) for row in range(rows)], object))


def _tensor(name: str, answers: Arrays, *, signature: TensorSignature) -> Tensor:
    datatype = next(spec.datatype for spec in signature.outputs if spec.name == name)
    return Tensor(name, datatype, answers[name].shape, answers[name])


def _watched(answers: Arrays, signature: TensorSignature, *, rows: int) -> list[float]:
    """Give the one number a row that the log's readers look at; NaN where the model has none."""
    if not signature.watched:
        return [float("nan")] * rows
    found: list[float] = answers[signature.watched].reshape(-1).astype(np.float64).tolist()
    return found


def _columns(arrays: Arrays, *, rows: int) -> dict[str, list[Value]]:
    """Give the arrays that have one value a row, as the log keeps them."""
    return {name: array.reshape(-1).tolist() for name, array in arrays.items() if array.size == rows == len(array)}

"""Answers of models of named arrays: checked against the signature, one call at a time in a thread of their own, logged.

    question -> arrays -> split (by request: its entity, or its id) -> model call -> journal -> answer
A challenger that fails harms nobody: the champion answers. The output that the signature calls watched is what the log's
readers look at; inputs and outputs of one value a row are logged as they are, larger arrays are not.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from time import monotonic

import numpy as np

from kedge.domain.ids import ModelName, RequestId, prediction_id
from kedge.domain.monitoring import PredictionBatch, Value
from kedge.domain.predictions import Ack
from kedge.domain.registry import Servable
from kedge.domain.rollout import Deployment, Strategy, takes_challenger
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import DeadlineExceeded, Overloaded, RequestInvalid
from kedge.evaluation.arrays import DTYPES
from kedge.rollout.split import FAILURES
from kedge.serving.batch import back
from kedge.serving.calls import refused
from kedge.serving.loader import Active
from kedge.serving.log import PredictionLog
from kedge.serving.metrics import ModelMetrics
from kedge.serving.wire.questions import OURS, InferRequest, InferResponse, Tensor

Arrays = Mapping[str, np.ndarray]
Answered = tuple[int, dict[str, np.ndarray], dict[int, dict[str, np.ndarray]], str, tuple[float, float]]
Run = Callable[[Servable, Arrays], dict[str, np.ndarray]]
VERSION = OURS[0]

_LATE = "the time was up before the model had answered; give it more, or ask again"


class TensorCalls:
    """Answers questions to one model of named arrays. `most` may wait; `called` is told when its thread begins and ends."""

    def __init__(
        self,
        *,
        run: Run,
        log: PredictionLog,
        metrics: ModelMetrics,
        most: int,
        patience: float,
        called: Callable[[bool], None],
    ) -> None:
        self._run, self._log, self._metrics, self._most, self._patience = run, log, metrics, most, patience
        self._called = called
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kedge-tensors")
        self.pending = 0

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
            version, answers, shadow, errors, seconds = await asyncio.wait_for(call, max(0.0, times[1] - monotonic()))
        except TimeoutError:
            raise DeadlineExceeded(_LATE) from None
        logged = False
        if not probe:
            logged = await self._kept(
                PredictionBatch(
                    request=named[1],
                    model=ModelName(question.model),
                    at=at,
                    revision=deployment.revision,
                    service="",
                    entities=[question.entity] * rows if question.entity else [],
                    versions=[version] * rows,
                    features=_columns(inputs, rows=rows),
                    as_of={},
                    outputs=_watched(answers, signature, rows=rows),
                    batches=[(version, list(range(rows)))],
                    shadow={number: _watched(each, signature, rows=rows) for number, each in shadow.items()},
                    errors=dict.fromkeys(range(rows), errors) if errors else {},
                    seconds={"queue": seconds[0], "predict": seconds[1]},
                    tensors=_columns({n: a for n, a in answers.items() if n != signature.watched}, rows=rows),
                    roles=active.roles,
                    variant=question.variant or "",
                )
            )
        self._count(active, version, rows=rows, arrived=arrived, seconds=seconds)
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

    async def _kept(self, record: PredictionBatch) -> bool:
        """Log an answered question, as safely as its answer is to wait for."""
        logged = self._log.append(record)
        return await self._log.acknowledged() if logged and self._log.ack is Ack.SYNCED else logged

    def _begun(self, call: Callable[[], Answered]) -> "asyncio.Future[Answered]":
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
    ) -> Answered:
        """Call the model, in its thread: the version that answered, its answers, those that were not used, the challenger's
        failure, the seconds waited and predicted."""
        began, (arrived, deadline) = monotonic(), times
        if began > deadline:
            raise DeadlineExceeded(_LATE)
        challenger, failure = deployment.challenger, ""
        shadow: dict[int, dict[str, np.ndarray]] = {}
        version, answers = deployment.champion, None
        if challenger is not None and deployment.strategy is not Strategy.SHADOW and takes_challenger(deployment, entity):
            try:
                version, answers = challenger, self._run(active.versions[challenger].servable, inputs)
            except FAILURES as error:
                version, failure = deployment.champion, f"{type(error).__name__}: {error}"
        if answers is None:
            try:
                answers = self._run(active.versions[deployment.champion].servable, inputs)
            except FAILURES as error:
                raise refused("the model failed on these inputs", error) from error
        if challenger is not None and deployment.strategy is Strategy.SHADOW:
            try:
                shadow[challenger] = self._run(active.versions[challenger].servable, inputs)
            except FAILURES as error:
                failure = f"{type(error).__name__}: {error}"
        return version, answers, shadow, failure, (began - arrived, monotonic() - began)

    def _count(self, active: Active, version: int, *, rows: int, arrived: float, seconds: tuple[float, float]) -> None:
        counted = self._metrics.version(version, active.roles[version])
        counted.requests[200].add()
        counted.rows.add(rows)
        counted.stages["predict"].observe(seconds[1])
        counted.stages["total"].observe(monotonic() - arrived)


def tensors_of(active: Active) -> TensorSignature:
    """Give the signature of what answers. Raises TypeError where that is a table."""
    signature = active.champion.tensors
    if signature is None:
        raise TypeError(f"{active.champion.model!r} answers tables, not tensors")
    return signature


def read_arrays(tensors: Sequence[Tensor], signature: TensorSignature) -> dict[str, np.ndarray]:
    """Check tensors against a signature, and give arrays. Raises RequestInvalid naming the input and what was expected."""
    known = {spec.name: spec for spec in signature.inputs}
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
    empty = tensor.missing is not None and bool(tensor.missing.any())
    if spec.datatype.startswith("FP"):
        empty = empty or not bool(np.isfinite(data).all())
    if empty and not spec.nullable:
        raise RequestInvalid(f"input {spec.name!r} has a missing or infinite value, and this model needs one everywhere")
    return np.ascontiguousarray(data.reshape(shape), dtype=DTYPES[spec.datatype])


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

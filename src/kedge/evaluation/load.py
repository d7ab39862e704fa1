"""Loaded models by digest: the few used last are kept, so that a champion is read and checked once, not at each gate.

Who serves models takes them out: it alone decides then what stays in memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from kedge.domain.ids import Digest
from kedge.domain.registry import ORIGINAL, Candidate, ModelVersion, Servable
from kedge.errors import FAILURES, ModelRefused, model_failed
from kedge.evaluation.arrays import Arrays, as_array, require_answers
from kedge.evaluation.metrics import Vector
from kedge.ports import BlobStore, CompiledForm, ModelFormat, Predictor, TensorFormat, TensorPredictor

Known = Candidate | ModelVersion | Servable


class ModelLoader:
    """Load models through their formats, and answer with them. `kept` models stay loaded."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        formats: Sequence[ModelFormat],
        tensors: Sequence[TensorFormat] = (),
        forms: Sequence[CompiledForm] = (),
        kept: int = 8,
    ) -> None:
        self._blobs, self._limit = blobs, kept
        self._formats = {each.name: each for each in formats}
        self._tensors = {each.name: each for each in tensors}
        self._forms = {each.name: each for each in forms}
        self._kept: OrderedDict[Digest, Predictor] = OrderedDict()
        self._opened: OrderedDict[Digest, TensorPredictor] = OrderedDict()
        self._lock = Lock()

    def answer(self, model: Known, matrix: np.ndarray[Any, np.dtype[np.float64]]) -> Vector:
        """Answer a matrix (n, inputs) with float64 (n,). ModelRefused where the model gives another shape."""
        if not len(matrix):
            return np.empty(0)
        # one memory layout for all callers: sums in another order would differ in their last bits
        answers = predicted(self.find(model), np.ascontiguousarray(matrix))
        if answers.shape != (len(matrix),):
            raise ModelRefused(
                f"model {model.digest[:12]} gave shape {answers.shape} for {len(matrix)} rows, not one answer a row"
            )
        return answers

    def find(self, model: Known) -> Predictor:
        """Give the loaded model, and keep it among those used last. Raises as `load` does."""
        key = files_of(model)
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        loaded = self.load(model)
        with self._lock:
            self._kept[key] = loaded
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return loaded

    def take(self, model: Known) -> Predictor:
        """Give the loaded model to who keeps it from now on: what is let go of there is in memory no more."""
        key, found = files_of(model), self.find(model)
        with self._lock:
            self._kept.pop(key, None)
        return found

    def take_tensors(self, model: Servable) -> TensorPredictor:
        """Give the loaded model of named arrays to who keeps it from now on. Raises as `load` does."""
        found = self._found(model)
        with self._lock:
            self._opened.pop(model.digest, None)
        return found

    def load(self, model: Known) -> Predictor:
        """Load a model anew, in the form that answers, every byte checked against its digest. Raises StoreBroken;
        ModelRefused where nothing here reads its format, or its files hold what is not allowed."""
        signature = model.table if isinstance(model, Servable) else model.signature
        if isinstance(model, Servable) and model.form != ORIGINAL:
            files = self._blobs.get_tree(files_of(model))
            fast = self._forms[model.form].load(files, columns=len(signature.inputs))
            return _Requiring(fast, model) if model.required else fast
        if (form := self._formats.get(model.format)) is None:
            raise ModelRefused(
                f"model {model.digest[:12]} is kept in format {model.format!r}; this Kedge reads {', '.join(self._formats)}"
            )
        return form.load(self._blobs.get_tree(model.digest), signature)

    def open(self, model: Servable) -> TensorPredictor:
        """Load a model of named arrays anew. Raises as `load` does."""
        form = self._tensors.get(model.format)
        if model.tensors is None or form is None:
            raise ModelRefused(
                f"version {model.number} of {model.model!r} is kept in format {model.format!r}, which has no tensors here"
            )
        return form.open(self._blobs.get_tree(model.digest), model.tensors)

    def run(self, model: Servable, inputs: Arrays) -> dict[str, np.ndarray]:
        """Answer named arrays with a model that is loaded once and kept. ModelRefused where its answers are not what its
        signature says."""
        return answers_of(self._found(model), model, inputs=inputs)

    def _found(self, model: Servable) -> TensorPredictor:
        with self._lock:
            if (kept := self._opened.get(model.digest)) is not None:
                self._opened.move_to_end(model.digest)
                return kept
        opened = self.open(model)
        with self._lock:
            self._opened[model.digest] = opened
            while len(self._opened) > self._limit:
                self._opened.popitem(last=False)
        return opened

    def answers_in(self, form: str) -> bool:
        """Say whether a compiled form can be loaded here."""
        return form in self._forms and self._forms[form].available()


def answers_of(opened: TensorPredictor, model: Servable, *, inputs: Arrays) -> dict[str, np.ndarray]:
    """Answer named arrays. ModelRefused where the answers are not what the signature says."""
    signature = model.tensors
    if signature is None:
        raise TypeError(f"version {model.number} of {model.model!r} answers tables, not tensors")
    rows = len(inputs[signature.inputs[0].name]) if signature.batched and signature.inputs else None
    try:
        given = opened.run(inputs)
    except (*FAILURES, KeyboardInterrupt):
        raise
    except BaseException as error:  # the model's own code may raise anything: it is no reason for this process to end
        raise model_failed(error) from error
    answers = {name: as_array(array) for name, array in given.items()}
    return require_answers(answers, signature, rows=rows)


def predicted(opened: Predictor, matrix: np.ndarray) -> Vector:
    """Answer a matrix as float64. What the model raises is one of FAILURES, whatever it is by itself."""
    try:
        return np.asarray(opened.predict(matrix), dtype=np.float64)
    except (*FAILURES, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise model_failed(error) from error


def files_of(model: Known) -> Digest:
    """Name the tree of the files that answer: the original's, or the compiled form's."""
    if isinstance(model, Servable) and model.form != ORIGINAL and model.parity is not None and model.parity.digest:
        return model.parity.digest
    return model.digest


class _Requiring:
    """A compiled form that refuses a missing value where the original does."""

    def __init__(self, fast: Predictor, model: Servable) -> None:
        self._fast = fast
        self._columns = [place for place, column in enumerate(model.table.inputs) if column.name in model.required]
        self._names = [model.table.inputs[place].name for place in self._columns]

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows. Raises ValueError naming the column that has no value."""
        if (missing := np.isnan(matrix[:, self._columns]).any(axis=0)).any():
            raise ValueError(f"column {self._names[int(missing.argmax())]!r} has no value, and this model needs one")
        return self._fast.predict(matrix)

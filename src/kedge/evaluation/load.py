"""Loaded models by digest: the few used last are kept, so that a champion is read and checked once, not at each gate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from kedge.domain.ids import Digest
from kedge.domain.registry import Candidate, ModelVersion, Servable, Signature
from kedge.errors import ModelRefused
from kedge.evaluation.metrics import Vector
from kedge.ports import BlobStore, ModelFormat, Predictor

Known = Candidate | ModelVersion | Servable


class ModelLoader:
    """Load models through their formats, and answer with them. `kept` models stay loaded."""

    def __init__(self, *, blobs: BlobStore, formats: Sequence[ModelFormat], kept: int = 8) -> None:
        self._blobs, self._limit = blobs, kept
        self._formats = {each.name: each for each in formats}
        self._kept: OrderedDict[Digest, Predictor] = OrderedDict()
        self._lock = Lock()

    def answer(self, model: Known, matrix: np.ndarray[Any, np.dtype[np.float64]]) -> Vector:
        """Answer a matrix (n, inputs) with float64 (n,). ModelRefused where the model gives another shape."""
        if not len(matrix):
            return np.empty(0)
        # one memory layout for all callers: sums in another order would differ in their last bits
        answers = np.asarray(self.find(model).predict(np.ascontiguousarray(matrix)), dtype=np.float64)
        if answers.shape != (len(matrix),):
            raise ModelRefused(
                f"model {model.digest[:12]} gave shape {answers.shape} for {len(matrix)} rows, not one answer a row"
            )
        return answers

    def find(self, model: Known) -> Predictor:
        """Give the loaded model, and keep it among those used last. Raises as `load` does."""
        with self._lock:
            if (kept := self._kept.get(model.digest)) is not None:
                self._kept.move_to_end(model.digest)
                return kept
        loaded = self.load(model)
        with self._lock:
            self._kept[model.digest] = loaded
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return loaded

    def load(self, model: Known) -> Predictor:
        """Load a model anew, every byte checked against its digest. Raises StoreBroken; ModelRefused where no format of
        this name is installed, or its files hold what is not allowed."""
        if (form := self._formats.get(model.format)) is None:
            raise ModelRefused(
                f"model {model.digest[:12]} is kept in format {model.format!r}; this Kedge reads {', '.join(self._formats)}"
            )
        return form.load(self._blobs.get_tree(model.digest), _signature(model))


def _signature(model: Known) -> Signature:
    return model.table if isinstance(model, Servable) else model.signature

"""scikit-learn models that read columns by name, texts among them, or that give more than one number a row.

    classifier            label, probabilities (n, classes); of two classes also probability, that of the second
    regressor             prediction, or predictions (n, outputs)
A pipeline gets its columns as a frame, with its own transforms in front of the estimator.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kedge.adapters.sklearn.format import read_model
from kedge.adapters.sklearn.trees import run_alone
from kedge.adapters.threads import OpenMp
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import ModelRefused

LABEL, CHANCES, CHANCE, VALUE, VALUES = "label", "probabilities", "probability", "prediction", "predictions"
_KINDS = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64", "U": "BYTES", "S": "BYTES", "O": "BYTES"}


def describe(files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature:
    """Say what a model takes and gives: a column each of the example's, in its order. Raises ModelRefused."""
    model = read_model(files)
    inputs = tuple(_column(name, example[name]) for name in _names(model, example))
    if hasattr(model, "predict_proba"):
        labels = _classes(model)
        outputs = [
            TensorSpec(name=LABEL, datatype=_KINDS[labels.dtype.kind], shape=(-1,)),
            TensorSpec(name=CHANCES, datatype="FP64", shape=(-1, len(labels)), labels=tuple(map(str, labels.tolist()))),
        ]
        if len(labels) == 2:
            outputs.append(TensorSpec(name=CHANCE, datatype="FP64", shape=(-1,), labels=(str(labels[1]),)))
        return TensorSignature(inputs=inputs, outputs=tuple(outputs), watched=CHANCE if len(labels) == 2 else "")
    width = np.asarray(model.predict(_table(model, example, names=[spec.name for spec in inputs]))).shape[1:]
    if not width:
        output = TensorSpec(name=VALUE, datatype="FP64", shape=(-1,))
        return TensorSignature(inputs=inputs, outputs=(output,), watched=VALUE)
    return TensorSignature(inputs=inputs, outputs=(TensorSpec(name=VALUES, datatype="FP64", shape=(-1, *width)),))


class SklearnTensors:
    """A loaded scikit-learn model that answers columns by name."""

    def __init__(self, files: Mapping[str, bytes], signature: TensorSignature) -> None:
        self._model = read_model(files)
        run_alone(self._model)
        self._names = [spec.name for spec in signature.inputs]
        self._outputs = {spec.name for spec in signature.outputs}
        self._threads = OpenMp()

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Answer columns, each an array (n,)."""
        rows = len(inputs[self._names[0]])
        table = _table(self._model, inputs, names=self._names)
        with self._threads.fitting(rows):
            if CHANCES not in self._outputs:
                answers = np.asarray(self._model.predict(table), dtype=np.float64)
                return {VALUES if VALUES in self._outputs else VALUE: answers}
            chances = np.asarray(self._model.predict_proba(table), dtype=np.float64)
        labels = _classes(self._model)
        found = {LABEL: labels[chances.argmax(axis=1)], CHANCES: chances}
        return found | ({CHANCE: np.ascontiguousarray(chances[:, 1])} if CHANCE in self._outputs else {})


def _column(name: str, values: np.ndarray) -> TensorSpec:
    if values.ndim != 1:
        raise ModelRefused(f"column {name!r} of the example has shape {values.shape}; a column has one value a row")
    kind = _KINDS.get(values.dtype.kind)
    if kind is None:
        raise ModelRefused(f"column {name!r} of the example is {values.dtype}; a model reads numbers, booleans and texts")
    return TensorSpec(name=name, datatype=kind, shape=(-1,), nullable=kind in ("FP64", "BYTES"))


def _names(model: Any, example: Mapping[str, np.ndarray]) -> list[str]:
    known = getattr(model, "feature_names_in_", None)
    if known is None:
        return list(example)
    if missing := [name for name in known.tolist() if name not in example]:
        raise ModelRefused(f"the example lacks {', '.join(missing)}, which the model was trained on")
    return [str(name) for name in known.tolist()]


def _classes(model: Any) -> np.ndarray:
    classes = getattr(model, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(classes) < 2:
        raise ModelRefused(
            f"a {type(model).__name__} that answers several questions at once is not served; train one for each"
        )
    if classes.dtype.kind in "US":
        return classes.astype(object)
    return classes.astype(np.int64) if classes.dtype.kind in "iu" else classes


def _table(model: Any, columns: Mapping[str, np.ndarray], *, names: list[str]) -> Any:
    """Lay columns out as the model was trained: a frame where it knows names, else one array."""
    if hasattr(model, "feature_names_in_"):
        import polars as pl

        texts = {name: columns[name].tolist() if columns[name].dtype == object else columns[name] for name in names}
        types = {name: pl.String() for name in names if columns[name].dtype == object}
        return pl.DataFrame({name: pl.Series(name, values, dtype=types.get(name)) for name, values in texts.items()})
    if any(columns[name].dtype == object for name in names):
        table = np.empty((len(columns[names[0]]), len(names)), dtype=object)
        for place, name in enumerate(names):
            table[:, place] = columns[name]
        return table
    return np.column_stack([columns[name].astype(np.float64) for name in names])

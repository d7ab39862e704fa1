"""scikit-learn models that read columns by name, texts among them, or that give more than one number a row.

    classifier            label, probabilities (n, classes); of two classes also probability, that of the second
    regressor             prediction, or predictions (n, outputs)
A pipeline gets its columns as a frame, with its own transforms in front of the estimator.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kedge.adapters.classes import CHANCES, classes_of, classified, column_spec
from kedge.adapters.sklearn.format import read_model
from kedge.adapters.sklearn.trees import run_alone
from kedge.adapters.threads import OpenMp
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import ModelRefused

VALUE, VALUES = "prediction", "predictions"


def describe(files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature:
    """Say what a model takes and gives: a column each of the example's, in its order. Raises ModelRefused."""
    model = read_model(files)
    inputs = tuple(column_spec(name, example[name]) for name in _names(model, example))
    if hasattr(model, "predict_proba"):
        outputs, watched = classes_of(_classes(model))
        return TensorSignature(inputs=inputs, outputs=outputs, watched=watched)
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
        return classified(_classes(self._model), chances)


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

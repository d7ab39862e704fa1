"""What classifiers of several classes give, whatever made them: `label`, `probabilities` (n, classes), and of two classes
`probability`, that of the second. Their inputs are columns by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import ModelRefused

LABEL, CHANCES, CHANCE = "label", "probabilities", "probability"
KINDS = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64", "U": "BYTES", "S": "BYTES", "O": "BYTES"}


class Chances(Protocol):
    """A loaded classifier of several classes."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows: float64 (n, inputs) to the classes' probabilities, float64 (n, classes)."""
        ...


class NumberedClasses:
    """A loaded classifier of the classes 0, 1, 2 ... that answers columns of numbers by name."""

    def __init__(self, predictor: Chances, signature: TensorSignature, *, classes: int) -> None:
        given = next((spec.shape for spec in signature.outputs if spec.name == CHANCES), ())
        if given != (-1, classes):
            raise ModelRefused(f"the model tells {classes} classes apart, which its signature does not say")
        self._predictor, self._labels = predictor, np.arange(classes)
        self._names = [spec.name for spec in signature.inputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Answer columns, each an array (n,)."""
        matrix = np.column_stack([inputs[name].astype(np.float64) for name in self._names])
        chances = self._predictor.predict(np.ascontiguousarray(matrix))
        return classified(self._labels, chances.reshape(len(matrix), len(self._labels)))  # of no rows it is flat


def describe_numbered(names: Sequence[str], example: Mapping[str, np.ndarray], *, classes: int) -> TensorSignature | None:
    """Say what a classifier of the classes 0, 1, 2 ... takes and gives; None for a model of one number a row.

    `names` are the columns that it was trained on, where the example has them; else the example's own count, in its order.
    Raises ModelRefused.
    """
    if classes < 2:
        return None
    columns = len(names)
    names = names if set(names) <= example.keys() else tuple(example)
    if len(names) != columns:
        raise ModelRefused(f"the model takes {columns} columns, its example has {len(names)}")
    inputs = tuple(column_spec(name, example[name]) for name in names)
    if texts := [spec.name for spec in inputs if spec.datatype == "BYTES"]:
        raise ModelRefused(f"column {texts[0]!r} of the example holds texts, and the model reads numbers; encode them")
    outputs, watched = classes_of(np.arange(classes))
    return TensorSignature(inputs=inputs, outputs=outputs, watched=watched)


def column_spec(name: str, values: np.ndarray) -> TensorSpec:
    """Describe a column of an example. Raises ModelRefused."""
    if values.ndim != 1:
        raise ModelRefused(f"column {name!r} of the example has shape {values.shape}; a column has one value a row")
    kind = KINDS.get(values.dtype.kind)
    if kind is None:
        raise ModelRefused(f"column {name!r} of the example is {values.dtype}; a model reads numbers, booleans and texts")
    return TensorSpec(name=name, datatype=kind, shape=(-1,), nullable=kind in ("FP64", "BYTES"))


def classes_of(labels: np.ndarray) -> tuple[tuple[TensorSpec, ...], str]:
    """Describe what a classifier of these classes gives, and name what it is watched by."""
    outputs = [
        TensorSpec(name=LABEL, datatype=KINDS[labels.dtype.kind], shape=(-1,)),
        TensorSpec(name=CHANCES, datatype="FP64", shape=(-1, len(labels)), labels=tuple(map(str, labels.tolist()))),
    ]
    if len(labels) == 2:
        outputs.append(TensorSpec(name=CHANCE, datatype="FP64", shape=(-1,), labels=(str(labels[1]),)))
    return tuple(outputs), CHANCE if len(labels) == 2 else ""


def classified(labels: np.ndarray, chances: Any) -> dict[str, np.ndarray]:
    """Give the outputs for probabilities (n, classes)."""
    found = {LABEL: labels[chances.argmax(axis=1)], CHANCES: chances}
    return found | ({CHANCE: np.ascontiguousarray(chances[:, 1])} if len(labels) == 2 else {})

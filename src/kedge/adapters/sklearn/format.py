"""scikit-learn models as skops files: no code in them, every type on an allow-list, every tree checked.

The same fitted model gives the same bytes. Not kept: native categories of histogram boosting, libsvm's machines,
nearest neighbours on trees; scikit-learn reads their arrays without looking, or they bring functions along.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kedge.adapters.sklearn.archive import ALLOWED, canonical, examine
from kedge.adapters.sklearn.trees import forget_names, require_sound, run_alone
from kedge.adapters.threads import OpenMp
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.domain.serving import TensorSignature
from kedge.errors import ModelRefused
from kedge.ports import TensorPredictor

_FILE = "model.skops"
_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)  # what constructing from a wrong file may raise


class SklearnFormat:
    """Keeps fitted classifiers and regressors of scikit-learn, pipelines included."""

    name = "skops"

    def accepts(self, model: Any) -> bool:
        """Say whether this is a fitted classifier with probabilities, or a fitted regressor."""
        from sklearn.base import BaseEstimator, is_classifier, is_regressor
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        if not isinstance(model, BaseEstimator):
            return False
        if not (is_classifier(model) and hasattr(model, "predict_proba")) and not is_regressor(model):
            return False
        try:
            check_is_fitted(model)
        except NotFittedError:
            return False
        return True

    def dump(self, model: Any) -> dict[str, bytes]:
        """Write a model, and read it again at once: what could not be loaded is refused now. Raises ModelRefused."""
        from skops.io.exceptions import UnsupportedTypeException

        from kedge.adapters.sklearn.library import skops_io

        try:
            data = canonical(skops_io.dumps(model))
        except (UnsupportedTypeException, TypeError) as error:
            raise ModelRefused(f"{type(model).__name__} cannot be kept without pickle: {error}") from error
        _load(data)
        return {_FILE: data}

    def claims(self, files: Mapping[str, bytes]) -> dict[str, bytes] | None:
        """Find the one .skops file among files; None where there is none. Raises ModelRefused."""
        names = [name for name in files if name.endswith(".skops")]
        if not names:
            return None
        if len(names) > 1:
            raise ModelRefused(f"there are {len(names)} .skops files ({', '.join(sorted(names))}); register one at a time")
        data = canonical(files[names[0]])
        _load(data)
        return {_FILE: data}

    def columns(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """Name the columns that the model was trained on; () where it was trained on an array."""
        return tuple(str(name) for name in getattr(read_model(files), "feature_names_in_", ()))

    def describe(self, files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature:
        """Say what the model takes and gives, a column each of the example's. Raises ModelRefused."""
        from kedge.adapters.sklearn.tensors import describe

        return describe(files, example)

    def open(self, files: Mapping[str, bytes], tensors: TensorSignature) -> TensorPredictor:
        """Load a model that answers columns by name. Raises ModelRefused."""
        from kedge.adapters.sklearn.tensors import SklearnTensors

        return SklearnTensors(files, tensors)

    def load(self, files: Mapping[str, bytes], signature: Signature) -> "SklearnPredictor":
        """Load a model that answers as its signature says. Raises ModelRefused with the type or fault that stopped it."""
        model = read_model(files)
        if not self.accepts(model):
            raise ModelRefused(f"the model file holds a {type(model).__name__}, which does not answer rows")
        columns = getattr(model, "n_features_in_", None)
        if columns != len(signature.inputs):
            raise ModelRefused(f"the model takes {columns} columns, its signature names {len(signature.inputs)}")
        if hasattr(model, "predict_proba") != (signature.task is Task.CLASSIFICATION):
            raise ModelRefused(f"a {type(model).__name__} is not for {signature.task.value}, as its signature says")
        return SklearnPredictor(model, signature.task)


class SklearnPredictor:
    """A loaded scikit-learn model."""

    def __init__(self, model: Any, task: Task) -> None:
        run_alone(model)
        forget_names(model)
        self._model = model
        self._column = _positive_column(model) if task is Task.CLASSIFICATION else None
        self._answers = model.predict_proba if task is Task.CLASSIFICATION else model.predict
        self._threads = OpenMp()

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows: float64 (n, inputs) to float64 (n,): the probability of class 1, or the value."""
        if not len(matrix):
            return np.empty(0)
        with self._threads.fitting(len(matrix)):
            answers = np.asarray(self._answers(matrix), dtype=np.float64)
        return np.ascontiguousarray(answers if self._column is None else answers[:, self._column])


def read_model(files: Mapping[str, bytes]) -> Any:
    """Read the estimator that a model's files hold, looked through and checked. Raises ModelRefused."""
    if set(files) != {_FILE}:
        raise ModelRefused(f"a model in this format is one file {_FILE}, not {', '.join(sorted(files)) or 'none'}")
    return _load(files[_FILE])


def _positive_column(model: Any) -> int:
    classes = np.asarray(model.classes_).tolist()
    if classes != [0, 1]:
        raise ModelRefused(f"a classifier here answers classes 0 and 1, this one has {classes}; train it on both")
    return 1


def _load(data: bytes) -> Any:
    """Look through the file, check its types, construct, check what came out."""
    from kedge.adapters.sklearn.library import skops_io

    examine(data)
    try:
        foreign = sorted(set(skops_io.get_untrusted_types(data=data)) - set(ALLOWED))
        if foreign:
            raise ModelRefused(f"{', '.join(foreign)} is not allowed in a model file; use estimators of scikit-learn itself")
        model = skops_io.loads(data, trusted=list(ALLOWED))
        require_sound(model)
    except _FAULTS as error:
        raise ModelRefused(f"the model file cannot be loaded: {type(error).__name__}: {error}") from error
    return model

"""LightGBM models as its own text: every index of every tree is looked at before LightGBM reads the file.

Kept: boosters and scikit-learn wrappers with one output or of several classes (multiclass); with early stopping, the trees
up to the best iteration. Not kept: categories native to LightGBM, linear trees.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kedge.adapters.classes import NumberedClasses, describe_numbered
from kedge.adapters.threads import FEW
from kedge.adapters.trees import require_columns, require_tree
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.domain.serving import TensorSignature
from kedge.errors import ModelRefused

_FILE = "model.txt"
_CLASSES = "multiclass"
_TASKS = {"binary": Task.CLASSIFICATION, _CLASSES: Task.CLASSIFICATION} | dict.fromkeys(
    ("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"), Task.REGRESSION
)
_OF_SPLITS = ("split_feature", "threshold", "decision_type", "left_child", "right_child")


class LightgbmFormat:
    """Keeps fitted boosters, classifiers and regressors of LightGBM."""

    name = "lightgbm"

    def accepts(self, model: Any) -> bool:
        """Say whether this is a fitted booster, by itself or in its scikit-learn wrapper."""
        kind = type(model)
        if kind.__module__.partition(".")[0] != "lightgbm":
            return False
        return kind.__name__ == "Booster" or (
            kind.__name__ in ("LGBMClassifier", "LGBMRegressor") and bool(model.__sklearn_is_fitted__())
        )

    def dump(self, model: Any) -> dict[str, bytes]:
        """Write a model, and read it again at once: what could not be loaded is refused now. Raises ModelRefused."""
        data = _booster_of(model).model_to_string(importance_type="split").encode()
        _load(data)
        return {_FILE: data}

    def claims(self, files: Mapping[str, bytes]) -> dict[str, bytes] | None:
        """Find the one file of LightGBM's text among files; None where there is none. Raises ModelRefused."""
        names = [name for name, data in files.items() if data.startswith(b"tree\n")]
        if not names:
            return None
        if len(names) > 1:
            raise ModelRefused(
                f"there are {len(names)} LightGBM models ({', '.join(sorted(names))}); register one at a time"
            )
        _load(files[names[0]])
        return {_FILE: files[names[0]]}

    def columns(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """Name the columns that the model was trained on."""
        return tuple(_require_sound(files[_FILE])["feature_names"].split())

    def load(self, files: Mapping[str, bytes], signature: Signature) -> "LightgbmPredictor":
        """Load a model that answers as its signature says. Raises ModelRefused with what stopped it."""
        if set(files) != {_FILE}:
            raise ModelRefused(f"a model in this format is one file {_FILE}, not {', '.join(sorted(files)) or 'none'}")
        booster, head = _load(files[_FILE])
        if (classes := int(head["num_class"])) > 1:
            raise ModelRefused(f"a model of {classes} classes gives a probability for each, and no one number a row")
        columns, objective = int(head["max_feature_idx"]) + 1, _objective(head)
        if columns != len(signature.inputs):
            raise ModelRefused(f"the model takes {columns} columns, its signature names {len(signature.inputs)}")
        if _TASKS[objective] is not signature.task:
            raise ModelRefused(
                f"a model with objective {objective} is not for {signature.task.value}, as its signature says"
            )
        return LightgbmPredictor(booster)

    def describe(self, files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature | None:
        """Say what a model of several classes takes and gives; None for one number a row. Raises ModelRefused."""
        _, head = _load(files[_FILE])
        return describe_numbered(head["feature_names"].split(), example, classes=int(head["num_class"]))

    def open(self, files: Mapping[str, bytes], tensors: TensorSignature) -> NumberedClasses:
        """Load a model of several classes. Raises ModelRefused."""
        booster, head = _load(files[_FILE])
        if int(head["max_feature_idx"]) + 1 != len(tensors.inputs):
            raise ModelRefused("the model takes other columns than its signature names")
        return NumberedClasses(LightgbmPredictor(booster), tensors, classes=int(head["num_class"]))


class LightgbmPredictor:
    """A loaded LightGBM model."""

    def __init__(self, booster: Any) -> None:
        import lightgbm

        self._booster, self._fault = booster, lightgbm.basic.LightGBMError

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows: float64 (n, inputs) to float64 (n,): the probability of class 1, or the value; of several classes
        the probability of each, (n, classes). Raises ModelRefused."""
        if not len(matrix):
            return np.empty(0)
        few = {"num_threads": 1} if len(matrix) <= FEW else {}
        try:
            return np.asarray(self._booster.predict(matrix, **few), dtype=np.float64)
        except self._fault as error:
            raise ModelRefused(f"LightGBM failed on these rows: {error}") from error


def _booster_of(model: Any) -> Any:
    if type(model).__name__ == "Booster":
        return model
    classes = getattr(model, "classes_", None)
    if classes is not None and (len(classes) < 2 or np.asarray(classes).tolist() != [*range(len(classes))]):
        raise ModelRefused(
            f"of LightGBM a classifier of the classes 0, 1, 2 ... is kept, this one has {np.asarray(classes).tolist()};"
            " train it on these numbers"
        )
    return model.booster_


def _objective(head: Mapping[str, str]) -> str:
    name = head.get("objective", "").partition(" ")[0]
    if name not in _TASKS:
        raise ModelRefused(f"the objective {name!r} is not known here; use one of {', '.join(sorted(_TASKS))}")
    return name


def _load(data: bytes) -> tuple[Any, dict[str, str]]:
    """Look through the file, then let LightGBM read it."""
    try:
        head = _require_sound(data)
    except (ValueError, KeyError, OverflowError) as error:
        raise ModelRefused(f"the model file is not LightGBM's text of a model of this kind: {error}") from error
    _objective(head)
    import lightgbm

    try:
        booster = lightgbm.Booster(model_str=data.decode())
    except lightgbm.basic.LightGBMError as error:
        raise ModelRefused(f"LightGBM cannot read the model file: {error}") from error
    return booster, head


def _require_sound(data: bytes) -> dict[str, str]:
    """Check the trees, and give the lines before them. The sizes in the head are where LightGBM looks for each tree."""
    start = data.index(b"Tree=0\n") if b"Tree=0\n" in data else len(data)
    head = _lines(data[:start])
    columns = int(head["max_feature_idx"]) + 1
    classes = int(head["num_class"])
    several = head.get("objective", "").partition(" ")[0] == _CLASSES
    if head["num_tree_per_iteration"] != head["num_class"] or classes < 1 or several != (classes > 1):
        raise ModelRefused("a model here has one output a row, or several classes by the objective multiclass")
    if several and head["objective"].split()[1:] != [f"num_class:{classes}"]:
        raise ModelRefused("the model does not say the same of its classes twice; write it anew")
    if len(head["tree_sizes"].split()) % classes:
        raise ModelRefused("the model does not have as many trees of each class; write it anew")
    if len(head["feature_names"].split()) != columns or len(head["feature_infos"].split()) != columns:
        raise ModelRefused(f"the model does not name its {columns} columns; write it anew")
    for number, size in enumerate(head["tree_sizes"].split()):
        end = start + int(size)
        if int(size) < 1 or not data[start:end].startswith(b"Tree=%d\n" % number):
            raise ModelRefused(f"tree {number} is not where the model file says; write the model anew")
        _require_tree(_lines(data[start:end]), columns, where=f"tree {number}")
        start = end
    if not data[start:].startswith(b"end of trees"):
        raise ModelRefused("the model file has more trees than it says; write the model anew")
    return head


def _lines(part: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _pairs(part.decode()):
        if name in found:
            raise ModelRefused(f"the model file says {name} twice; write the model anew")
        found[name] = value
    return found


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        name, sign, value = line.partition("=")
        if sign:
            yield name, value


def _require_tree(tree: Mapping[str, str], columns: int, *, where: str) -> None:
    leaves = int(tree["num_leaves"])
    if leaves < 1 or len(_numbers(tree["leaf_value"])) != leaves:
        raise ModelRefused(f"{where}: its arrays do not fit together; write the model anew")
    if tree["num_cat"] != "0":
        raise ModelRefused(f"{where} splits on categories native to LightGBM, which are not kept; encode them as numbers")
    if tree.get("is_linear", "0") != "0":
        raise ModelRefused(f"{where} has linear models in its leaves, which are not kept; train with linear_tree=false")
    splits = {name: _numbers(tree.get(name, "")) for name in _OF_SPLITS}
    if any(len(part) != leaves - 1 for part in splits.values()):
        raise ModelRefused(f"{where}: its arrays do not fit together; write the model anew")
    if (splits["decision_type"].astype(np.int64) & 1).any():
        raise ModelRefused(f"{where} splits on categories native to LightGBM, which are not kept; encode them as numbers")
    require_columns(splits["split_feature"], columns, where=where)
    children = np.concatenate([splits["left_child"], splits["right_child"]]).astype(np.int64)
    require_tree(children[children >= 0], leaves - 1, where=where)
    ends = ~children[children < 0]
    if leaves > 1 and (len(ends) != leaves or not np.array_equal(np.sort(ends), np.arange(leaves))):
        raise ModelRefused(f"{where}: its leaves are not each reached once; write the model anew")


def _numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])

"""XGBoost models as its own JSON: every index of every tree is looked at before XGBoost reads the file.

Kept: boosters and scikit-learn wrappers with one output or of several classes (multi:softprob), trees (gbtree, dart) or
linear; early stopping is kept by cutting the later trees off. Not kept: several targets, categories native to XGBoost.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from kedge.adapters.classes import NumberedClasses, describe_numbered
from kedge.adapters.threads import OpenMp
from kedge.adapters.trees import require_columns, require_tree
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.domain.serving import TensorSignature
from kedge.errors import ModelRefused

_FILE = "model.json"
_TASKS = {"binary:logistic": Task.CLASSIFICATION, "count:poisson": Task.REGRESSION}  # and whatever begins with "reg:"
_CLASSES = "multi:softprob"
_LARGEST = float(np.finfo(np.float32).max)  # what is beyond it would stop the whole batch; no split is
_WRAPPERS = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")


class _Tree(msgspec.Struct, frozen=True):
    left_children: list[int]
    right_children: list[int]
    split_indices: list[int]
    split_conditions: list[float]
    default_left: list[int]
    split_type: list[int]
    categories: list[int]
    base_weights: list[float]
    tree_param: dict[str, str]


class _Trees(msgspec.Struct, frozen=True):
    trees: list[_Tree]
    tree_info: list[int]
    iteration_indptr: list[int] = []


class _Linear(msgspec.Struct, frozen=True):
    weights: list[float]


class _Gbtree(msgspec.Struct, frozen=True, tag="gbtree", tag_field="name"):
    model: _Trees


class _Dart(msgspec.Struct, frozen=True, tag="dart", tag_field="name"):
    gbtree: _Gbtree
    weight_drop: list[float]


class _Gblinear(msgspec.Struct, frozen=True, tag="gblinear", tag_field="name"):
    model: _Linear


class _Softmax(msgspec.Struct, frozen=True):
    num_class: str


class _Objective(msgspec.Struct, frozen=True):
    name: str
    softmax_multiclass_param: _Softmax | None = None


class _Shape(msgspec.Struct, frozen=True):
    num_class: str
    num_feature: str
    num_target: str = "1"
    base_score: str = "0"


class _Learner(msgspec.Struct, frozen=True):
    gradient_booster: _Gbtree | _Dart | _Gblinear
    learner_model_param: _Shape
    objective: _Objective


class _File(msgspec.Struct, frozen=True):
    learner: _Learner
    version: tuple[int, int, int]


_decoder = msgspec.json.Decoder(_File)


class XgboostFormat:
    """Keeps fitted boosters, classifiers and regressors of XGBoost."""

    name = "xgboost"

    def accepts(self, model: Any) -> bool:
        """Say whether this is a fitted booster, by itself or in its scikit-learn wrapper."""
        kind = type(model)
        if kind.__module__.partition(".")[0] != "xgboost":
            return False
        if kind.__name__ == "Booster":
            return True
        return kind.__name__ in _WRAPPERS and bool(model.__sklearn_is_fitted__())

    def dump(self, model: Any) -> dict[str, bytes]:
        """Write a model, and read it again at once: what could not be loaded is refused now. Raises ModelRefused."""
        data = bytes(_booster_of(model).save_raw("json"))
        _load(data)
        return {_FILE: data}

    def claims(self, files: Mapping[str, bytes]) -> dict[str, bytes] | None:
        """Find the one file of XGBoost's JSON among files; None where there is none. Raises ModelRefused."""
        names = [name for name, data in files.items() if data[:1] == b"{" and b'"learner"' in data]
        if not names:
            return None
        if len(names) > 1:
            raise ModelRefused(f"there are {len(names)} XGBoost models ({', '.join(sorted(names))}); register one at a time")
        booster, _ = _load(files[names[0]])
        return {_FILE: bytes(_best_of(booster).save_raw("json"))}

    def columns(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """Name the columns that the model was trained on; () where it was trained on an array."""
        return tuple(_load(files[_FILE])[0].feature_names or ())

    def load(self, files: Mapping[str, bytes], signature: Signature) -> "XgboostPredictor":
        """Load a model that answers as its signature says. Raises ModelRefused with what stopped it."""
        if set(files) != {_FILE}:
            raise ModelRefused(f"a model in this format is one file {_FILE}, not {', '.join(sorted(files)) or 'none'}")
        booster, learner = _load(files[_FILE])
        if (classes := _classes(learner)) > 1:
            raise ModelRefused(f"a model of {classes} classes gives a probability for each, and no one number a row")
        columns, task = int(learner.learner_model_param.num_feature), _task(learner)
        if columns != len(signature.inputs):
            raise ModelRefused(f"the model takes {columns} columns, its signature names {len(signature.inputs)}")
        if task is not signature.task:
            raise ModelRefused(
                f"a model with objective {learner.objective.name} is not for {signature.task.value}, as its signature says"
            )
        return XgboostPredictor(booster, linear=isinstance(learner.gradient_booster, _Gblinear))

    def describe(self, files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature | None:
        """Say what a model of several classes takes and gives; None for one number a row. Raises ModelRefused."""
        booster, learner = _load(files[_FILE])
        columns = int(learner.learner_model_param.num_feature)
        names = booster.feature_names or [f"f{place}" for place in range(columns)]
        return describe_numbered(names, example, classes=_classes(learner))

    def open(self, files: Mapping[str, bytes], tensors: TensorSignature) -> NumberedClasses:
        """Load a model of several classes. Raises ModelRefused."""
        booster, learner = _load(files[_FILE])
        if int(learner.learner_model_param.num_feature) != len(tensors.inputs):
            raise ModelRefused("the model takes other columns than its signature names")
        predictor = XgboostPredictor(booster, linear=isinstance(learner.gradient_booster, _Gblinear))
        return NumberedClasses(predictor, tensors, classes=_classes(learner))


class XgboostPredictor:
    """A loaded XGBoost model."""

    def __init__(self, booster: Any, *, linear: bool) -> None:
        self._booster, self._linear, self._threads = booster, linear, OpenMp()

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows: float64 (n, inputs), read as float32 by XGBoost, to float64 (n,), of several classes (n, classes)."""
        if not len(matrix):
            return np.empty(0)
        with self._threads.fitting(len(matrix)):
            return np.asarray(self._answers(np.clip(matrix, -_LARGEST, _LARGEST)), dtype=np.float64)

    def _answers(self, matrix: np.ndarray) -> Any:
        if not self._linear:
            return self._booster.inplace_predict(matrix)
        import xgboost  # linear models know no other way in

        return self._booster.predict(xgboost.DMatrix(matrix))


def _booster_of(model: Any) -> Any:
    """Give the booster, without the trees after the iteration that early stopping chose."""
    if type(model).__name__ == "Booster":
        return model
    if not np.isnan(model.missing):
        raise ModelRefused(f"the model takes {model.missing!r} for a missing value; here it is NaN: train with missing=nan")
    classes = getattr(model, "classes_", None)
    if classes is not None and (len(classes) < 2 or np.asarray(classes).tolist() != [*range(len(classes))]):
        raise ModelRefused(
            f"of XGBoost a classifier of the classes 0, 1, 2 ... is kept, this one has {np.asarray(classes).tolist()};"
            " train it on these numbers"
        )
    return _best_of(model.get_booster())


def _best_of(booster: Any) -> Any:
    """Cut off the trees after the iteration that early stopping chose."""
    best = booster.attr("best_iteration")
    return booster[: int(best) + 1] if best is not None and int(best) + 1 < booster.num_boosted_rounds() else booster


def _task(learner: _Learner) -> Task:
    name = learner.objective.name
    task = _TASKS.get(name, Task.REGRESSION if name.startswith("reg:") else None)
    if name == _CLASSES:
        return Task.CLASSIFICATION
    if task is None:
        raise ModelRefused(
            f"the objective {name!r} is not known here; use binary:logistic, {_CLASSES}, count:poisson or a reg: one"
        )
    return task


def _load(data: bytes) -> tuple[Any, _Learner]:
    """Look through the file, then let XGBoost read it."""
    try:
        learner = _decoder.decode(data).learner
        _require_sound(learner)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelRefused(f"the model file is not XGBoost's JSON of a model of this kind: {error}") from error
    _task(learner)
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(data))
    except xgboost.core.XGBoostError as error:
        raise ModelRefused(f"XGBoost cannot read the model file: {str(error).splitlines()[-1].strip()}") from error
    return booster, learner


def _classes(learner: _Learner) -> int:
    """Tell how many classes a model tells apart; 1 for one that gives one number a row."""
    return int(learner.learner_model_param.num_class) if learner.objective.name == _CLASSES else 1


def _require_sound(learner: _Learner) -> None:
    shape, softmax = learner.learner_model_param, learner.objective.softmax_multiclass_param
    columns, classes = int(shape.num_feature), _classes(learner)
    if int(shape.num_target) != 1 or (classes == 1 and int(shape.num_class) > 1):
        raise ModelRefused("a model here has one output a row, or several classes; train one with a single target")
    if learner.objective.name == _CLASSES and (classes < 2 or softmax is None or int(softmax.num_class) != classes):
        raise ModelRefused("the model does not say the same of its classes twice; write it anew")
    if len(shape.base_score.strip("[]").split(",")) not in (1, classes):
        raise ModelRefused(f"the model does not begin from one number for each of its {classes} classes; write it anew")
    match learner.gradient_booster:
        case _Gblinear(linear):
            wanted = (columns + 1) * classes
            if len(linear.weights) != wanted:
                raise ModelRefused(f"a linear model of {columns} columns has {wanted} weights, not {len(linear.weights)}")
        case _Dart(_Gbtree(model), drops):
            if len(drops) != len(model.trees):
                raise ModelRefused("the model does not have one weight for each tree; write it anew")
            _require_trees(model, columns, classes=classes)
        case _Gbtree(model):
            _require_trees(model, columns, classes=classes)


def _require_trees(model: _Trees, columns: int, *, classes: int) -> None:
    if len(model.tree_info) != len(model.trees) or any(not 0 <= one < classes for one in model.tree_info):
        raise ModelRefused("the model's trees are not all of its one output, or of its classes; write it anew")
    ends = model.iteration_indptr
    if ends and (ends[0] != 0 or ends[-1] != len(model.trees) or any(a > b for a, b in pairwise(ends))):
        raise ModelRefused("the model's iterations do not cover its trees; write it anew")
    for number, tree in enumerate(model.trees):
        where = f"tree {number}"
        nodes = int(tree.tree_param["num_nodes"]) if "num_nodes" in tree.tree_param else -1
        parts = (tree.left_children, tree.right_children, tree.split_indices, tree.split_conditions, tree.default_left)
        if nodes < 1 or any(len(part) != nodes for part in (*parts, tree.split_type, tree.base_weights)):
            raise ModelRefused(f"{where}: its arrays do not fit together; write the model anew")
        if any(tree.split_type) or tree.categories:
            raise ModelRefused(f"{where} splits on categories native to XGBoost, which are not kept; encode them as numbers")
        if int(tree.tree_param.get("size_leaf_vector", "1")) > 1:
            raise ModelRefused(f"{where} has leaves of several values; a model here has one output a row")
        left, right = np.array(tree.left_children), np.array(tree.right_children)
        parents = left != -1
        if not np.array_equal(parents, right != -1):
            raise ModelRefused(f"{where}: a node has one child; write the model anew")
        require_tree(np.concatenate([left[parents], right[parents]]), nodes, where=where)
        require_columns(np.array(tree.split_indices)[parents], columns, where=where)

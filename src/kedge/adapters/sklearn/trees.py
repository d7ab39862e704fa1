"""Checks a constructed model before it may predict: scikit-learn follows the indices in its trees without looking.

Every tree must belong to an estimator that checks the number of columns it is given, and no index in it may leave the
tree or the columns. Children stand after their parents, so a walk from the root always ends.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kedge.errors import ModelRefused


def require_sound(model: Any) -> None:
    """Check every estimator and every tree that a model holds. Raises ModelRefused."""
    from sklearn.base import BaseEstimator
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree._tree import Tree

    parts = list(_parts(model))
    owned: set[int] = set()
    for part in parts:
        if isinstance(part, BaseEstimator):
            _require_own_methods(part)
            owned |= {id(tree) for tree in _check(part)}
    if any(isinstance(part, (Tree, TreePredictor)) and id(part) not in owned for part in parts):
        raise ModelRefused("the model file holds a tree that belongs to no estimator known to check its input")


def run_alone(model: Any) -> None:
    """Take back the parallelism that a training asked for: with several jobs a forest sums in whatever order they end."""
    from sklearn.base import BaseEstimator

    for part in _parts(model):
        if isinstance(part, BaseEstimator) and "n_jobs" in vars(part):
            part.n_jobs = None


def forget_names(model: Any) -> None:
    """Take the names of columns from estimators that do not choose by them: on an array each call would warn of them."""
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer

    for part in _parts(model):
        if isinstance(part, BaseEstimator) and not isinstance(part, ColumnTransformer):
            vars(part).pop("feature_names_in_", None)


def _parts(model: Any) -> Iterator[Any]:
    """Walk all objects that a model is made of, each once."""
    waiting, seen = [model], {id(model)}
    while waiting:
        part = waiting.pop()
        yield part
        for inner in _inside(part):
            if id(inner) not in seen:
                seen.add(id(inner))
                waiting.append(inner)


def _inside(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    if isinstance(part, (list, tuple, set)):
        return list(part)
    if isinstance(part, np.ndarray):
        return part.ravel().tolist() if part.dtype == object else []
    return list(getattr(part, "__dict__", {}).values())


def _require_own_methods(estimator: Any) -> None:
    """Check that no value in the file stands where the class has a method, such as the one that checks the input."""
    for name in vars(estimator):
        if callable(getattr(type(estimator), name, None)):
            raise ModelRefused(f"the model file replaces the method {name} of {type(estimator).__name__}")


def _check(estimator: Any) -> list[Any]:
    """Check the trees that an estimator walks itself, and list them."""
    from sklearn.ensemble import IsolationForest
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._gb import BaseGradientBoosting
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
    from sklearn.tree import BaseDecisionTree

    has = vars(estimator).keys()  # what was never fitted, such as a forest's pattern of a tree, cannot predict
    if isinstance(estimator, BaseDecisionTree) and "tree_" in has:
        return [_check_tree(estimator, _columns(estimator))]
    if isinstance(estimator, BaseHistGradientBoosting) and "_predictors" in has:
        return _check_boosting(estimator, _columns(estimator))
    if isinstance(estimator, BaseGradientBoosting) and "estimators_" in has:
        _check_stages(estimator)
        return [_check_tree(inner, _columns(estimator)) for inner in estimator.estimators_.ravel()]
    if isinstance(estimator, BaseForest) and "estimators_" in has:
        return [_check_tree(inner, _columns(estimator)) for inner in estimator.estimators_]
    if isinstance(estimator, IsolationForest):
        raise ModelRefused("IsolationForest is not allowed: it hands its trees columns without their check")
    return []


def _columns(estimator: Any) -> int:
    columns = vars(estimator).get("n_features_in_")
    if type(columns) is not int:
        raise ModelRefused(f"{type(estimator).__name__} in the model file does not say how many columns it takes")
    return columns


def _check_tree(estimator: Any, columns: int) -> Any:
    """Check a decision tree, which its owner may hand rows to without the tree's own check."""
    from sklearn.tree import BaseDecisionTree
    from sklearn.tree._tree import Tree

    tree = vars(estimator).get("tree_") if isinstance(estimator, BaseDecisionTree) else None
    if not isinstance(tree, Tree) or tree.n_features != columns:
        raise ModelRefused(f"{type(estimator).__name__} in the model file has no tree for the model's {columns} columns")
    left, right = tree.children_left, tree.children_right
    _require_inside(left != -1, left, right=right, feature=tree.feature, columns=columns)
    return tree


def _check_boosting(model: Any, columns: int) -> list[Any]:
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    mapper = vars(model).get("_bin_mapper")
    categorical = getattr(mapper, "is_categorical_", None)
    if model._preprocessor is not None or not isinstance(categorical, np.ndarray) or categorical.any():
        raise ModelRefused("histogram boosting on native categories is not allowed; Kedge hands strings over as numbers")
    predictors = [predictor for stage in model._predictors for predictor in stage]
    for predictor in predictors:
        nodes = predictor.nodes if isinstance(predictor, TreePredictor) else None
        if not isinstance(nodes, np.ndarray) or nodes.ndim != 1 or not nodes.size or nodes["is_categorical"].any():
            raise ModelRefused("a tree of histogram boosting in the model file has no proper nodes")
        inner = nodes["is_leaf"] == 0
        _require_inside(inner, nodes["left"], right=nodes["right"], feature=nodes["feature_idx"], columns=columns)
    return predictors


def _check_stages(model: Any) -> None:
    """Check gradient boosting: its compiled loop adds each tree to the column that the tree's place names."""
    stages = model.estimators_
    widths_fit = isinstance(stages, np.ndarray) and stages.ndim == 2 and stages.shape[1] == model.n_trees_per_iteration_
    if not widths_fit or any(tree.tree_.value.shape[1:] != (1, 1) for tree in stages.ravel()):
        raise ModelRefused("gradient boosting in the model file does not fit together: its trees are not one for each class")


def _require_inside(inner: np.ndarray, left: np.ndarray, *, right: np.ndarray, feature: np.ndarray, columns: int) -> None:
    """Check the inner nodes of a tree: children after their parent and within the tree, features among the columns."""
    count = len(inner)
    places = np.arange(count)[inner]
    for children in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        if not ((children > places) & (children < count)).all():
            raise ModelRefused("a tree in the model file has a child outside the tree, or before its parent")
    used = feature[inner].astype(np.int64)
    if not ((used >= 0) & (used < columns)).all():
        raise ModelRefused(f"a tree in the model file asks for a column outside the model's {columns}")

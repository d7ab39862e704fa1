"""A registered model's trees, read by treelite, whichever framework grew them.

sklearn, float64 input   histogram boosting
sklearn, float32 input   forests, gradient boosting: rows are rounded to float32 before any split
xgboost                  float32 input, `<`; it sums in float32 too, so answers differ from the seventh digit on
lightgbm                 float64 input
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kedge.errors import ModelRefused

LINKS = ("identity", "sigmoid", "exponential")
_FLOAT32 = ("sklearn.ensemble._forest", "sklearn.ensemble._gb")
_FLOAT64 = ("sklearn.ensemble._hist_gradient_boosting.gradient_boosting",)


@dataclass(frozen=True)
class Tree:
    """One tree as arrays with an entry for each node: children (-1 at a leaf), column, threshold, operator, where NaN
    goes, and the leaf's value."""

    left: np.ndarray
    right: np.ndarray
    column: np.ndarray
    threshold: np.ndarray
    operator: np.ndarray
    default_left: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Trees:
    """All trees of a model with one output: the sum of their leaves (the mean, if `mean`), plus `base`, through `link`.

    With `rounded`, rows are rounded to float32 first.
    """

    trees: Sequence[Tree]
    columns: int
    base: float
    mean: bool
    link: str
    rounded: bool

    def thresholds(self) -> list[np.ndarray]:
        """List the finite thresholds of each column, ascending, each once."""
        columns = np.concatenate([tree.column[tree.left != -1] for tree in self.trees])
        values = np.concatenate([tree.threshold[tree.left != -1] for tree in self.trees])
        found = [np.unique(values[columns == place]) for place in range(self.columns)]
        return [each[np.isfinite(each)] for each in found]


def read_model(kind: str, files: Mapping[str, bytes]) -> tuple[Any, bool] | None:
    """Read a model's files by treelite: its model, and whether rows are rounded to float32; None where it is no trees.

    Raises ModelRefused for files that the format itself refuses, or that treelite cannot read.
    """
    import treelite

    try:
        match kind:
            case "skops":
                return _of_sklearn(files)
            case "xgboost":
                linear = re.search(rb'"name"\s*:\s*"gblinear"', files["model.json"])
                return None if linear else (treelite.frontend.from_xgboost_json(files["model.json"]), True)
            case "lightgbm":
                return treelite.frontend.from_lightgbm(_booster(files)), False
    except (treelite.TreeliteError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ModelRefused(f"treelite cannot read the model's trees: {' '.join(str(error).split())[:200]}") from error
    return None


def read_trees(model: Any, *, rounded: bool) -> Trees:
    """Take a treelite model apart. Raises ModelRefused for what has more outputs, categories, or another link."""
    head = model.get_header_accessor().get_field
    link, shape = str(head("postprocessor")), [int(each) for each in head("leaf_vector_shape")]
    classes = int(head("num_class")[0])
    if link == "identity_multiclass" and shape == [1, 2] and classes == 2:
        link = "identity"
    elif shape != [1, 1] or classes != 1 or int(head("num_target")[0]) != 1:
        raise ModelRefused("only trees with one output are compiled")
    if link not in LINKS or (link == "sigmoid" and float(head("sigmoid_alpha")[0]) != 1.0):
        raise ModelRefused(f"trees whose answers go through {link!r} are not compiled")
    base = np.asarray(head("base_scores"), dtype=np.float64)
    trees = tuple(_trees(model, int(head("num_tree")[0]), classes=shape[1]))
    if not trees:
        raise ModelRefused("the model has no trees")
    return Trees(
        trees=trees,
        columns=int(head("num_feature")[0]),
        base=float(base[-1]),
        mean=bool(head("average_tree_output")[0]),
        link=link,
        rounded=rounded,
    )


def _trees(model: Any, count: int, *, classes: int) -> Iterator[Tree]:
    for number in range(count):
        field = model.get_tree_accessor(number).get_field
        if field("has_categorical_split").any():
            raise ModelRefused("trees that split on native categories are not compiled")
        left = field("cleft")
        value = field("leaf_value").astype(np.float64)
        if classes == 2:
            # the second of each leaf's two probabilities
            value = value.copy()
            ends = left == -1
            value[ends] = field("leaf_vector")[field("leaf_vector_begin")[ends].astype(np.int64) + 1]
        yield Tree(
            left=left,
            right=field("cright"),
            column=field("split_index"),
            threshold=field("threshold").astype(np.float64),
            operator=field("cmp"),
            default_left=field("default_left"),
            value=value,
        )


def _of_sklearn(files: Mapping[str, bytes]) -> tuple[Any, bool] | None:
    import treelite

    from kedge.adapters.sklearn.format import read_model as read_skops

    model = read_skops(files)
    home = type(model).__module__
    if home not in (*_FLOAT32, *_FLOAT64):
        return None
    return treelite.sklearn.import_model(model), home in _FLOAT32


def _booster(files: Mapping[str, bytes]) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=files["model.txt"].decode())

"""Trees compiled to one ONNX operator, TreeEnsemble of ai.onnx.ml 5: float64 thresholds, inputs and leaves, nothing rounded
that the original does not round. onnxruntime answers one row in 9 us, a hundred in a quarter of a millisecond."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from kedge.adapters.onnx.session import faults, open_session
from kedge.adapters.treelite.reading import Trees, read_model, read_trees
from kedge.errors import ModelRefused
from kedge.ports import Compiled

_FILE = "trees.onnx"
_ROWS, _ANSWERS = "rows", "answers"
_OPERATORS = np.array([255, 4, 1, 0, 3, 2], dtype=np.uint8)
"""ONNX's number of each of treelite's comparisons: none, ==, <, <=, >, >=."""
_LINKS = {"sigmoid": "Sigmoid", "exponential": "Exp"}


class OnnxForm:
    """Compiles trees to ONNX."""

    name = "onnx"

    def available(self) -> bool:
        """Say whether onnxruntime is installed (extra `onnx`)."""
        return find_spec("onnxruntime") is not None

    def libraries(self) -> dict[str, str]:
        """Name what compiles and answers, with versions."""
        import onnx
        import onnxruntime
        import treelite

        return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "treelite": str(treelite.__version__)}

    def compile(self, kind: str, files: Mapping[str, bytes]) -> Compiled | None:
        """Compile a registered model's files; None where it is no trees. Raises ModelRefused."""
        if (found := read_model(kind, files)) is None:
            return None
        model, rounded = found
        trees = read_trees(model, rounded=rounded)
        return Compiled({_FILE: _graph(trees)}, trees.thresholds())

    def load(self, files: Mapping[str, bytes], *, columns: int) -> "OnnxTrees":
        """Load what `compile` made. Raises ModelRefused, ConfigError without onnxruntime."""
        session = open_session(files[_FILE])
        (rows,) = session.get_inputs()
        if (rows.name, rows.type, rows.shape[1:]) != (_ROWS, "tensor(double)", [columns]):
            raise ModelRefused(f"the compiled form takes {rows.type} {rows.shape}, its signature names {columns} columns")
        return OnnxTrees(session)


class OnnxTrees:
    """Trees in onnxruntime."""

    def __init__(self, session: Any) -> None:
        import onnxruntime

        self._session, self._faults = session, faults(onnxruntime)
        self._run, self._names = session.run, [each.name for each in session.get_outputs()]

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows: float64 (n, inputs) to float64 (n,). Raises ModelRefused with onnxruntime's words."""
        if not len(matrix):
            return np.empty(0)
        try:
            answers: np.ndarray = self._run(self._names, {_ROWS: matrix})[0]
        except self._faults as error:
            raise ModelRefused(f"onnxruntime failed on these rows: {' '.join(str(error).split())[:300]}") from error
        return answers


def _graph(trees: Trees) -> bytes:
    """Write the model: rows, rounded if need be, through the trees, the base, the link."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, at = [], _ROWS
    if trees.rounded:
        nodes.append(helper.make_node("Cast", [at], ["single"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Cast", ["single"], ["rounded"], to=TensorProto.DOUBLE))
        at = "rounded"
    nodes.append(
        helper.make_node(
            "TreeEnsemble", [at], ["sums"], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, **_nodes(trees)
        )
    )
    constants = {"flat": np.array([-1], dtype=np.int64), "base": np.array([trees.base])}
    steps = [("Reshape", "flat")]
    if trees.mean:
        constants["count"] = np.array([float(len(trees.trees))])
        steps.append(("Div", "count"))
    if trees.base:
        steps.append(("Add", "base"))
    at = "sums"
    for operator, constant in steps:
        nodes.append(helper.make_node(operator, [at, constant], [f"after_{constant}"]))
        at = f"after_{constant}"
    nodes.append(helper.make_node(_LINKS.get(trees.link, "Identity"), [at], [_ANSWERS]))
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info(_ROWS, TensorProto.DOUBLE, [None, trees.columns])],
        [helper.make_tensor_value_info(_ANSWERS, TensorProto.DOUBLE, [None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="kedge")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _nodes(trees: Trees) -> dict[str, Any]:
    """Lay all trees out in one row of inner nodes and one of leaves, as the operator's attributes."""
    from onnx import TensorProto, helper

    parts: dict[str, list[np.ndarray]] = {}
    roots, inner_count, leaf_count = [], 0, 0

    def add(**columns: np.ndarray) -> None:
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)

    for tree in trees.trees:
        leaf = tree.left == -1
        inner = ~leaf
        roots.append(inner_count)
        if leaf[0]:  # a tree of one leaf: a split whose both sides end there
            nothing = np.zeros(1, dtype=np.int64)
            add(column=nothing, split=np.zeros(1), mode=np.zeros(1, np.uint8), missing=nothing, left=nothing + leaf_count)
            add(right=nothing + leaf_count, left_leaf=nothing + 1, right_leaf=nothing + 1, value=tree.value[:1])
            inner_count, leaf_count = inner_count + 1, leaf_count + 1
            continue
        place = np.where(leaf, leaf_count + np.cumsum(leaf) - 1, inner_count + np.cumsum(inner) - 1)
        left, right = tree.left[inner], tree.right[inner]
        add(column=tree.column[inner], split=tree.threshold[inner], mode=_OPERATORS[tree.operator[inner]])
        add(missing=tree.default_left[inner], left=place[left], right=place[right])
        add(left_leaf=leaf[left], right_leaf=leaf[right], value=tree.value[leaf])
        inner_count, leaf_count = inner_count + int(inner.sum()), leaf_count + int(leaf.sum())

    flat = {name: np.concatenate(values) for name, values in parts.items()}

    def whole(name: str) -> list[int]:
        return [int(each) for each in flat[name]]

    def tensor(name: str, kind: int) -> Any:
        return helper.make_tensor(name, kind, flat[name].shape, flat[name].tobytes(), raw=True)

    return {
        "tree_roots": roots,
        "nodes_featureids": whole("column"),
        "nodes_splits": tensor("split", TensorProto.DOUBLE),
        "nodes_modes": tensor("mode", TensorProto.UINT8),
        "nodes_missing_value_tracks_true": whole("missing"),
        "nodes_truenodeids": whole("left"),
        "nodes_falsenodeids": whole("right"),
        "nodes_trueleafs": whole("left_leaf"),
        "nodes_falseleafs": whole("right_leaf"),
        "leaf_targetids": [0] * len(flat["value"]),
        "leaf_weights": tensor("value", TensorProto.DOUBLE),
    }

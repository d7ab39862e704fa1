"""Trees as arrays of child indices: what must hold before foreign code walks them."""

import numpy as np

from kedge.errors import ModelRefused


def require_tree(children: np.ndarray, nodes: int, *, where: str) -> None:
    """Check that a walk down from node 0 stays inside and ends: each child is some other node of the tree, and no two
    parents share one. Raises ModelRefused.

    `children` are the child indices of all parents, both sides. A walk could only run in a circle by entering it from
    outside, at a node with two parents, or by coming back to node 0.
    """
    if len(children) and (children.min() < 1 or children.max() >= nodes or len(np.unique(children)) != len(children)):
        raise ModelRefused(f"{where}: a child lies outside the tree or has two parents; write the model anew")


def require_columns(columns: np.ndarray, number: int, *, where: str) -> None:
    """Check that splits ask for columns 0 to `number` - 1. Raises ModelRefused."""
    if len(columns) and (columns.min() < 0 or columns.max() >= number):
        raise ModelRefused(f"{where}: a split asks for a column outside the model's {number}; write the model anew")

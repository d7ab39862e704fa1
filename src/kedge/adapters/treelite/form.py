"""Trees answered by treelite's own interpreter: float64, one thread. A tenth of scikit-learn's time on one row, about the
same on a hundred, more on thousands; for a machine without onnxruntime."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kedge.adapters.treelite.reading import read_model, read_trees
from kedge.errors import ModelRefused
from kedge.ports import Compiled

_FILE = "trees.treelite"


class TreeliteForm:
    """Compiles trees to treelite's binary form."""

    name = "treelite"

    def available(self) -> bool:
        """Say whether its library is installed: it always is."""
        return True

    def libraries(self) -> dict[str, str]:
        """Name what compiles and answers, with versions."""
        import treelite

        return {"treelite": str(treelite.__version__), "numpy": np.__version__}

    def compile(self, kind: str, files: Mapping[str, bytes]) -> Compiled | None:
        """Compile a registered model's files; None where it is no trees. Raises ModelRefused."""
        if (found := read_model(kind, files)) is None:
            return None
        model, rounded = found
        trees = read_trees(model, rounded=rounded)
        flag = b"\x01" if rounded else b"\x00"
        return Compiled({_FILE: flag + bytes(model.serialize_bytes())}, trees.thresholds())

    def load(self, files: Mapping[str, bytes], *, columns: int) -> "TreelitePredictor":
        """Load what `compile` made. Raises ModelRefused."""
        import treelite

        data = files[_FILE]
        try:
            model = treelite.Model.deserialize_bytes(data[1:])
        except treelite.TreeliteError as error:
            raise ModelRefused(f"the compiled form cannot be read: {error}") from error
        if model.num_feature != columns:
            raise ModelRefused(f"the compiled form takes {model.num_feature} columns, its signature names {columns}")
        return TreelitePredictor(model, rounded=data[:1] == b"\x01")


class TreelitePredictor:
    """Trees in treelite's interpreter."""

    def __init__(self, model: Any, *, rounded: bool) -> None:
        self._model, self._rounded = model, rounded

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Answer rows: float64 (n, inputs) to float64 (n,). Raises ModelRefused with treelite's words."""
        import treelite

        if not len(matrix):
            return np.empty(0)
        if self._rounded:
            matrix = matrix.astype(np.float32).astype(np.float64)
        try:
            answers = treelite.gtil.predict(self._model, matrix, nthread=1)
        except treelite.TreeliteError as error:
            raise ModelRefused(f"treelite failed on these rows: {error}") from error
        return np.ascontiguousarray(answers.reshape(len(matrix), -1)[:, -1], dtype=np.float64)

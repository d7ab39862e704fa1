"""The bytes of a skops file: written the same for the same model, and looked through before anything is constructed.

A skops file is a zip of `schema.json` (a tree of states, each with class, module and loader) and arrays in NumPy's own
format. As skops writes it, files carry memory addresses, the time of day and whatever lay in the padding of structs.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kedge.errors import ModelRefused

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, NotImplementedError, EOFError, MemoryError, RecursionError)

# Types beyond those that skops trusts, and the one loader by which each may come: another loader would construct them
# from values that are not looked at here.
ALLOWED = {
    "numpy.dtype": "DTypeNode",
    "sklearn._loss.loss.HalfTweedieLoss": "ObjectNode",
    "sklearn._loss.loss.HalfTweedieLossIdentity": "ObjectNode",
    "sklearn.calibration._CalibratedClassifier": "ObjectNode",
    "sklearn.calibration._SigmoidCalibration": "ObjectNode",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": "ObjectNode",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer": "ObjectNode",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer": "ObjectNode",
    "sklearn.tree._tree.Tree": "TreeNode",
    "sklearn.utils._bunch.Bunch": "DictNode",
}
_UNCHECKED = "sklearn.svm._classes."
_CHECKED_SVM = {"LinearSVC", "LinearSVR"}


def canonical(data: bytes) -> bytes:
    """Rewrite a skops file so that its bytes depend on the model only: arrays named by content, no addresses, no times."""
    files, schema = _open(data)
    names = {name: _plain(name, content) for name, content in files.items()}
    cleaned = _clean(schema, {name: new for name, (new, _) in names.items()})
    kept = dict(names.values())
    kept[_SCHEMA] = json.dumps(cleaned, separators=(",", ":")).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(kept):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            archive.writestr(entry, kept[name])
    return buffer.getvalue()


def examine(data: bytes) -> None:
    """Check a file before skops sees it: plain zip, known loaders, trees that scikit-learn can construct.

    Raises ModelRefused. scikit-learn's constructor of a tree does not check its own arguments against one another.
    """
    files, schema = _open(data)
    for state in _states(schema):
        name, loader = f"{state.get('__module__')}.{state.get('__class__')}", state.get("__loader__")
        if loader == "CachedNode":
            raise ModelRefused("the model file refers to one object twice, which Kedge never writes")
        if loader != ALLOWED.get(name, loader):
            raise ModelRefused(f"the model file loads {name} by {loader}, not by {ALLOWED[name]}: skops never does")
        if name.startswith(_UNCHECKED) and name.removeprefix(_UNCHECKED) not in _CHECKED_SVM:
            raise ModelRefused(f"{name} is not allowed: libsvm reads its arrays without checking their lengths")
        if loader == "TreeNode":
            _examine_tree(state, files)


def _open(data: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ModelRefused("the model file is compressed, which Kedge never writes: it could be a bomb")
            files = {name: archive.read(name) for name in archive.namelist() if name != _SCHEMA}
            schema = json.loads(archive.read(_SCHEMA))
    except _BROKEN as error:
        raise ModelRefused(f"the model file is not a skops file: {error}") from error
    if not isinstance(schema, dict):
        raise ModelRefused("the model file is not a skops file: its schema is no object")
    return files, schema


def _states(value: Any) -> Iterator[Mapping[str, Any]]:
    """Walk all objects of a schema, without recursion: its depth is the file's to choose."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "__class__" in part:
                yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _clean(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_clean(part, names) for part in value]
    if not isinstance(value, dict):
        return value
    cleaned: dict[str, Any] = {key: _clean(part, names) for key, part in value.items() if key not in ("__id__", "file")}
    if "file" in value:
        cleaned["file"] = names[value["file"]]
    if cleaned.get("__loader__") == "SetNode":
        cleaned["content"].sort(key=json.dumps)
    return cleaned


def _plain(name: str, content: bytes) -> tuple[str, bytes]:
    """Give an array's file its content's name; zero the padding of a struct, which is whatever memory held."""
    if name.endswith(".npy"):
        array = np.load(io.BytesIO(content), allow_pickle=False)
        if array.dtype.names:
            clean = np.zeros(array.shape, array.dtype)
            for field in array.dtype.names:
                clean[field] = array[field]
            buffer = io.BytesIO()
            np.save(buffer, clean, allow_pickle=False)
            content = buffer.getvalue()
    return hashlib.blake2b(content, digest_size=16).hexdigest() + name[name.rindex(".") :], content


def _examine_tree(state: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Check what a tree is constructed from: one class count for each output, and as many nodes as it says."""
    try:
        features, counts, outputs = state["__reduce__"]["args"]["content"]
        attributes = state["content"]["content"]
        classes, nodes = _array(counts, files), _array(attributes["nodes"], files)
        count = _integer(attributes["node_count"])
        fits = (
            classes.shape == (_integer(outputs),)
            and classes.size > 0
            and bool((classes >= 1).all())
            and nodes.shape == (count,)
            and count >= 1
            and _integer(features) >= 1
        )
    except (*_BROKEN, TypeError) as error:
        raise ModelRefused(f"a tree in the model file has no proper state: {error!r}") from error
    if not fits:
        raise ModelRefused("a tree in the model file does not fit together: numbers of outputs, classes or nodes differ")


def _array(state: Mapping[str, Any], files: Mapping[str, bytes]) -> np.ndarray:
    kind = tuple(state[key] for key in ("__loader__", "__module__", "__class__", "type"))
    if kind != ("NdArrayNode", "numpy", "ndarray", "numpy"):
        raise ValueError("not a plain array")
    array: np.ndarray = np.load(io.BytesIO(files[state["file"]]), allow_pickle=False)
    return array


def _integer(state: Mapping[str, Any]) -> int:
    value = json.loads(state["content"])
    if state["__loader__"] != "JsonNode" or type(value) is not int:
        raise ValueError("not an integer")
    return value

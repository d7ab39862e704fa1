"""Models that are code: a signed package whose class answers, or a signed pickle.

    verify    who signed, and that every file is as it was signed      before a byte of it is written or imported
    allow     the class, or the pickle, is named in trust.toml
    load      the files in a folder of their own, the module imported under a name of its own, `load(folder)`
Nothing that is not signed is written or imported. The code runs with the rights of the worker that serves it.
"""

import importlib
import pickle
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import numpy as np

from kedge.domain.paths import clean_path
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.domain.trust import Package, Trust
from kedge.errors import ModelRefused, RequestInvalid

SIGNATURE = "signature.json"
_KINDS = {"b": "BOOL", "O": "BYTES", "U": "BYTES"}
Verify = Callable[[Mapping[str, bytes], Trust], tuple[Package, str]]


class PackageFormat:
    """Keeps signed packages, which answer named arrays. `trust` is asked at each load: what is no longer trusted does not
    load in a process that runs on."""

    name = "package"

    def __init__(self, trust: Callable[[], Trust], verify: Verify) -> None:
        self._trust, self._verify = trust, verify

    def claims(self, files: Mapping[str, bytes]) -> dict[str, bytes] | None:
        """Find a signed package among files: what is signed, and its signature. Raises ModelRefused."""
        if SIGNATURE not in files:
            return None
        package, _ = self._allowed(files)
        if foreign := [name for name in files if name.endswith(".py") and name not in package.files]:
            raise ModelRefused(f"{', '.join(foreign)} is not signed; sign the package again, or take it away")
        return {name: files[name] for name in (*package.files, SIGNATURE)}

    def signer(self, files: Mapping[str, bytes]) -> str:
        """Name the key that signed. Raises ModelRefused."""
        return self._allowed(files)[1]

    def describe(self, files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature:
        """Read from the example what the model takes, and from its answers what it gives."""
        answers = self._loaded(files).run(example)
        rows = {len(array) if array.ndim else -1 for array in (*example.values(), *answers.values())}
        batched = len(rows) == 1 and -1 not in rows
        outputs = _specs(answers, batched=batched)
        single = [spec.name for spec in outputs if spec.shape == (-1,) and spec.datatype.startswith("FP")]
        return TensorSignature(
            inputs=_specs(example, batched=batched),
            outputs=outputs,
            batched=batched,
            watched=single[0] if len(single) == 1 else "",
        )

    def open(self, files: Mapping[str, bytes], tensors: TensorSignature) -> "SignedModel":
        """Load a package whose signature holds. Raises ModelRefused."""
        return self._loaded(files)

    def _allowed(self, files: Mapping[str, bytes]) -> tuple[Package, str]:
        """Check the signature, and that what it would run is allowed by name."""
        trust = self._trust()
        package, signer = self._verify(files, trust)
        if package.pickle:
            if package.name not in trust.pickles:
                raise ModelRefused(
                    f"the pickle of package {package.name!r} is signed by {signer}, but no pickle of that name is allowed;"
                    f' write pickles = ["{package.name}"] in trust.toml if it shall be loaded'
                )
        elif (wanted := f"{package.name}/{package.runs}") not in trust.classes:
            raise ModelRefused(
                f'class {wanted!r} is signed by {signer}, but not allowed by name; write classes = ["{wanted}"] in'
                " trust.toml if it shall run"
            )
        return package, signer

    def _loaded(self, files: Mapping[str, bytes]) -> "SignedModel":
        package, signer = self._allowed(files)
        folder = tempfile.TemporaryDirectory(prefix="kedge-package-")
        for name in package.files:
            path = Path(folder.name, _plain(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
        try:
            model = _unpickled(files[package.pickle]) if package.pickle else _made(package, Path(folder.name))
        except (Exception, SystemExit) as error:  # what signed code raises while it loads is its own matter, and is told
            raise ModelRefused(
                f"package {package.name!r}, signed by {signer}, fails to load: {type(error).__name__}: {error}"
            ) from error
        return SignedModel(model, folder)


class SignedModel:
    """A loaded package."""

    def __init__(self, model: Any, folder: "tempfile.TemporaryDirectory[str]") -> None:
        self._model, self._folder = model, folder  # the folder lives as long as the model, which may read there

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Answer arrays by name: what its `predict` gives, an array alone under the name `output`."""
        answers = self._model.predict(dict(inputs))
        if not isinstance(answers, Mapping):
            answers = {"output": answers}
        return {str(name): np.asarray(array) for name, array in answers.items()}


def _unpickled(data: bytes) -> "_Unpickled":
    return _Unpickled(pickle.loads(data))  # noqa: S301 - signed, and allowed by name


class _Unpickled:
    """An estimator from a pickle: its columns side by side, its probabilities if it has any, else its answers."""

    def __init__(self, model: Any) -> None:
        self._answers = model.predict_proba if hasattr(model, "predict_proba") else model.predict
        self._name = "probabilities" if hasattr(model, "predict_proba") else "prediction"

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        columns = list(inputs.values())
        return {self._name: np.asarray(self._answers(columns[0] if len(columns) == 1 else np.column_stack(columns)))}


def _made(package: Package, folder: Path) -> Any:
    """Import the module as one of a package of its own, so that two versions never share a module, and load the class."""
    module_name, _, class_name = package.runs.partition(":")
    home = f"kedge_package_{folder.name.rpartition('-')[2]}"
    spec = ModuleSpec(home, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[home] = module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        model = getattr(importlib.import_module(f"{home}.{module_name}"), class_name)()
        model.load(folder)
    finally:
        sys.dont_write_bytecode = before
    return model


def _plain(name: str) -> str:
    try:
        return clean_path(name)
    except RequestInvalid as error:
        raise ModelRefused(f"a signed file is called {name!r}: {error}") from error


def _specs(arrays: Mapping[str, np.ndarray], *, batched: bool) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=name,
            datatype=_KINDS.get(array.dtype.kind) or _numeric(name, array),
            shape=(-1, *array.shape[1:]) if batched else array.shape,
            nullable=array.dtype.kind in "fO",
        )
        for name, array in arrays.items()
    )


def _numeric(name: str, array: np.ndarray) -> str:
    prefix = {"f": "FP", "i": "INT", "u": "UINT"}.get(array.dtype.kind)
    if prefix is None or array.dtype.itemsize > 8:
        raise ModelRefused(f"{name!r} is an array of {array.dtype}; a model takes and gives numbers, booleans and texts")
    return f"{prefix}{array.dtype.itemsize * 8}"

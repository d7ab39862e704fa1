"""ONNX models as they come: one file, checked by ONNX's own checker, standard operators only, all data inside.

A file that names data outside itself would have the runtime read whatever path it says; an operator of another domain
would need a library loaded. Both are refused, wherever in the graph, its functions or its subgraphs they stand.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kedge.adapters.onnx.session import faults, open_session
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import ConfigError, ModelRefused

_FILE = "model.onnx"
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    **{f"tensor({sign.lower()}int{bits})": f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}


class OnnxFormat:
    """Keeps ONNX models, which answer named arrays."""

    name = "onnx"

    def accepts(self, model: Any) -> bool:
        """Say whether this is an ONNX model in memory."""
        kind = type(model)
        return kind.__name__ == "ModelProto" and kind.__module__.partition(".")[0] == "onnx"

    def dump(self, model: Any) -> dict[str, bytes]:
        """Write a model. Raises ModelRefused for what could not be loaded again."""
        data: bytes = model.SerializeToString(deterministic=True)
        _require_sound(data)
        return {_FILE: data}

    def claims(self, files: Mapping[str, bytes]) -> dict[str, bytes] | None:
        """Find the one .onnx file among files; None where there is none. Raises ModelRefused."""
        names = [name for name in files if name.endswith(".onnx")]
        if not names:
            return None
        if len(names) > 1:
            raise ModelRefused(
                f"there are {len(names)} .onnx files ({', '.join(sorted(names))}); register one model at a time"
            )
        _require_sound(files[names[0]])
        return {_FILE: files[names[0]]}

    def describe(self, files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature:
        """Say what the model takes and gives, as its graph does. Raises ModelRefused."""
        session = _opened(files)
        inputs = tuple(_spec(each, nullable=True) for each in session.get_inputs())
        outputs = tuple(_spec(each) for each in session.get_outputs())
        batched = all(spec.shape[:1] == (-1,) for spec in (*inputs, *outputs))
        single = [spec.name for spec in outputs if spec.shape in ((-1,), (-1, 1)) and spec.datatype in ("FP32", "FP64")]
        return TensorSignature(
            inputs=inputs, outputs=outputs, batched=batched, watched=single[0] if batched and len(single) == 1 else ""
        )

    def open(self, files: Mapping[str, bytes], tensors: TensorSignature) -> "OnnxModel":
        """Load a model. Raises ModelRefused."""
        return OnnxModel(_opened(files))


class OnnxModel:
    """A loaded ONNX model."""

    def __init__(self, session: Any) -> None:
        import onnxruntime

        self._session, self._faults = session, faults(onnxruntime)
        self._outputs = [each.name for each in session.get_outputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Answer arrays by name. Raises ValueError with onnxruntime's words."""
        try:
            answers = self._session.run(None, dict(inputs))
        except self._faults as error:
            raise ValueError(" ".join(str(error).split())[:300]) from error
        return dict(zip(self._outputs, answers, strict=True))


def _opened(files: Mapping[str, bytes]) -> Any:
    if set(files) != {_FILE}:
        raise ModelRefused(f"a model in this format is one file {_FILE}, not {', '.join(sorted(files)) or 'none'}")
    _require_sound(files[_FILE])
    return open_session(files[_FILE])


def _spec(value: Any, *, nullable: bool = False) -> TensorSpec:
    datatype = _TYPES.get(value.type)
    if datatype is None:
        raise ModelRefused(f"{value.name!r} is a {value.type}; convert the model so that it gives tensors (zipmap=False)")
    shape = tuple(size if isinstance(size, int) and size > 0 else -1 for size in value.shape)
    return TensorSpec(name=value.name, datatype=datatype, shape=shape, nullable=nullable and datatype[:2] == "FP")


def _require_sound(data: bytes) -> None:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ConfigError("this model needs ONNX; install it: pip install 'kedge[onnx]'") from error
    try:
        model = onnx.load_from_string(data)
        own = {(function.domain, function.name) for function in model.functions}
        for graph in (model.graph, *model.functions):
            _require_graph(graph, own=own)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        raise ModelRefused(f"the file is not a sound ONNX model: {' '.join(str(error).split())[:300]}") from error


def _require_graph(graph: Any, *, own: set[tuple[str, str]]) -> None:
    """Check a graph and those inside it; `own` are the functions of the file: a domain that one has names no other."""
    from onnx import TensorProto

    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ModelRefused(f"tensor {tensor.name!r} lies outside the file; save the model with its data inside")
    for node in graph.node:
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in own:
            raise ModelRefused(f"operator {node.op_type!r} is of domain {node.domain!r}; only ONNX's own are allowed")
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _require_graph(inner, own=own)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)

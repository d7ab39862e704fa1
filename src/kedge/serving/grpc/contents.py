"""Tensors and parameters in protocol buffers: typed contents, or raw bytes as in the binary extension.

All inputs come raw or none does, and the outputs go as the inputs came. FP16 has no typed contents: it is always raw.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kedge.serving.grpc.messages import message
from kedge.serving.wire.binary import from_raw, to_raw
from kedge.serving.wire.datatypes import DATATYPES, MOST_AXES, Datatype
from kedge.serving.wire.decoding import refuse
from kedge.serving.wire.questions import InferResponse, Tensor, Wanted

Response = message("ModelInferResponse")
Parameter = message("InferParameter")
_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def tensors_of(request: Any) -> list[Tensor]:
    """Read the inputs of a request. Raises RequestInvalid naming the input and what was expected."""
    raws = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        refuse(f"raw_input_contents has {len(raws)} entries for {len(request.inputs)} inputs; all inputs are raw or none")
    tensors = []
    for place, given in enumerate(request.inputs):
        datatype, shape = _declared(given)
        if raws:
            if given.HasField("contents"):
                refuse(f"input {given.name!r} has contents beside raw_input_contents; all inputs are raw or none")
            data = from_raw(given.name, datatype, shape=shape, raw=raws[place])
        else:
            data = _typed(given, datatype, shape=shape)
        tensors.append(Tensor(given.name, given.datatype, shape, data))
    return tensors


def _declared(given: Any) -> tuple[Datatype, tuple[int, ...]]:
    """Give the datatype and the shape that an input declares. Raises RequestInvalid."""
    shape = tuple(given.shape)
    if given.datatype not in DATATYPES:
        refuse(f"input {given.name!r}: datatype {given.datatype!r} is not one of {', '.join(DATATYPES)}")
    if not 0 < len(shape) <= MOST_AXES or min(shape) < 0:
        refuse(f"input {given.name!r}: shape {list(shape)} has from 1 to {MOST_AXES} axes, none of them negative")
    if "shared_memory_region" in given.parameters:
        refuse(f"input {given.name!r}: shared memory is not offered here; send the data")
    return DATATYPES[given.datatype], shape


def _typed(given: Any, datatype: Datatype, *, shape: tuple[int, ...]) -> NDArray[Any]:
    field = _FIELDS.get(datatype.name)
    if field is None:
        refuse(f"input {given.name!r}: {datatype.name} has no typed contents; send raw_input_contents")
    if others := [kind.name for kind, _ in given.contents.ListFields() if kind.name != field]:
        refuse(f"input {given.name!r} ({datatype.name}) has {', '.join(others)}; expected {field}")
    values = getattr(given.contents, field)
    if len(values) != prod(shape):
        refuse(f"input {given.name!r}: shape {list(shape)} asks for {prod(shape)} values, {field} has {len(values)}")
    if datatype.name == "BYTES":
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts.reshape(shape)
    flat = np.array(values, datatype.dtype if datatype.floating else None)
    if datatype.dtype.kind in "iu" and flat.size:
        limits = np.iinfo(datatype.dtype)
        if int(flat.min()) < limits.min or int(flat.max()) > limits.max:
            refuse(f"input {given.name!r} ({datatype.name}): an element is not {datatype.holds}")
    return flat.astype(datatype.dtype, copy=False).reshape(shape)


def parameters_of(given: Any) -> dict[str, Any]:
    """Read parameters. Raises RequestInvalid for one without a value."""
    parameters = {}
    for name in given:
        choice = given[name].WhichOneof("parameter_choice")
        if choice is None:
            refuse(f"parameter {name!r} has no value")
        parameters[name] = getattr(given[name], choice)
    return parameters


def wanted_of(request: Any) -> list[Wanted] | None:
    """Read which outputs are asked for, None where none is named. Raises RequestInvalid for what is not offered here."""
    for output in request.outputs:
        for extension in ("classification", "shared_memory_region"):
            if extension in output.parameters:
                refuse(f"output {output.name!r}: {extension} is not offered here; ask for the tensor")
    return [Wanted(output.name) for output in request.outputs] or None


def response_of(answer: InferResponse, *, raw: bool) -> Any:
    """Write an answer, its outputs raw or typed; all are raw where one has no typed contents."""
    raw = raw or any(tensor.datatype not in _FIELDS for tensor in answer.outputs)
    response = Response(model_name=answer.model, model_version=answer.version, id=answer.id)
    _write_parameters(response.parameters, answer.parameters)
    for tensor in answer.outputs:
        output = response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            response.raw_output_contents.append(to_raw(tensor))
        else:
            getattr(output.contents, _FIELDS[tensor.datatype]).extend(_plain(tensor))
    return response


def _plain(tensor: Tensor) -> Sequence[Any]:
    values: list[Any] = tensor.data.ravel().tolist()
    return (
        [each if isinstance(each, bytes) else str(each).encode() for each in values]
        if tensor.datatype == "BYTES"
        else values
    )


def _write_parameters(into: Any, parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        if isinstance(value, bool):
            into[name].bool_param = value
        elif isinstance(value, int):
            into[name].int64_param = value
        elif isinstance(value, float):
            into[name].double_param = value
        else:
            into[name].string_param = str(value)

"""PyTorch models as exported programs (`torch.export.save`): graphs of ATen's operators and their weights, no code.

Inputs and outputs have the names of the exported function's arguments and of the keys it returns. A module of one's own
with its weights as safetensors is code: it is served as a signed package.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from kedge.adapters.torch.program import canonical
from kedge.domain.serving import TensorSignature, TensorSpec
from kedge.errors import ConfigError, ModelRefused

_FILE = "model.pt2"
_KINDS = {"f": "FP", "i": "INT", "u": "UINT"}


class TorchFormat:
    """Keeps exported programs, which answer named arrays."""

    name = "torch"

    def claims(self, files: Mapping[str, bytes]) -> dict[str, bytes] | None:
        """Find the one .pt2 file among files, rewritten; None where there is none. Raises ModelRefused."""
        names = [name for name in files if name.endswith(".pt2")]
        if not names:
            return None
        if len(names) > 1:
            raise ModelRefused(f"there are {len(names)} .pt2 files ({', '.join(sorted(names))}); register one at a time")
        return {_FILE: canonical(files[names[0]], _no_samples())}

    def describe(self, files: Mapping[str, bytes], example: Mapping[str, np.ndarray]) -> TensorSignature:
        """Say what the program takes and gives: as its example, and its answers to that. Raises ModelRefused."""
        model = _opened(files)
        if missing := [name for name in model.inputs if name not in example]:
            raise ModelRefused(f"the example lacks the input {', '.join(missing)}")
        taken = {name: example[name] for name in model.inputs}
        answers = model.run(taken)
        lengths = {len(array) if array.ndim else -1 for array in (*taken.values(), *answers.values())}
        batched = len(lengths) == 1 and -1 not in lengths and model.dynamic
        outputs = tuple(_spec(name, array, batched=batched) for name, array in answers.items())
        single = [spec.name for spec in outputs if spec.shape in ((-1,), (-1, 1)) and spec.datatype.startswith("FP")]
        return TensorSignature(
            inputs=tuple(_spec(name, array, batched=batched) for name, array in taken.items()),
            outputs=outputs,
            batched=batched,
            watched=single[0] if len(single) == 1 else "",
        )

    def open(self, files: Mapping[str, bytes], tensors: TensorSignature) -> "TorchProgram":
        """Load a program. Raises ModelRefused."""
        return _opened(files)


class TorchProgram:
    """A loaded program, on the CPU and one thread."""

    def __init__(self, program: Any) -> None:
        self._module = program.module(check_guards=False)  # the guards would be made of the samples
        self.inputs = tuple(str(name) for name in program.graph_signature.user_inputs)
        self.dynamic = bool(program.range_constraints)
        self._names = tuple(str(name) for name in program.graph_signature.user_outputs)

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Answer arrays by name."""
        import torch

        with torch.inference_mode():
            answers = self._module(*(torch.from_numpy(np.array(inputs[name])) for name in self.inputs))
        if isinstance(answers, Mapping):
            named = {str(name): answer for name, answer in answers.items()}
        else:
            several = answers if isinstance(answers, tuple | list) else (answers,)
            named = dict(zip(self._names, several, strict=True))
        return {name: answer.numpy() for name, answer in named.items()}


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ConfigError("this model needs PyTorch; install it: pip install 'kedge[torch]'") from error
    return torch


def _no_samples() -> bytes:
    buffer = io.BytesIO()
    _torch().save(((), {}), buffer)
    return buffer.getvalue()


def _opened(files: Mapping[str, bytes]) -> TorchProgram:
    torch = _torch()
    if set(files) != {_FILE}:
        raise ModelRefused(f"a model in this format is one file {_FILE}, not {', '.join(sorted(files)) or 'none'}")
    torch.set_num_threads(1)
    data = canonical(files[_FILE], _no_samples())
    try:
        return TorchProgram(torch.export.load(io.BytesIO(data)))
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise ModelRefused(f"PyTorch cannot read the program: {' '.join(str(error).split())[:300]}") from error


def _spec(name: str, array: np.ndarray, *, batched: bool) -> TensorSpec:
    prefix = _KINDS.get(array.dtype.kind)
    if prefix is None and array.dtype.kind != "b":
        raise ModelRefused(f"{name!r} is an array of {array.dtype}; a program takes and gives numbers and booleans")
    return TensorSpec(
        name=name,
        datatype=f"{prefix}{array.dtype.itemsize * 8}" if prefix else "BOOL",
        shape=(-1, *array.shape[1:]) if batched else array.shape,
        nullable=array.dtype.kind == "f",
    )

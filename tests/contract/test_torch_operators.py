"""Which operators an exported program may name: looked through without PyTorch, before it reads a byte."""

import io
import json
import zipfile

import pytest

from kedge.adapters.torch.program import canonical
from kedge.errors import ModelRefused


def program(**node):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        graph = {"graph_module": {"graph": {"nodes": [{"inputs": [], "outputs": [], "metadata": {}, **node}]}}}
        archive.writestr("net/models/model.json", json.dumps(graph))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",  # maps any file, and makes one that is not there
        "torch.ops.aten.save.default",  # writes one
        "torch.ops.aten.empty.memory_format",
        "torch.ops.aten.add.__class__",
        "torch.ops.aten.add",
        "torch.ops.prim.add.default",
    ],
)
def test_what_does_more_than_compute_is_refused(target):
    with pytest.raises(ModelRefused, match=f"operator '{target}' is not allowed"):
        canonical(program(target=target), b"")


def test_an_operator_given_to_an_operator_is_refused():
    given = [{"name": "f", "arg": {"as_operator": "torch.ops.aten.add.Tensor"}}]
    with pytest.raises(ModelRefused, match="an operator is given to an operator"):
        canonical(program(target="torch.ops.aten.add.Tensor", inputs=given), b"")


@pytest.mark.parametrize("target", ["torch.ops.aten.linear.default", "torch.ops.aten.relu_.default", "_operator.mul"])
def test_what_computes_passes(target):
    assert canonical(program(target=target), b"")

"""Exported PyTorch programs: served as they were exported, and nothing in them runs but their operators."""

import importlib
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from kedge.errors import ModelRefused


def library(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed: exported programs were NOT tested", allow_module_level=True)


torch = library("torch")

from kedge.adapters.torch.format import TorchFormat  # noqa: E402

FORMAT = TorchFormat()
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(3, 2)

    def forward(self, rows):
        return {"chances": self.line(rows).softmax(-1), "total": rows.sum(1)}


class Evil:
    def __reduce__(self):
        return os.mkdir, (EVIL,)


EVIL = "kedge-torch-evil"


@pytest.fixture(scope="module")
def exported():
    torch.manual_seed(0)
    net = Net()
    program = torch.export.export(net, (torch.from_numpy(X),), dynamic_shapes={"rows": {0: torch.export.Dim("n")}})
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return net, buffer.getvalue()


def test_a_program_answers_as_its_module(exported):
    net, data = exported
    files = FORMAT.claims({"net.pt2": data, "example.npz": b""})
    assert files == FORMAT.claims(files)
    signature = FORMAT.describe(files, {"rows": X})
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [("rows", "FP32", (-1, 3))]
    assert [(spec.name, spec.shape) for spec in signature.outputs] == [("chances", (-1, 2)), ("total", (-1,))]
    assert (signature.batched, signature.watched) == (True, "total")
    answers = FORMAT.open(files, signature).run({"rows": X[:2]})
    expected = {name: each.detach().numpy() for name, each in net(torch.from_numpy(X[:2])).items()}
    assert all(np.array_equal(answers[name], expected[name]) for name in expected)


def rewritten(data, **changes):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as out:
        for name in archive.namelist():
            short = name.partition("/")[2]
            content = archive.read(name)
            out.writestr(name, changes[short](content) if short in changes else content)
        for short, change in changes.items():
            if short not in {name.partition("/")[2] for name in archive.namelist()}:
                out.writestr(f"archive/{short}", change(b""))
    return buffer.getvalue()


def graph(old, new):
    return lambda content: content.replace(old, new)


def with_guard(content):
    return json.dumps({**json.loads(content), "guards_code": [f"__import__('os').mkdir('{EVIL}')"]}).encode()


def test_sample_inputs_and_guards_are_thrown_away(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = rewritten(
        exported[1],
        **{"data/sample_inputs/model.pt": lambda _: pickle.dumps(Evil()), "models/model.json": with_guard},
    )
    files = FORMAT.claims({"net.pt2": data})
    FORMAT.describe(files, {"rows": X})
    assert not (tmp_path / EVIL).exists()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"models/model.json": graph(b"torch.ops.aten.softmax.int", b"torch.os.system")}, "operator 'torch.os.system'"),
        ({"models/model.json": graph(b"aten.softmax.int", b"aten.from_file.default")}, "aten.from_file.default' is not"),
        ({"models/model.json": graph(b"Symbol(", b"exit(")}, "the shape expression"),
        ({"data/weights/model_weights_config.json": graph(b'"use_pickle": false', b'"use_pickle": true')}, "pickled tensor"),
        ({"data/constants/custom_obj_0": lambda _: b"x"}, "'data/constants/custom_obj_0' in the exported program"),
        ({"models/model.json": lambda _: b"[]"}, "is no program"),
    ],
)
def test_what_would_run_code_is_refused(exported, changes, why):
    with pytest.raises(ModelRefused, match=why):
        FORMAT.claims({"net.pt2": rewritten(exported[1], **changes)})


def test_what_is_no_program_is_refused():
    with pytest.raises(ModelRefused, match="not an exported program"):
        FORMAT.claims({"net.pt2": b"PK"})
    with pytest.raises(ModelRefused, match="register one at a time"):
        FORMAT.claims({"a.pt2": b"", "b.pt2": b""})

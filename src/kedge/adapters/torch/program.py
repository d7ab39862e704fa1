"""The bytes of an exported PyTorch program, looked through and rewritten before PyTorch reads them.

PyTorch's own reader unpickles sample inputs, evaluates the text of shape expressions and runs the text of guards. So:

    weights, constants   raw numbers only, never pickled
    sample inputs        thrown away; an empty one of our own takes their place
    model.json           operators that compute (`operators.py`) and Python's arithmetic only; expressions of symbols and
                         whole numbers only; no guards, no metadata of nodes
Whatever else is in the archive is refused.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kedge.adapters.torch.operators import computes
from kedge.errors import ModelRefused

_SAMPLES = "data/sample_inputs/model.pt"
_GRAPH = "models/model.json"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|\.format_version|\.storage_alignment"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+"
)
_ARITHMETIC = frozenset(
    "_operator." + name
    for name in (
        *("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow"),
        *("le", "lt", "ge", "gt", "eq", "ne", "and_", "or_", "not_"),
    )
)
_EXPRESSION = re.compile(
    r"(?:Symbol\('[su]\d++'(?:, (?:positive|integer|nonnegative)=True)*+\)|[su]\d++|\d++|Mod|FloorDiv|Max|Min|[-+*(), ])++"
)
_BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, NotImplementedError, EOFError, RecursionError)


def canonical(data: bytes, samples: bytes) -> bytes:
    """Rewrite a program so that reading it runs nothing; `samples` takes the place of its sample inputs.

    Raises ModelRefused saying what is not allowed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ModelRefused("the program's archive is compressed, which PyTorch never writes: it could be a bomb")
            files = {name: archive.read(name) for name in archive.namelist()}
        roots = {name.partition("/")[0] for name in files}
        if len(roots) != 1:
            raise ModelRefused("the file is not one exported program; write it with torch.export.save")
        return _written(dict(_checked(files, root=roots.pop() + "/", samples=samples)))
    except _BROKEN as error:
        raise ModelRefused(f"the file is not an exported program: {error}; write it with torch.export.save") from error


def _checked(files: Mapping[str, bytes], *, root: str, samples: bytes) -> Iterator[tuple[str, bytes]]:
    if root + _GRAPH not in files:
        raise ModelRefused(f"there is no {_GRAPH} in the file; write it with torch.export.save")
    for full, data in files.items():
        name = full.removeprefix(root)
        if name == _SAMPLES:
            yield full, samples
        elif name in _CONFIGS:
            _require_raw(msgspec.json.decode(data), where=name)
            yield full, data
        elif name == _GRAPH:
            yield full, msgspec.json.encode(_graph(msgspec.json.decode(data)))
        elif _PLAIN.fullmatch(name):
            yield full, data
        else:
            raise ModelRefused(f"{name!r} in the exported program is not allowed; export it without extra files")


def _require_raw(config: Any, *, where: str) -> None:
    for value in _objects(config):
        if value.get("use_pickle", False) is not False:
            raise ModelRefused(f"{where} names a pickled tensor, which is never loaded; export plain tensors")


def _graph(program: Any) -> Any:
    """Check every operator and expression of a program, and take guards and metadata away."""
    if not isinstance(program, dict):
        raise ModelRefused(f"{_GRAPH} is no program")
    for value in _objects(program):
        target = value.get("target")
        if isinstance(target, str) and "inputs" in value:
            if not (computes(target) or target in _ARITHMETIC):
                raise ModelRefused(
                    f"operator {target!r} is not allowed in an exported program; ATen's that compute answers are. Serve the"
                    " model as a signed package"
                )
            value["metadata"] = {}
        if value.get("as_operator") is not None:
            raise ModelRefused("an operator is given to an operator, which is not allowed in an exported program")
        text = value.get("expr_str")
        if text is not None and not (isinstance(text, str) and _EXPRESSION.fullmatch(text)):
            raise ModelRefused(f"the shape expression {str(text)[:60]!r} is not allowed in an exported program")
    program["guards_code"] = []
    return program


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Walk all objects of a document, without recursion: its depth is the file's to choose."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _written(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name])
    return buffer.getvalue()

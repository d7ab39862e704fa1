"""From a folder of files to what serving needs, in a process of its own, whoever wrote the folder.

    model        the one file of a safe format that is among the files; nothing is unpickled
    example      kedge.json says which file, else what MLflow saved as the input example
    signature    numbers, one answer a row: a table; else named arrays, as the model and the example say
    answers      the model's own to the example: the reference that every load is checked against
Whatever is missing is said with what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import polars as pl

from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.domain.serving import TensorSignature
from kedge.errors import ModelRefused
from kedge.evaluation.arrays import DTYPES, Example, as_array, pack_example, require_answers, require_fitting
from kedge.evaluation.parity import Examined, ToExamine, examine, tolerance_of
from kedge.features.encode import encode_frame
from kedge.ports import CompiledForm, ModelFormat, TensorFormat, TensorPredictor
from kedge.registry.examples import read_example
from kedge.registry.mlmodel import FILE, read_mlmodel

ABOUT = "kedge.json"
OUTPUT = "prediction"
_TYPES = {"f": ColumnType.FLOAT, "i": ColumnType.INTEGER, "u": ColumnType.INTEGER, "b": ColumnType.BOOLEAN}
_FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
_BY_ENDING = {
    ".pkl": "pickles are never loaded: for scikit-learn, log it with kedge.log_model(model, example=X), or with MLflow's"
    " serialization_format='skops'",
    ".ubj": "XGBoost's binary files are not read: log it with kedge.log_model(model, example=X), or with MLflow's"
    " model_format='json'",
    ".xgb": "XGBoost's binary files are not read: save it as .json",
    ".pth": "pickled PyTorch models are never loaded: export it with torch.export.save, or keep its weights as safetensors",
    ".pt": "pickled PyTorch models are never loaded: export it with torch.export.save, or keep its weights as safetensors",
    ".keras": "Keras models are not read: export them to ONNX",
}


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `kedge.json` beside a model says: the file of example rows, what its answer is called, the tolerance of a
    compiled form."""

    example: str = ""
    output: str = ""
    tolerance: float | None = None


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about a folder: the model's format and files as they are kept, its signature, the example with
    its answers, and how a compiled form compared."""

    format: str
    files: dict[str, bytes]
    example: bytes
    signature: Signature | None = None
    tensors: TensorSignature | None = None
    examined: Examined = msgspec.field(default_factory=Examined)
    tolerance: float = 0.0
    signer: str = ""


def prepare(
    files: Mapping[str, bytes],
    *,
    formats: Sequence[ModelFormat],
    tensors: Sequence[TensorFormat],
    forms: Sequence[CompiledForm],
) -> Prepared:
    """Find out what serving needs of a folder's files. Raises ModelRefused saying why not, and what to do."""
    about = _about(files)
    example_file = _example_file(files, about)
    others = {name: data for name, data in files.items() if name not in (ABOUT, FILE)}
    found = _claimed([*tensors, *formats], others)  # a package may hold files of other formats
    if found is None:
        raise ModelRefused(_why_not(others))
    name, kept = found
    if not example_file:
        raise ModelRefused(
            "it has no example rows, which its signature is read from and every load is checked against: log it with"
            " example=X (MLflow: input_example=X), or register it with --example ROWS"
        )
    example = read_example(example_file, files[example_file])
    told: list[str] = []
    for form in formats:
        if form.name == name:
            try:
                return _table(form, kept, example=example, about=about, compiled=(formats, forms))
            except (ModelRefused, *_FAULTS) as error:
                told.append(f"{type(error).__name__}: {error}" if not isinstance(error, ModelRefused) else str(error))
    for wide in tensors:
        if wide.name == name:
            found_out = _named(wide, kept, example=example)
            if found_out is not None:
                return found_out
    raise ModelRefused(f"this {name} model cannot be served: {'; '.join(told)}")


def _about(files: Mapping[str, bytes]) -> About:
    if ABOUT not in files:
        return About()
    try:
        return msgspec.json.decode(files[ABOUT], type=About)
    except msgspec.DecodeError as error:
        raise ModelRefused(f"{ABOUT} cannot be read: {error}") from error


def _example_file(files: Mapping[str, bytes], about: About) -> str:
    name = about.example or (read_mlmodel(files[FILE]).example if FILE in files else "")
    if name and name not in files:
        raise ModelRefused(f"the example {name!r} is named, but is not among the files")
    return name


def _claimed(
    formats: Sequence[ModelFormat | TensorFormat], files: Mapping[str, bytes]
) -> tuple[str, dict[str, bytes]] | None:
    for form in formats:
        kept = form.claims(files)
        if kept is not None:
            return form.name, dict(kept)
    return None


def _why_not(files: Mapping[str, bytes]) -> str:
    if code := [name for name in sorted(files) if name.endswith(".py")]:
        return f"it has code, {code[0]!r}, which runs only from a signed package: kedge models sign FOLDER --key FILE"
    for name in sorted(files):
        for ending, why in _BY_ENDING.items():
            if name.endswith(ending):
                return f"its model is {name!r}, and {why}"
    some = ", ".join(sorted(files)[:5]) or "no files"
    return (
        f"there is no model of a safe format among {some}; it would be a .skops, .onnx, .pt2 or .safetensors file, XGBoost's"
        " JSON or LightGBM's text"
    )


def _table(
    form: ModelFormat,
    kept: dict[str, bytes],
    *,
    example: Mapping[str, np.ndarray],
    about: About,
    compiled: tuple[Sequence[ModelFormat], Sequence[CompiledForm]],
) -> Prepared:
    """Prepare a model that answers rows of numbers with one number each. Raises ModelRefused, or what the model raises."""
    names = form.columns(kept)
    names = names if set(names) <= example.keys() and names else tuple(example)
    signature, frame = _signature(form, kept, example={name: example[name] for name in names}, about=about)
    # laid out as every later load is asked: sums in another order would differ in their last bits
    matrix = np.ascontiguousarray(encode_frame(signature, frame))
    answers = np.asarray(form.load(kept, signature).predict(matrix), dtype=np.float64)
    if answers.shape != (len(frame),) or not np.isfinite(answers).all():
        raise ModelRefused(
            f"it answers {len(frame)} example rows with shape {answers.shape}, or not all with finite numbers"
        )
    tolerance = tolerance_of(form.name) if about.tolerance is None else about.tolerance
    asked = ToExamine(format=form.name, files=kept, signature=signature, rows=matrix, tolerance=tolerance)
    return Prepared(
        format=form.name,
        files=kept,
        example=_parquet(frame.with_columns(pl.Series(signature.output, answers, dtype=pl.Float64))),
        signature=signature,
        examined=examine(asked, formats=compiled[0], forms=compiled[1]),
        tolerance=tolerance,
    )


def _signature(
    form: ModelFormat, kept: dict[str, bytes], *, example: Mapping[str, np.ndarray], about: About
) -> tuple[Signature, pl.DataFrame]:
    """Read a table's signature from its example; whether it classifies is what the model itself says."""
    for name, values in example.items():
        if values.ndim != 1 or values.dtype.kind not in _TYPES:
            raise ModelRefused(f"column {name!r} holds no single numbers")
    output = about.output or OUTPUT
    if output in example:
        raise ModelRefused(f"the answer cannot be called {output!r}: a column is; name it with --output")
    inputs = tuple(Column(name=name, type=_TYPES[values.dtype.kind]) for name, values in example.items())
    refused = []
    for task, positive in ((Task.CLASSIFICATION, "1"), (Task.REGRESSION, "")):
        signature = Signature(inputs=inputs, task=task, output=output, positive=positive)
        try:
            form.load(kept, signature)
        except ModelRefused as error:
            refused.append(str(error))
            continue
        return signature, pl.DataFrame(dict(example))
    raise ModelRefused("; ".join(dict.fromkeys(refused)))


def _named(form: TensorFormat, kept: dict[str, bytes], *, example: Mapping[str, np.ndarray]) -> Prepared | None:
    """Prepare a model that answers named arrays; None where it answers tables alone."""
    try:
        signature = form.describe(kept, example)
        if signature is None:
            return None
        inputs = _inputs(signature, example)
        model = form.open(kept, signature)
        rows = len(next(iter(inputs.values()))) if signature.batched and inputs else None
        outputs = require_answers(_run(model, inputs), signature, rows=rows)
        signature = _seen_missing(signature, model, inputs=inputs)
    except _FAULTS as error:
        raise ModelRefused(f"the model fails on its example rows: {type(error).__name__}: {error}") from error
    return Prepared(format=form.name, files=kept, example=pack_example(Example(inputs, outputs)), tensors=signature)


def _inputs(signature: TensorSignature, example: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bring an example into the signature's datatypes; a table becomes the one 2-D input that it fits."""
    first = signature.inputs[0] if len(signature.inputs) == 1 else None
    if first is not None and first.name not in example and len(first.shape) == 2:
        matrix = np.column_stack(list(example.values()))
        example = {first.name: matrix.astype(DTYPES[first.datatype])}
    if missing := [spec.name for spec in signature.inputs if spec.name not in example]:
        raise ModelRefused(f"the example lacks the input {', '.join(missing)}")
    found = {}
    for spec in signature.inputs:
        array = as_array(example[spec.name])
        if spec.shape[1:] == (1,) and array.ndim == 1:
            array = array[:, None]
        found[spec.name] = np.ascontiguousarray(array.astype(DTYPES[spec.datatype]))
    require_fitting(found, signature.inputs, what="inputs of the example")
    return found


def _run(model: TensorPredictor, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: as_array(array) for name, array in model.run(inputs).items()}


def _seen_missing(
    signature: TensorSignature, model: TensorPredictor, *, inputs: Mapping[str, np.ndarray]
) -> TensorSignature:
    """Keep as nullable the inputs whose missing value the model answers."""
    specs = []
    for spec in signature.inputs:
        takes = spec.nullable and _takes_missing(model, {**inputs, spec.name: _emptied(inputs[spec.name])})
        specs.append(msgspec.structs.replace(spec, nullable=takes))
    return msgspec.structs.replace(signature, inputs=tuple(specs))


def _emptied(array: np.ndarray) -> np.ndarray:
    emptied = array.copy()
    emptied[(0,) * array.ndim] = None if array.dtype == object else np.nan
    return emptied


def _takes_missing(model: TensorPredictor, inputs: Mapping[str, np.ndarray]) -> bool:
    try:
        answers = _run(model, inputs)
    except (ModelRefused, *_FAULTS):
        return False
    return all(np.isfinite(array).all() for array in answers.values() if array.dtype.kind == "f")


def _parquet(frame: pl.DataFrame) -> bytes:
    import io

    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()

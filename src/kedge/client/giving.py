"""Turns what a script gives (figures, tables, datasets, models, files) into files and descriptions to keep."""

import getpass
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kedge.domain.data import DatasetVersion
from kedge.domain.paths import clean_path
from kedge.domain.tracking import CONTEXT_TAG, DatasetInput
from kedge.errors import RequestInvalid

if TYPE_CHECKING:
    import polars as pl

_DIGEST_BYTES = 16
_READ = 1 << 20
MOST_ROWS = 200


class ModelFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A model's files in its framework's safe format, by relative path."""

    framework: str
    files: dict[str, bytes]
    tags: dict[str, str]


def user() -> str:
    """Name the person whose process this is; "" where the system does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def files_of(path: Path, to: str) -> Iterator[tuple[str, Path]]:
    """Name a file, or all files of a folder, as artifacts. Raises RequestInvalid where there is none, or for a name."""
    before = f"{to.strip('/')}/" if to.strip("/") else ""
    if path.is_file():
        yield clean_path(f"{before}{path.name}"), path
    elif path.is_dir():
        files = [Path(folder, name) for folder, _, names in os.walk(path) for name in sorted(names)]
        yield from [(clean_path(f"{before}{path.name}/{file.relative_to(path).as_posix()}"), file) for file in files]
    else:
        raise RequestInvalid(f"there is no file or folder {str(path)!r} to keep")


def figure_file(figure: Any, path: str) -> tuple[str, bytes]:
    """Draw a figure of matplotlib or Plotly. Raises RequestInvalid for what is neither, another kind of file, the path."""
    if path:
        clean_path(path)
    if hasattr(figure, "savefig"):
        name = path or "figure.png"
        out = io.BytesIO()
        try:
            figure.savefig(out, format=_ending(name), bbox_inches="tight")
        except ValueError as error:
            raise RequestInvalid(f"a figure cannot be kept as {name!r}: {error}") from error
        return name, out.getvalue()
    if hasattr(figure, "to_plotly_json"):
        name = path or "figure.json"
        match _ending(name):
            case "json":
                return name, str(figure.to_json()).encode()
            case "html":
                return name, str(figure.to_html(include_plotlyjs=True)).encode()  # it shows without a network, too
            case other:
                raise RequestInvalid(f"a Plotly figure is kept as .json or .html, not as .{other} ({name!r})")
    raise RequestInvalid(f"{type(figure).__name__} is no figure of matplotlib or Plotly")


def table_file(table: Any, path: str) -> bytes:
    """Write a table as .parquet, .csv or .json. Raises RequestInvalid for what is no table, or for the path."""
    clean_path(path)
    frame = frame_of(table)
    out = io.BytesIO()
    match _ending(path):
        case "parquet":
            frame.write_parquet(out)
        case "csv":
            frame.write_csv(out)
        case "json":
            frame.write_json(out)
        case other:
            raise RequestInvalid(f"a table is kept as .parquet, .csv or .json, not as .{other} ({path!r})")
    return out.getvalue()


def frame_of(table: Any) -> "pl.DataFrame":
    """Read pandas, Polars, Arrow, columns by name, or rows as Polars. Raises RequestInvalid for anything else."""
    import narwhals as nw
    import polars as pl

    try:
        if isinstance(table, Mapping | list | tuple):
            return pl.DataFrame(table if isinstance(table, Mapping) else list(table))
        found = nw.from_native(table)
        return (found.collect() if isinstance(found, nw.LazyFrame) else found).to_polars()
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise RequestInvalid(f"{type(table).__name__} is no table that can be kept: {error}") from error


def dataset_of(data: Any, name: str, *, context: str, source: str) -> DatasetInput:
    """Describe a dataset: its digest, columns and size. A version in the store, a path to a file, or else a table."""
    tags = {CONTEXT_TAG: context} if context else {}
    if isinstance(data, DatasetVersion):
        columns = [{"name": column.name, "type": column.type.value} for column in data.schema.columns]
        return DatasetInput(
            name=name or data.dataset,
            digest=data.digest,
            source_type="kedge",
            source=source or f"{data.dataset}@v{data.number}",
            schema=json.dumps({"columns": columns}),
            profile=json.dumps({"num_rows": data.rows, "num_columns": len(columns)}),
            tags=tags,
        )
    if isinstance(data, str | Path):
        path = Path(data)
        if not path.is_file():
            raise RequestInvalid(f"there is no file {str(data)!r} to describe")
        return DatasetInput(
            name=name or path.name,
            digest=_digest_of_file(path),
            source_type="file",
            source=source or str(path),
            profile=json.dumps({"num_bytes": path.stat().st_size}),
            tags=tags,
        )
    frame = frame_of(data)
    columns = [{"name": column, "type": str(kind)} for column, kind in frame.schema.items()]
    return DatasetInput(
        name=name or "dataset",
        digest=_digest_of_frame(frame),
        source_type="code",
        source=source,
        schema=json.dumps({"columns": columns}),
        profile=json.dumps({"num_rows": frame.height, "num_columns": frame.width}),
        tags=tags,
    )


def model_files(model: Any, example: Any = None, *, output: str = "", tolerance: float | None = None) -> ModelFiles:
    """Write a model in its framework's safe format, with example rows beside it where some are given.

    Raises RequestInvalid where no format takes it, or for an example that is none, ModelRefused.
    """
    from kedge.job import FORMATS, KEPT

    for form in KEPT:
        if form.accepts(model):
            kind = f"{type(model).__module__}.{type(model).__qualname__}"
            files = form.dump(model) | example_files(example, output=output, tolerance=tolerance)
            return ModelFiles(framework=form.name, files=files, tags={"kedge.model.class": kind})
    if any(kind.__module__.startswith("torch.") for kind in type(model).__mro__):
        raise RequestInvalid(
            f"{type(model).__name__} is a PyTorch module: write it by torch.export.save(torch.export.export(...), "
            "'model.pt2') and give that file, which runs no code when it is read"
        )
    known = ", ".join(form.name for form in FORMATS)
    raise RequestInvalid(f"{type(model).__name__} fits none of the model formats {known}; keep its file by log_artifact")


def example_files(example: Any, *, output: str, tolerance: float | None) -> dict[str, bytes]:
    """Write example rows as they are kept beside a model: a table, an array of rows, or arrays by name."""
    if example is None:
        return {}
    from kedge.registry.preparing import ABOUT, About

    name, data = _example(example)
    return {name: data, ABOUT: msgspec.json.encode(About(example=name, output=output, tolerance=tolerance))}


def _example(example: Any) -> tuple[str, bytes]:
    import numpy as np

    if isinstance(example, list | tuple) and example and isinstance(example[0], list | tuple):
        example = np.asarray(example)  # rows as lists, which a frame would take for columns
    if isinstance(example, np.ndarray) and example.ndim == 2 and example.dtype.kind in "fiub":
        example = {f"x{place}": example[:, place] for place in range(example.shape[1])}
    if isinstance(example, Mapping) and any(np.ndim(each) > 1 for each in example.values()):
        out = io.BytesIO()
        arrays: dict[str, Any] = {str(name): np.asarray(each) for name, each in example.items()}
        np.savez(out, **arrays)
        return "example.npz", out.getvalue()
    frame = frame_of(example).head(MOST_ROWS)
    if not frame.height:
        raise RequestInvalid("the example has no rows; give some that the model may be asked")
    return "example.parquet", table_file(frame, "example.parquet")


def _ending(path: str) -> str:
    return Path(path).suffix.lower().lstrip(".")


def _digest_of_frame(frame: "pl.DataFrame") -> str:
    from blake3 import blake3

    out = io.BytesIO()
    frame.rechunk().write_ipc(out, compression="uncompressed")
    return blake3(out.getbuffer()).hexdigest(length=_DIGEST_BYTES)


def _digest_of_file(path: Path) -> str:
    from blake3 import blake3

    hasher = blake3()
    with path.open("rb") as file:
        while piece := file.read(_READ):
            hasher.update(piece)
    return hasher.hexdigest(length=_DIGEST_BYTES)

"""Frames in and out: a project's sources, and the Parquet that Kedge writes.

Parquet is written so that the chunk store can share it: one row group, pages cut by content at 32 to 128 KiB, and the
same frame always gives the same bytes.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from kedge.errors import SourceFailed, StoreBroken
from kedge.ports import Project
from kedge.storage.quoting import broken_quoting, odd_header, refused_line

_PAGES = {"min_chunk_size": 32 << 10, "max_chunk_size": 128 << 10, "norm_level": 0}
_NO_VALUE = ["NA", "null", "NULL"]
_GLOB = frozenset("*?[")
_TOLD_BY = 10_000  # rows of a CSV that tell the types of its columns, as long as no later one contradicts


def _read_csv(path: Path, separator: str = ",") -> pl.DataFrame:
    if not path.name.lower().endswith(".gz") and (broken := broken_quoting(path, separator) or odd_header(path, separator)):
        raise SourceFailed(f"source {path} is not valid csv: {broken}")
    try:
        rows = _csv(path, separator, told_by=_TOLD_BY)
        strings = [name for name, dtype in rows.schema.items() if dtype == pl.String]
        if not any(rows[name].head(_TOLD_BY).is_null().all() for name in strings):
            return rows
    except pl.exceptions.PolarsError:
        pass  # a later row says otherwise, or the file is broken, which is said below
    return _csv(path, separator, told_by=None)  # all rows tell the types, which takes thirty times as long


def _csv(path: Path, separator: str, *, told_by: int | None) -> pl.DataFrame:
    return pl.read_csv(path, separator=separator, try_parse_dates=True, infer_schema_length=told_by, null_values=_NO_VALUE)


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".tsv": lambda path: _read_csv(path, "\t"),
    ".parquet": pl.read_parquet,
}


def _scan_csv(paths: list[Path], separator: str = ",") -> pl.LazyFrame:
    return pl.scan_csv(paths, separator=separator, try_parse_dates=True, infer_schema_length=_TOLD_BY, null_values=_NO_VALUE)


_SCANNERS: dict[str, Callable[[list[Path]], pl.LazyFrame]] = {
    ".csv": _scan_csv,
    ".csv.gz": _scan_csv,
    ".tsv": lambda paths: _scan_csv(paths, "\t"),
    ".parquet": pl.scan_parquet,
}


class PolarsTables:
    """Tables of a project, whose folder paths are relative to; without a project only files and callables are known."""

    def __init__(self, root: Path, project: Project | None) -> None:
        self._root, self._project = Path(root), project
        self._called: dict[Callable[[], Any] | str, pl.DataFrame] = {}
        self._files: dict[str, tuple[object, pl.DataFrame]] = {}

    def source(self, source: Callable[[], Any] | str) -> pl.DataFrame:
        """Read a callable, "FILE.py:NAME", a file or a glob of CSV, TSV or Parquet. Raises SourceFailed, ConfigError.

        A callable is called once in a process; files are read again when they have changed.
        """
        if isinstance(source, str) and not _is_reference(source):
            return self._read_files(source)
        if source not in self._called:
            self._called[source] = self._call(source)
        return self._called[source]

    def lazy(self, path: str) -> pl.LazyFrame:
        """Read a file, or a glob, of CSV, TSV or Parquet lazily: it may be larger than memory. Raises SourceFailed."""
        paths = self._paths(path)
        suffixes = {next((suffix for suffix in _SCANNERS if each.name.lower().endswith(suffix)), "") for each in paths}
        if len(suffixes) > 1 or suffixes == {""}:
            raise SourceFailed(f"{path}: Kedge reads tables in files of one kind, one of {', '.join(_SCANNERS)}")
        if lost := next((each for each in paths if not each.is_file()), None):
            raise SourceFailed(f"there is no file {lost}")
        try:
            rows = _SCANNERS[suffixes.pop()](paths)
            rows.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceFailed(f"{path}: it cannot be read: {_brief(error)}") from error
        return rows

    def encode(self, frame: pl.DataFrame) -> bytes:
        """Write Parquet: zstd, one row group, pages cut by content. Categorical columns become strings."""
        import pyarrow.parquet as pq

        # A Categorical's codes depend on what the process has seen before: the bytes would not be the frame's own.
        plain = frame.with_columns(pl.col(pl.Categorical).cast(pl.String)).rechunk()
        buffer = io.BytesIO()
        pq.write_table(
            plain.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks(),
            buffer,
            compression="zstd",
            row_group_size=max(len(plain), 1),
            use_content_defined_chunking=_PAGES,
        )
        return buffer.getvalue()

    def decode(self, data: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read Parquet, all columns or those named, in that order. Raises StoreBroken; ColumnNotFoundError of Polars."""
        try:
            frame = pl.read_parquet(io.BytesIO(data), columns=None if columns is None else list(columns))
        except pl.exceptions.ColumnNotFoundError:
            raise
        except (pl.exceptions.PolarsError, OSError) as error:
            raise StoreBroken(f"a stored table is not Parquet: {_brief(error)}; restore the store from a backup") from error
        return frame if columns is None else frame.select(columns)

    def schema(self, data: bytes) -> pl.Schema:
        """Tell the columns and types of Parquet without reading its rows. Raises StoreBroken."""
        try:
            return pl.Schema(pl.read_parquet_schema(io.BytesIO(data)))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise StoreBroken(f"a stored table is not Parquet: {_brief(error)}; restore the store from a backup") from error

    def frame(self, table: Any, where: str) -> pl.DataFrame:
        """Take a table of pandas, Polars or Arrow; `where` names it in the error. Raises SourceFailed."""
        return _polars(table, where)

    def _call(self, source: Callable[[], Any] | str) -> pl.DataFrame:
        name = source if isinstance(source, str) else f"{source.__module__}.{getattr(source, '__name__', source)}"
        function = self._load(source) if isinstance(source, str) else source
        if not callable(function):
            raise SourceFailed(f"source {name} is of type {type(function).__name__}; name a function that returns the table")
        try:
            table = function()
        except Exception as error:  # the project's own code may raise anything
            raise SourceFailed(f"source {name} raised {type(error).__name__}: {error}{_line_of(error)}") from error
        return _polars(table, f"source {name} returned")

    def _load(self, reference: str) -> Any:
        if self._project is None:
            raise SourceFailed(f"source {reference} is code, and there is no project here to load it from")
        return self._project.load(reference)

    def _read_files(self, source: str) -> pl.DataFrame:
        paths = self._paths(source)
        try:
            stamp = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
        except OSError as error:
            raise SourceFailed(f"source {source}: cannot read {error.filename}: {error.strerror}") from error
        known = self._files.get(source)
        if known is None or known[0] != stamp:
            self._files[source] = known = (stamp, _join(source, [(path, _read_file(path)) for path in paths]))
        return known[1]

    def _paths(self, source: str) -> list[Path]:
        paths = [self._root / source]
        if paths[0].is_dir():
            return self._folder(paths[0])
        if _GLOB & set(source) and not paths[0].exists():
            paths = [Path(name) for name in sorted(glob(source, root_dir=self._root, recursive=True))]
            paths = [path for path in (self._root / path for path in paths) if path.is_file()]
        if not paths:
            raise SourceFailed(f"source {source}: no file matches in {self._root}")
        return paths

    def _folder(self, folder: Path) -> list[Path]:
        """List the tables in a folder and below it, by name; what is hidden is left out."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        plain = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
        tables = [path for path in plain if path.name.lower().endswith(tuple(_READERS))]
        if not tables:
            raise SourceFailed(f"source {folder}: no file in it is one of {', '.join(_READERS)}")
        return tables


def _is_reference(source: str) -> bool:
    return ".py:" in source


def _read_file(path: Path) -> pl.DataFrame:
    suffix = next((suffix for suffix in _READERS if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise SourceFailed(f"source {path} is none of {', '.join(_READERS)}; read it in a function, and name that as source")
    try:
        return _READERS[suffix](path)
    except pl.exceptions.NoDataError as error:
        raise SourceFailed(f"source {path} is empty: not even column names") from error
    except pl.exceptions.PolarsError as error:
        if suffix in (".csv", ".tsv") and (broken := _refused(path, "\t" if suffix == ".tsv" else ",")):
            raise SourceFailed(f"source {path} is not valid {suffix[1:]}: {broken}") from error
        advice = "it was cut short or is being written: write it anew" if suffix == ".parquet" else "correct it"
        raise SourceFailed(f"source {path} is not valid {suffix[1:]}: {_brief(error)}; {advice}") from error
    except OSError as error:
        raise SourceFailed(f"source {path}: cannot read it: {error.strerror or _brief(error)}") from error


def _refused(path: Path, separator: str) -> str:
    return broken_quoting(path, separator, most=None) or refused_line(path, separator)


def _join(source: str, frames: list[tuple[Path, pl.DataFrame]]) -> pl.DataFrame:
    """Put the files of a glob end to end. Numbers of different types, and columns without a value, join."""
    place, first = frames[0]
    advice = "make them alike, or commit them one by one"
    for path, frame in frames:
        if set(frame.columns) != set(first.columns):
            raise SourceFailed(
                f"source {source}: {path} has the columns {frame.columns}, {place} has {first.columns}; {advice}"
            )
        for column, kind in first.schema.items():
            if not _may_join(kind, frame.schema[column]):
                raise SourceFailed(
                    f"source {source}: {column} is {frame.schema[column]} in {path}, {kind} in {place}; {advice}"
                )
    return pl.concat([frame.select(first.columns) for _, frame in frames], how="vertical_relaxed")


def _may_join(one: pl.DataType, other: pl.DataType) -> bool:
    return one == other or pl.Null in (one, other) or (one.is_numeric() and other.is_numeric())


def _polars(table: Any, where: str) -> pl.DataFrame:
    if isinstance(table, pl.DataFrame):
        return table
    frame = None
    if isinstance(table, Mapping):
        return _of_columns(table, where)
    if hasattr(table, "__arrow_c_array__") and hasattr(table, "schema"):  # a record batch, of whichever library
        return pl.DataFrame(table)
    try:
        if any(name is not None for name in getattr(getattr(table, "index", None), "names", ())):
            table = table.reset_index()  # of pandas: a named index is data
        narwhal = nw.from_native(table)
        frame = narwhal.collect() if isinstance(narwhal, nw.LazyFrame) else narwhal
        return frame.to_polars()
    except Exception as error:  # a lazy table runs the project's own query only now
        if frame is None and isinstance(error, TypeError):
            kind = type(table).__name__
            raise SourceFailed(
                f"{where} something of type {kind}, not a pandas, Polars or Arrow table, nor columns by name"
            ) from error
        said = _mixed(frame) if frame is not None else ""
        said = said or f"{type(error).__name__}: {_brief(error)}"
        raise SourceFailed(f"{where} a table that cannot be read: {said}") from error


def _of_columns(columns: Mapping[Any, Any], where: str) -> pl.DataFrame:
    """Make a table of lists and arrays by name, of any library. Raises SourceFailed where one is neither, or longer."""
    made: list[pl.Series] = []
    for name, values in columns.items():
        if not isinstance(name, str):
            raise SourceFailed(f"{where} columns by name, of which one is no text: {name!r}")
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
            kind = type(values).__name__
            raise SourceFailed(f"{where} columns by name, of which {name!r} is {kind}, not a list or an array")
        made.append(_column(name, values, where=where))
        if len(made[-1]) != len(made[0]):
            lengths = f"{made[0].name!r} has {len(made[0])} rows, {name!r} has {len(made[-1])}"
            raise SourceFailed(f"{where} columns of different lengths: {lengths}")
    return pl.DataFrame(made)


def _column(name: str, values: Any, *, where: str) -> pl.Series:
    """Make a column of a list or an array; whole numbers among others are numbers."""
    try:
        numbers = isinstance(values, list | tuple) and all(isinstance(one, int | float | None) for one in values)
        if numbers and any(isinstance(one, float) for one in values):
            values = [None if one is None else float(one) for one in values]
        made = pl.Series(name, values)
    except Exception as error:  # what holds the values may raise anything
        raise SourceFailed(f"{where} columns by name, of which {name!r} cannot be read: {_kinds(values, error)}") from error
    if made.dtype == pl.Object:
        raise SourceFailed(f"{where} columns by name, of which {name!r} cannot be read: {_kinds(values)}")
    return made


def _kinds(values: Any, error: Exception | None = None) -> str:
    kinds = sorted({type(value).__name__ for value in values if value is not None})
    if len(kinds) > 1 or error is None:
        return f"it holds values of types {', '.join(kinds)}; make it one type of number, text or time"
    return f"{type(error).__name__}: {_brief(error)}"


def _mixed(frame: nw.DataFrame[Any]) -> str:
    """Name the columns of a frame whose values are not of one type, and say what to do; "" where none is."""
    found = []
    for name in frame.columns:
        try:
            frame.select(name).to_polars()
        except (TypeError, ValueError, OverflowError):  # as Arrow says it
            kinds = sorted({type(value).__name__ for value in frame[name].to_list() if value is not None})
            if len(kinds) > 1:
                found.append(f"column {name!r} holds values of types {', '.join(kinds)}")
    return f"{'; '.join(found)}; make each column one type, such as astype(str), or leave it out" if found else ""


def _line_of(error: BaseException) -> str:
    """Say where in the project's code an error was raised."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename != __file__ and "site-packages" not in code.co_filename:
            place = f" ({code.co_filename}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place


def _brief(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]

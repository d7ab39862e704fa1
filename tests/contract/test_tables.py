"""Sources as people write them, with what goes wrong in them; and Parquet that the chunk store can share."""

import gzip
import io
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal
from tests.contract.memory_index import MemoryIndex

from kedge.adapters.project import FolderProject
from kedge.errors import ConfigError, SourceFailed, StoreBroken
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.tables import PolarsTables

FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", None]})


@pytest.fixture
def tables(tmp_path):
    return PolarsTables(tmp_path, FolderProject(tmp_path))


@pytest.mark.parametrize(
    "give",
    [lambda: FRAME, FRAME.lazy, lambda: FRAME.to_arrow(), lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]})],
    ids=["polars", "lazy", "arrow", "pandas"],
)
def test_a_callable_may_return_any_of_these_tables(tables, give):
    assert_frame_equal(tables.source(give), FRAME)


def test_a_callable_is_called_once(tables):
    calls = []

    def source():
        calls.append(1)
        return FRAME

    assert tables.source(source) is tables.source(source)
    assert calls == [1]


def test_a_reference_into_the_project(tables, tmp_path):
    body = "    return pl.DataFrame({'a': [1, 2], 'b': ['x', None]})\n"
    (tmp_path / "data.py").write_text(f"import polars as pl\ndef rows():\n{body}")
    assert_frame_equal(tables.source("data.py:rows"), FRAME)
    with pytest.raises(ConfigError, match="nothing"):
        tables.source("data.py:nothing")


def test_code_without_a_project_is_refused(tmp_path):
    with pytest.raises(SourceFailed, match="no project"):
        PolarsTables(tmp_path, None).source("data.py:rows")


def test_files_and_globs(tables, tmp_path):
    FRAME.write_csv(tmp_path / "1.csv")
    FRAME.write_csv(tmp_path / "2.csv")
    FRAME.write_csv(tmp_path / "t.tsv", separator="\t")
    FRAME.write_parquet(tmp_path / "p.parquet")
    (tmp_path / "z.csv.gz").write_bytes(gzip.compress((tmp_path / "1.csv").read_bytes()))
    for source in ("1.csv", str(tmp_path / "1.csv"), "t.tsv", "p.parquet", "z.csv.gz"):
        assert_frame_equal(tables.source(source), FRAME)
    assert_frame_equal(tables.source("[12].csv"), pl.concat([FRAME, FRAME]))


def test_csv_types_are_read_from_all_rows(tables, tmp_path):
    lines = [f"{row},2013-01-01T0{row % 10}:00:00Z,{row},A" for row in range(300)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,at,x,code", *lines, "300,2013-01-02T00:00:00Z,0.5,NA"]))
    frame = tables.source("rows.csv")
    assert frame.schema == {"id": pl.Int64, "at": pl.Datetime("us", "UTC"), "x": pl.Float64, "code": pl.String}
    assert frame["code"].null_count() == 1


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tables, tmp_path):
    FRAME.write_csv(tmp_path / "1.csv")
    first = tables.source("1.csv")
    assert tables.source("1.csv") is first
    pl.concat([FRAME, FRAME]).write_csv(tmp_path / "1.csv")
    assert len(tables.source("1.csv")) == 4


def test_whole_and_broken_numbers_in_files_of_one_glob_join(tables, tmp_path):
    (tmp_path / "1.csv").write_text("x\n1\n")
    (tmp_path / "2.csv").write_text("x\n1.5\n")
    assert tables.source("*.csv")["x"].to_list() == [1.0, 1.5]


def raising():
    raise ZeroDivisionError("no rows today")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.csv", r"none\.csv: No such file"),
        ("none*.csv", r"none\*\.csv: no file matches"),
        ("empty.csv", r"empty\.csv is empty"),
        ("broken.parquet", r"broken\.parquet is not valid parquet"),
        ("ragged.csv", r"ragged\.csv is not valid csv"),
        ("notes.docx", r"notes\.docx is none of \.csv"),
        ("folder.csv", r"folder\.csv"),
        ("mixed-*.csv", r"mixed-2\.csv has the columns \['b'\]"),
        ("types-*.csv", r"a is Date in .*types-2\.csv, Int64 in"),
        (raising, r"raising raised ZeroDivisionError: no rows today \(.*test_tables\.py, line \d+\)"),
        (lambda: 7, "returned something of type int, not a pandas"),
        (lambda: None, "returned something of type NoneType, not a pandas"),
        (
            lambda: pd.DataFrame({"n": [1, 2], "x": [1, "a"]}),
            "column 'x' holds values of types int, str; make each column one",
        ),
        (lambda: pd.DataFrame({"n": [1, 2], "x": ["a", 1.5]}), "column 'x' holds values of types float, str; make each"),
        (lambda: pl.LazyFrame({"a": ["x"]}).select(pl.col("b")), "cannot be read: ColumnNotFoundError"),
        ("data.py:constant", "is of type int; name a function"),
        (lambda: {"a": [1, 2], "b": [1]}, "columns of different lengths: 'a' has 2 rows, 'b' has 1"),
        (lambda: {"a": 5}, "of which 'a' is int, not a list or an array"),
        (lambda: {"a": "text"}, "of which 'a' is str, not a list or an array"),
        (lambda: {"a": [1, "x"]}, "of which 'a' cannot be read: it holds values of types int, str; make it one type"),
        (lambda: {"a": [object()]}, "of which 'a' cannot be read: it holds values of types object; make it one type"),
        (lambda: {"a": np.array([[1, 2], [3]], dtype=object)}, "of which 'a' cannot be read: "),
        (lambda: {3: [1]}, "of which one is no text: 3"),
        (lambda: pa.array([1]), "something of type Int64Array, not a pandas"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(tables, tmp_path, source, message):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3,4,5,6\n")
    (tmp_path / "notes.docx").write_text("")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "mixed-1.csv").write_text("a\n1\n")
    (tmp_path / "mixed-2.csv").write_text("b\n1\n")
    (tmp_path / "types-1.csv").write_text("a\n1\n")
    (tmp_path / "types-2.csv").write_text("a\n2013-01-01\n")
    (tmp_path / "data.py").write_text("constant = 7\n")
    with pytest.raises(SourceFailed, match=message):
        tables.source(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_said(tables, tmp_path):
    FRAME.write_csv(tmp_path / "1.csv")
    (tmp_path / "1.csv").chmod(0)
    with pytest.raises(SourceFailed, match="Permission denied"):
        tables.source("1.csv")


WIDE = pl.DataFrame(
    {
        "f": [1.5, float("nan"), float("inf"), None],
        "i": [1, None, -(2**62), 4],
        "small": pl.Series([1, 0, None, 1], dtype=pl.Int8),
        "s": ["", None, "zwölf", "x" * 1000],
        "b": [True, False, None, True],
        "t": pl.Series([datetime(2013, 1, 1, tzinfo=UTC)] * 3 + [None], dtype=pl.Datetime("us", "UTC")),
        "e": pl.Series(["u", "v", None, "u"], dtype=pl.Enum(["u", "v"])),
        "n": pl.Series([None] * 4, dtype=pl.Null),
    }
)


@pytest.mark.parametrize("rows", [4, 0])
def test_a_frame_comes_back_with_its_types(tables, rows):
    assert_frame_equal(tables.decode(tables.encode(WIDE.head(rows))), WIDE.head(rows))


def test_named_columns_come_in_the_order_asked_for(tables):
    data = tables.encode(WIDE)
    assert tables.decode(data, ["s", "f"]).columns == ["s", "f"]
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        tables.decode(data, ["other"])


def test_the_bytes_depend_on_the_values_only(tables):
    pieces = pl.concat([WIDE.slice(0, 1), WIDE.slice(1, 3)], rechunk=False)
    assert tables.encode(pieces) == tables.encode(WIDE)
    words = pl.DataFrame({"c": ["q", "p"]})
    assert tables.encode(words.cast(pl.Categorical)) == tables.encode(words)


def test_another_process_writes_the_same_bytes(tables, tmp_path):
    code = (
        "import sys, polars as pl; from pathlib import Path; from kedge.storage.tables import PolarsTables;"
        "frame = pl.DataFrame({'a': range(1000), 'b': [str(x % 7) for x in range(1000)]});"
        "sys.stdout.buffer.write(PolarsTables(Path('.'), None).encode(frame))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=env).stdout
    assert other == tables.encode(pl.DataFrame({"a": range(1000), "b": [str(x % 7) for x in range(1000)]}))


def test_one_row_group_and_shared_pages(tables, tmp_path):
    random = np.random.default_rng(0)
    frame = pl.DataFrame({f"x{column}": random.normal(size=100_000) for column in range(4)})
    before = tables.encode(frame)
    after = tables.encode(pl.concat([frame[:50_000], frame[:100], frame[50_000:]]))
    assert pq.ParquetFile(io.BytesIO(before)).metadata.num_row_groups == 1
    assert isinstance(pq.read_table(io.BytesIO(before)), pa.Table)
    store = ChunkStore(tmp_path / "store", MemoryIndex())
    store.put(before)
    store.put(after)
    size = sum(path.stat().st_size for path in (tmp_path / "store" / "packs").iterdir())
    assert size - len(before) < 0.3 * len(after)


def test_a_stored_table_that_is_none_is_told(tables):
    with pytest.raises(StoreBroken, match="not Parquet"):
        tables.decode(b"something else")


@pytest.mark.parametrize(
    ("first", "later", "kind"),
    [
        ("1", "2", pl.Int64),
        ("1", "0.5", pl.Float64),
        ("1", "x", pl.String),
        ("NA", "5", pl.Int64),
        ("", "2013-01-01", pl.Date),
        ("", "x", pl.String),
        ("true", "maybe", pl.String),
        ("10:00:00", "x", pl.String),
        ("2013-01-01", "2013-01-01", pl.Date),
        ("2013-01-01", "soon", pl.String),
    ],
)
def test_a_late_row_may_say_what_a_column_of_a_csv_is(tmp_path, monkeypatch, first, later, kind):
    monkeypatch.setattr("kedge.storage.tables._TOLD_BY", 3)
    (tmp_path / "late.csv").write_text("id,v\n" + "".join(f"{n},{first}\n" for n in range(5)) + f"5,{later}\n")
    rows = PolarsTables(tmp_path, None).source("late.csv")
    assert rows.schema == {"id": pl.Int64, "v": kind}
    assert rows["v"].null_count() == (0 if first not in ("NA", "") else 5)


@pytest.mark.parametrize(
    "brought",
    [
        {"a": [1, 2.5, None], "b": ["x", "y", None]},
        {"a": pd.Series([1, 2.5, None]), "b": pa.array(["x", "y", None])},
        {"a": pl.Series([1.0, 2.5, None]), "b": np.array(["x", "y", None], dtype=object)},
        pa.RecordBatch.from_pydict({"a": [1, 2.5, None], "b": ["x", "y", None]}),
        pa.table({"a": [1, 2.5, None], "b": ["x", "y", None]}),
        pl.LazyFrame({"a": [1, 2.5, None], "b": ["x", "y", None]}, strict=False),
    ],
)
def test_columns_by_name_and_record_batches_are_tables_too(tables, brought):
    read = tables.frame(brought, "what was given is").with_columns(pl.col("a").fill_nan(None))
    assert read.to_dict(as_series=False) == {"a": [1.0, 2.5, None], "b": ["x", "y", None]}

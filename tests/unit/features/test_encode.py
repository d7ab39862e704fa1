from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.features.test_frame import frame

from kedge.domain.data import ColumnType
from kedge.errors import ConfigError, RequestInvalid
from kedge.features.encode import encode, encode_frame, signature_of

NAMES = ("wind", "carrier", "big", "count")
FRAME = replace(
    frame(carrier=["UA", "AA", None, *["DL"] * 7], big=[True, None, *[False] * 8], count=range(10)), columns=NAMES
)
SIGNATURE = signature_of(FRAME, positive="1")


def test_a_signature_holds_types_and_categories_in_the_models_order():
    assert [(column.name, column.type) for column in SIGNATURE.inputs] == list(
        zip(NAMES, (ColumnType.FLOAT, ColumnType.STRING, ColumnType.BOOLEAN, ColumnType.INTEGER), strict=True)
    )
    assert SIGNATURE.inputs[1].categories == ("AA", "DL", "UA")
    assert (SIGNATURE.output, SIGNATURE.positive) == ("late", "1")


def test_rows_become_numbers():
    matrix = encode(SIGNATURE, {"wind": [1, None], "carrier": ["UA", "never seen"], "big": [True, None], "count": [3, 4.5]})
    assert matrix.dtype == np.float64
    assert np.array_equal(matrix, [[1, 2, 1, 3], [np.nan, np.nan, np.nan, 4.5]], equal_nan=True)


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=True, allow_infinity=True),
            st.sampled_from(["AA", "DL", "UA", "XX", "", None]),
            st.none() | st.booleans(),
            st.none() | st.integers(-(2**40), 2**40),
        ),
        max_size=8,
    )
)
def test_lists_series_and_frames_are_encoded_alike(rows):
    types = {"wind": pl.Float64, "carrier": pl.String, "big": pl.Boolean, "count": pl.Int64}
    columns = {name: [row[place] for row in rows] for place, name in enumerate(NAMES)}
    table = pl.DataFrame({name: pl.Series(columns[name], dtype=types[name]) for name in NAMES})
    matrix = encode_frame(SIGNATURE, table)
    assert matrix.shape == (len(rows), 4)
    assert np.array_equal(matrix, encode(SIGNATURE, columns), equal_nan=True)
    assert np.array_equal(matrix, encode(SIGNATURE, {name: table[name] for name in NAMES}), equal_nan=True)


def test_a_column_that_is_all_null_or_categorical_is_taken():
    table = pl.DataFrame(
        {"wind": [None], "carrier": pl.Series(["DL"], dtype=pl.Categorical), "big": [None], "count": [None]}
    )
    assert np.array_equal(encode_frame(SIGNATURE, table), [[np.nan, 1, np.nan, np.nan]], equal_nan=True)


def test_an_infinite_number_is_a_missing_one():
    columns = {"wind": [float("inf"), float("-inf"), 1.0], "carrier": ["AA"] * 3, "big": [True] * 3, "count": [3] * 3}
    assert np.array_equal(encode(SIGNATURE, columns)[:, 0], [np.nan, np.nan, 1], equal_nan=True)


def test_what_does_not_fit_is_refused_by_name():
    good = {"wind": [1.0], "carrier": ["UA"], "big": [True], "count": [3]}
    for bad in ("7", "x", [1]):
        with pytest.raises(RequestInvalid, match="column 'wind' does not fit its type float"):
            encode(SIGNATURE, good | {"wind": [bad]})
    with pytest.raises(RequestInvalid, match="missing column 'carrier', 'big'"):
        encode(SIGNATURE, {"wind": [1.0], "count": [1]})
    with pytest.raises(RequestInvalid, match="missing column 'carrier'"):
        encode_frame(SIGNATURE, pl.DataFrame(good).drop("carrier"))
    with pytest.raises(RequestInvalid, match="column 'wind' is String, not float"):
        encode_frame(SIGNATURE, pl.DataFrame(good | {"wind": ["x"]}))


def test_a_model_reads_no_times():
    with pytest.raises(
        ConfigError, match="column 'at' of service 'delay' is a time, which no model reads; name it in `drop`"
    ):
        signature_of(replace(FRAME, columns=("wind", "at")), positive="1")

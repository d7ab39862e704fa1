"""What may be logged, and what is refused at the call."""

import os
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest

from kedge.client.giving import figure_file, files_of, table_file
from kedge.client.values import checked_key, flat, milliseconds, number, text, whole
from kedge.errors import RequestInvalid


@pytest.mark.parametrize(
    "value", [1, True, 0.5, np.float32(0.5), np.int64(3), np.array(2.5), np.array([4.0]), Fraction(1, 2)]
)
def test_numbers_are_taken_as_floats(value) -> None:
    assert number("x", value) == float(np.asarray(value, dtype=float).reshape(()))


@pytest.mark.parametrize("value", ["0.5", b"1", None, [1, 2], {}, np.array([1.0, 2.0]), object(), 10**400, 1j])
def test_what_is_no_number_is_refused_by_name(value) -> None:
    with pytest.raises(RequestInvalid, match="'loss'"):
        number("loss", value)


@pytest.mark.parametrize("key", ["", None, 3, "x" * 251, "a\x00b", "half \ud800"])
def test_keys_are_texts(key) -> None:
    with pytest.raises(RequestInvalid):
        checked_key(key)
    assert checked_key("train/loss é") == "train/loss é"


@pytest.mark.parametrize("step", [1.5, "3", None, 2**63, -(2**63) - 1])
def test_steps_are_whole(step) -> None:
    with pytest.raises(RequestInvalid):
        whole(step)
    assert whole(np.int32(7)) == 7


def test_times_need_a_zone() -> None:
    assert milliseconds(datetime(2026, 1, 1, tzinfo=UTC)) == 1767225600000
    assert milliseconds(1.5) == 1500
    for wrong in (datetime(2026, 1, 1), float("nan"), "today", 1e30, -1e30):
        with pytest.raises(RequestInvalid):
            milliseconds(wrong)


def test_params_within_params_have_dotted_names() -> None:
    given = {"rate": 0.1, "model": {"depth": 3, "inner": {"a": None}}, "empty": {}}
    assert dict(flat(given)) == {"rate": "0.1", "model.depth": "3", "model.inner.a": "None", "empty": "{}"}


def test_long_values_are_cut_and_odd_ones_kept_as_text() -> None:
    assert len(text("x" * 7000, longest=6000)) == 6000
    assert text("half \ud800 a\x00", longest=100) == "half ? a"


def test_paths_of_files_are_refused_at_the_call(tmp_path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "roc.png").write_text("")
    assert [name for name, _ in files_of(tmp_path / "plots", "all/")] == ["all/plots/roc.png"]
    for to in ("..", "a//b", "a\\b"):
        with pytest.raises(RequestInvalid, match="path of an artifact"):
            list(files_of(tmp_path / "plots", to))
    (tmp_path / "plots" / os.fsdecode(b"caf\xe9.png")).write_text("")
    with pytest.raises(RequestInvalid, match="path of an artifact"):
        list(files_of(tmp_path / "plots", ""))
    with pytest.raises(RequestInvalid, match="path of an artifact"):
        table_file({"a": [1]}, "../a.csv")
    with pytest.raises(RequestInvalid, match="path of an artifact"):
        figure_file(object(), "../a.png")

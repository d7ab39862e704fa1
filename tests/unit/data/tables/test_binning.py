"""Counting in bins by a grid gives what a search for each value gives, whatever the values and the borders."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kedge.data.tables import binning
from kedge.data.tables.binning import count_in, places_in
from kedge.data.tables.distances import number_borders

RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": RNG.normal(size=40_000),
    "far from 0": RNG.normal(1e6, 1.0, 40_000),
    "skewed": np.exp(RNG.normal(size=40_000)),
    "much skewed": np.exp(4 * RNG.normal(size=40_000)),
    "few values": RNG.integers(0, 50, 40_000),
    "holes and ends": np.where(RNG.random(40_000) < 0.2, RNG.choice([np.nan, np.inf, -np.inf], 40_000), RNG.random(40_000)),
    "narrow type": RNG.normal(size=40_000).astype(np.float32),
    "huge and tiny": np.where(RNG.random(40_000) < 0.5, 1e308, RNG.random(40_000) * 5e-320),
}


def searched(values, edges):
    there = values[~np.isnan(values)]
    return np.bincount(np.searchsorted(edges, there, side="right"), minlength=edges.size + 1).tolist()


@pytest.mark.parametrize("name", COLUMNS)
def test_every_value_is_in_its_bin(name) -> None:
    values = COLUMNS[name]
    edges = np.array(number_borders(values[::7].astype(np.float64)))
    found = count_in(values, edges)
    assert found.bins.tolist() == searched(values, edges)
    assert found.missing == np.isnan(values).sum()


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "huge and tiny"])
def test_moments_are_those_of_the_finite_values(name) -> None:
    finite = COLUMNS[name][np.isfinite(COLUMNS[name])].astype(np.float64)
    found = count_in(COLUMNS[name], np.array(number_borders(finite[::7])))
    assert (found.rows, found.least, found.greatest) == (finite.size, finite.min(), finite.max())
    assert found.mean == pytest.approx(finite.mean(), rel=1e-6, abs=1e-9)
    assert found.squares == pytest.approx(((finite - finite.mean()) ** 2).sum(), rel=1e-5)


@given(
    values=arrays(np.float64, st.integers(0, 60)),
    borders=st.lists(st.floats(allow_nan=False, allow_infinity=False), unique=True, max_size=40),
)
def test_any_values_and_borders(values, borders) -> None:
    edges = np.sort(np.array(borders, dtype=np.float64))
    edges = edges[np.append(True, edges[1:] > edges[:-1])] if edges.size else edges
    for at_once in (8, 16_384):
        with mock.patch.object(binning, "_AT_ONCE", at_once), mock.patch.object(binning, "_GRIDDED", at_once):
            found = count_in(values, edges)
        assert found.bins.tolist() == searched(values, edges)
        assert found.missing == np.isnan(values).sum()


@pytest.mark.parametrize("name", COLUMNS)
def test_every_value_is_placed_as_a_search_places_it(name) -> None:
    values = COLUMNS[name]
    edges = number_borders(values[::7].astype(np.float64))
    for some in (values, values[:1000], values[:3]):
        assert places_in(some, edges).tolist() == np.searchsorted(edges, some, side="right").tolist()


@given(
    values=arrays(np.float64, st.integers(0, 60)),
    borders=st.lists(st.floats(allow_nan=False, allow_infinity=False), unique=True, max_size=40),
)
def test_any_values_are_placed_among_any_borders(values, borders) -> None:
    edges = tuple(sorted(set(borders)))
    with mock.patch.object(binning, "_PLACED", 8), mock.patch.object(binning, "_PLACED_AT_ONCE", 16):
        assert places_in(values, edges).tolist() == np.searchsorted(np.array(edges), values, side="right").tolist()


def test_the_grid_is_used_for_usual_columns_and_left_for_a_search_where_borders_crowd() -> None:
    plain = {
        name: binning._Grid.over(np.array(number_borders(values[::7].astype(float)))).plain
        for name, values in COLUMNS.items()
    }
    assert plain == dict.fromkeys(COLUMNS, False) | {"much skewed": True, "huge and tiny": True}


def test_borders_that_share_a_cell_are_told_apart_in_blocks_of_any_size(monkeypatch) -> None:
    monkeypatch.setattr(binning, "_GRIDDED", 1000)
    edges = np.sort(np.append(np.linspace(0, 1, 60), [0.5 + 1e-6, 0.5 + 2e-6]))
    values = np.concatenate([RNG.random(9000), np.repeat(edges, 7), edges - 1e-9, [np.nan, np.inf, -np.inf, 3.0, -3.0]])
    grid = binning._Grid.over(edges)
    assert (grid.plain, grid.alone) == (False, False)
    for at_once in (100, 5000, 131_072):
        monkeypatch.setattr(binning, "_AT_ONCE", at_once)
        found = count_in(values, edges)
        assert (found.bins.tolist(), found.missing) == (searched(values, edges), 1)
    assert places_in(values, tuple(edges.tolist())).tolist() == np.searchsorted(edges, values, side="right").tolist()

"""Samples parted by chance: the sums are those of the pairs, and the p-value counts the real parting."""

import numpy as np

from kedge.monitoring.comparing.turns import TURNS, by_chance, parted, squares_apart


def test_the_sums_of_the_real_parting_are_those_of_its_pairs_and_all_add_up() -> None:
    points = np.random.default_rng(1).normal(size=(7, 3))
    matrix = squares_apart(points)
    assert np.allclose(matrix, ((points[:, None] - points[None, :]) ** 2).sum(axis=2))
    sums = parted(matrix, 3)
    assert np.allclose(sums.first[0], matrix[:3, :3].sum())
    assert np.allclose(sums.second[0], matrix[3:, 3:].sum())
    assert np.allclose(sums.across[0], matrix[:3, 3:].sum())
    assert np.allclose(sums.first + sums.second + 2 * sums.across, matrix.sum())
    assert len(sums.first) == TURNS + 1


def test_the_p_value_counts_the_real_parting_and_ties() -> None:
    assert by_chance(np.array([2.0, 1.0, 1.0, 1.0])) == 0.25
    assert by_chance(np.array([1.0, 1.0, 2.0, 0.0])) == 0.75

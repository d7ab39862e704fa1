"""Each test by name against scipy, and against what it must be by definition."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from kedge.data.tables.distances import number_borders, sorted_borders
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing import cell_tests, number_tests, wording
from kedge.monitoring.comparing.cell_tests import CELL_TESTS
from kedge.monitoring.comparing.number_tests import NUMBER_TESTS

RNG = np.random.default_rng(3)
PAIRS = {
    "equal sizes": (RNG.normal(size=400), RNG.normal(0.2, 1.3, 400)),
    "other sizes": (RNG.gamma(2, size=351), RNG.gamma(2.4, size=127)),
    "ties": (RNG.integers(0, 9, 300).astype(float), RNG.integers(1, 10, 211).astype(float)),
    "large": (RNG.normal(size=12_000).round(2), RNG.normal(0.02, 1, 10_500).round(2)),
}
COUNTS = np.array([40.0, 30, 20, 10]), np.array([25.0, 25, 0, 30])


def sorted_pair(name):
    return tuple(np.sort(side) for side in PAIRS[name])


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("ks", stats.ks_2samp),
        ("cramer_von_mises", stats.cramervonmises_2samp),
        ("t", stats.ttest_ind),
        ("welch", lambda x, y: stats.ttest_ind(x, y, equal_var=False)),
        ("mann_whitney", stats.mannwhitneyu),
        ("mann_whitney_less", lambda x, y: stats.mannwhitneyu(x, y, alternative="less")),
        ("epps_singleton", stats.epps_singleton_2samp),
        ("levene", stats.levene),
    ],
)
def test_a_test_of_numbers_is_scipys(name, peer, pair) -> None:
    x, y = PAIRS[pair]
    found, wanted = NUMBER_TESTS[name].run(*sorted_pair(pair)), peer(x, y)
    assert found.value == pytest.approx(wanted.statistic, rel=1e-9, abs=1e-12)
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-12)
    assert NUMBER_TESTS[name].by_p


@pytest.mark.parametrize("pair", PAIRS)
def test_distances_of_numbers_are_scipys(pair) -> None:
    x, y = PAIRS[pair]
    raw = stats.wasserstein_distance(x, y)
    assert number_tests.wasserstein_raw(*sorted_pair(pair)).value == pytest.approx(raw, rel=1e-9)
    assert number_tests.wasserstein(*sorted_pair(pair)).value == pytest.approx(raw / np.std(x), rel=1e-9)
    assert number_tests.energy(*sorted_pair(pair)).value == pytest.approx(stats.energy_distance(x, y), rel=1e-9)


@pytest.mark.filterwarnings("error")
def test_anderson_darling_keeps_to_its_bounds_in_silence() -> None:
    x, y = sorted_pair("other sizes")
    wanted = 0.001
    assert number_tests.anderson_darling(x, x + 5).p == wanted
    assert number_tests.anderson_darling(x, x).p == 0.25
    assert wanted <= number_tests.anderson_darling(x, y).p <= 0.25
    one = np.zeros(9)
    assert number_tests.anderson_darling(one, one).p == 0.25


def test_mmd_is_the_unbiased_sum_over_pairs() -> None:
    x, y = RNG.normal(size=40), RNG.normal(1.0, size=30)
    apart = (np.concatenate([x, y])[:, None] - np.concatenate([x, y])[None, :]) ** 2
    kernel = np.exp(-apart / np.median(apart[:40, :40]))
    np.fill_diagonal(kernel, 0)
    wanted = kernel[:40, :40].sum() / (40 * 39) + kernel[40:, 40:].sum() / (30 * 29) - 2 * kernel[:40, 40:].mean()
    found = number_tests.mmd(np.sort(x), np.sort(y))
    assert found.value == pytest.approx(wanted, rel=1e-9)
    assert found.p == pytest.approx(1 / 201)
    assert number_tests.mmd(np.sort(x), np.sort(RNG.normal(size=50))).p > 0.02


def test_distances_of_cells_are_scipys() -> None:
    p, q = (side / side.sum() for side in COUNTS)
    floor = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    found = {name: test.run(*COUNTS).value for name, test in CELL_TESTS.items() if not test.by_p}
    assert found["jensen_shannon"] == pytest.approx(distance.jensenshannon(p, q, 2))
    assert found["kl"] == pytest.approx(stats.entropy(*floor))
    assert found["psi"] == pytest.approx(stats.entropy(*floor) + stats.entropy(*floor[::-1]), rel=1e-3)
    assert found["hellinger"] == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2))
    assert found["total_variation"] == pytest.approx(distance.cityblock(p, q) / 2)
    assert found["l_infinity"] == pytest.approx(distance.chebyshev(p, q))


def test_tests_of_cells_are_scipys() -> None:
    table = np.vstack(COUNTS)
    for name, power in (("chi2", "pearson"), ("g", "log-likelihood")):
        wanted = stats.chi2_contingency(table, correction=False, lambda_=power)
        assert CELL_TESTS[name].run(*COUNTS) == pytest.approx((wanted.statistic, wanted.pvalue))
    fit = stats.chisquare(COUNTS[1], COUNTS[0] * 0.8)
    assert CELL_TESTS["chi2_fit"].run(*COUNTS) == pytest.approx((fit.statistic, fit.pvalue))
    fit = stats.power_divergence(COUNTS[1], COUNTS[0] * 0.8, lambda_="log-likelihood")
    assert CELL_TESTS["g_fit"].run(*COUNTS) == pytest.approx((fit.statistic, fit.pvalue))
    two = np.array([30.0, 10]), np.array([20.0, 25])
    fisher = stats.fisher_exact(np.vstack(two[::-1]))
    assert CELL_TESTS["fisher"].run(*two).p == pytest.approx(fisher.pvalue)
    plain = stats.chi2_contingency(np.vstack(two), correction=False)
    assert CELL_TESTS["z"].run(*two).p == pytest.approx(plain.pvalue)


def test_a_new_category_is_no_chance_to_a_test_of_fit() -> None:
    new = np.array([10.0, 0]), np.array([8.0, 1])
    for name in ("chi2_fit", "g_fit"):
        assert CELL_TESTS[name].run(*new) == (float("inf"), 0.0)
    assert 0.0 < CELL_TESTS["chi2"].run(*new).p < 1.0


def test_total_variation_has_a_p_value_by_permutation() -> None:
    assert cell_tests.total_variation(*COUNTS).p < 0.01
    assert cell_tests.total_variation(COUNTS[0], COUNTS[0] / 2).p > 0.5
    many = np.ones(1001)
    assert cell_tests.total_variation(many, many).p is None


def test_fisher_wants_two_values() -> None:
    with pytest.raises(RequestInvalid, match="two values, not of 4"):
        cell_tests.fisher(*COUNTS)


@pytest.mark.parametrize("name", CELL_TESTS)
def test_one_cell_is_no_difference(name) -> None:
    found = CELL_TESTS[name].run(np.array([5.0]), np.array([7.0]))
    assert found.p in (None, 1.0)
    assert found.p == 1.0 or found.value == pytest.approx(0.0)


@pytest.mark.parametrize("name", NUMBER_TESTS)
def test_constants_and_single_values_raise_nothing(name) -> None:
    one, two, three = np.array([1.0]), np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0])
    for pair in ((one, one), (two, two), (two, three), (one, three)):
        found = NUMBER_TESTS[name].run(*pair)
        assert not np.isnan(found.value)
        assert found.p is None or 0.0 <= found.p <= 1.0


@pytest.mark.parametrize("many", [0, 1, 5, 61, 62, 63, 500])
def test_borders_of_sorted_values_are_the_monitors_own(many) -> None:
    values = np.repeat(np.arange(many, dtype=float), 3)
    plain = np.unique(values)
    wanted = plain if plain.size <= 62 else np.unique(values[np.arange(62) * values.size // 62])
    assert sorted_borders(values)[:-1].tolist() == wanted.tolist()
    assert number_borders(values[::-1]) == tuple(sorted_borders(values).tolist())


def test_pages_know_which_tests_are_judged_by_p() -> None:
    assert {name for name, test in (NUMBER_TESTS | CELL_TESTS).items() if test.by_p} == wording.BY_P
    assert set(wording._TITLES) >= {*NUMBER_TESTS, *CELL_TESTS}

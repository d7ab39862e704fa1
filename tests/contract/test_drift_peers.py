"""Kedge's tests of drift against what Evidently 0.7.23 gave for the same data at the same settings.

The figures are recorded (`bench/peers/drift_evidently.py figures`): the peer cannot live in this environment.
"""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kedge.monitoring.comparing.comparison import ComparedSide, compare_sides
from kedge.monitoring.comparing.rules import wished

ROOT = Path(__file__).parents[2]
FIGURES = json.loads((Path(__file__).parent / "evidently_figures.json").read_text())
NAMES = {
    "kl_div": "kl",
    "jensenshannon": "jensen_shannon",
    "anderson": "anderson_darling",
    "t_test": "t",
    "mannw": "mann_whitney",
    "ed": "energy",
    "es": "epps_singleton",
    "chisquare": "chi2",
    "g_test": "g",
    "TVD": "total_variation",
    "fisher_exact": "fisher",
}
SAME_P = {"anderson"}  # interpolated from a table


@pytest.fixture(scope="module")
def pairs():
    sys.path.insert(0, str(ROOT / "bench" / "peers"))
    try:
        from drift_frames import pairs

        return pairs()
    finally:
        sys.path.remove(str(ROOT / "bench" / "peers"))


@pytest.mark.parametrize(("pair", "peer"), [(pair, name) for pair, found in FIGURES.items() for name in found])
def test_a_test_gives_what_evidently_gives(pairs, pair, peer) -> None:
    if (pair, peer) == ("ties", "hellinger"):
        pytest.skip("Evidently lays the bins of Hellinger over the distinct values here, and Kedge over all values")
    reference, current = pairs[pair]
    name = NAMES.get(peer, peer)
    sides = [ComparedSide(side, pl.DataFrame({"a": rows}), len(rows)) for side, rows in (("r", reference), ("c", current))]
    wishes = wished("evidently", tests={"a": name}, test=None, thresholds=None, threshold=None, bins=None)
    (measure,) = compare_sides(*sides, wishes=wishes).column("a").measures
    wanted = FIGURES[pair][peer]
    if name == "total_variation":  # its p-value is drawn: Evidently never gives less than none of 1,000
        assert measure.p == pytest.approx(wanted, abs=0.01)
        return
    found = measure.value if measure.p is None else measure.p
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-15)


def test_the_recorded_figures_are_of_every_test(pairs) -> None:
    assert {name for found in FIGURES.values() for name in found} >= {*NAMES, "ks", "wasserstein", "psi", "hellinger", "z"}
    assert np.isfinite([value for found in FIGURES.values() for value in found.values()]).all()

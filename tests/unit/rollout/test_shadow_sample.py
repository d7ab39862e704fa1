"""The pairs of a shadow that are kept to compare its answers' distribution with the champion's."""

import msgspec
import numpy as np
import pytest

from kedge.rollout.evidence import stability_of
from kedge.rollout.tally import PAIRS, Tally


def test_a_shift_of_numbers_is_seen_at_any_scale() -> None:
    rng = np.random.default_rng(5)
    for middle in (1e-9, 0.3, 290.0, 1e12):
        tally = Tally(began=1)
        for value in middle * (1 + rng.normal(0, 0.01, 3000)):
            tally.keep(value, value * 1.01)
        theirs, ours = zip(*tally.sample, strict=True)
        psi, ks = stability_of(ours, theirs)
        assert psi > 0.5
        assert ks == pytest.approx(0.38, abs=0.06)  # a standard deviation apart: 2 Phi(1/2) - 1


def test_each_pair_has_the_same_chance_to_be_kept() -> None:
    tally = Tally(began=1)
    for number in range(20 * PAIRS):
        tally.keep(float(number), 0.0)
    kept = sorted(pair[0] for pair in tally.sample)
    assert (tally.pairs, len(kept), len({*kept})) == (20 * PAIRS, PAIRS, PAIRS)
    assert np.abs(np.array(kept) / (20 * PAIRS) - np.arange(PAIRS) / PAIRS).max() < 1.63 / PAIRS**0.5  # Kolmogorov, 1 %


def test_what_is_read_again_after_a_crash_keeps_the_same() -> None:
    whole, written = Tally(began=1), b""
    for number in range(3 * PAIRS):
        if number == 2 * PAIRS:
            written = msgspec.msgpack.encode(whole)
        whole.keep(float(number), float(number))
    again = msgspec.msgpack.decode(written, type=Tally)
    for number in range(2 * PAIRS, 3 * PAIRS):
        again.keep(float(number), float(number))
    assert again.sample == whole.sample

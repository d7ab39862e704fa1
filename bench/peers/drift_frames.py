"""The frames that drift reports are measured on: the same numbers in every environment, from numpy alone."""

import numpy as np

NUMBERS, LABELS = 20, 5


def columns(rows: int, *, seed: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Make 20 columns of numbers (normal, lognormal and gamma by turns) and 5 of labels; the first three numbers and the
    first labels move by `shift`, in standard deviations of a normal column."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for place in range(NUMBERS):
        moved = shift if place < 3 else 0.0
        base = rng.normal(size=rows) + moved
        found[f"n{place}"] = (base, np.exp(base / 2), base**2 / 2 + rng.random(rows))[place % 3]
    for place in range(LABELS):
        many = 3 + 3 * place
        shares = np.arange(many, 0, -1, dtype=np.float64)
        if place == 0:
            shares[0] *= 1.0 + shift
        found[f"c{place}"] = np.array([f"k{n}" for n in range(many)])[rng.choice(many, rows, p=shares / shares.sum())]
    return found


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Make small pairs of one column each, for tests by name: numbers, whole numbers with ties, labels, two labels."""
    rng = np.random.default_rng(7)
    return {
        "same": (rng.normal(size=600), rng.normal(size=500)),
        "moved": (rng.normal(size=800), rng.normal(0.3, 1.2, size=600)),
        "large": (rng.gamma(2.0, size=12_000), rng.gamma(2.2, size=11_000)),
        "ties": (rng.integers(0, 40, 900), rng.integers(2, 44, 700)),
        "labels": (rng.choice(list("abcd"), 900), rng.choice(list("abcd"), 900, p=[0.35, 0.25, 0.25, 0.15])),
        "two": (rng.choice(list("ab"), 400), rng.choice(list("ab"), 400, p=[0.6, 0.4])),
    }

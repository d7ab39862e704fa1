"""The streams that bench/alarms.py and the peers beside it watch: twenty features, window by window, from a seed.

Needs numpy alone, so that a peer's environment can draw the very same values. A stream is a reference (rows drawn anew for
each seed) and a function from the number of a window, counted from 1, to its columns; what moves does so from `moves` on.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

FEATURES, MOVED = 20, 3
_KINDS = (
    (lambda random, rows: random.normal(size=rows), 0.0, 1.0),
    (lambda random, rows: random.lognormal(size=rows), float(np.exp(0.5)), 2.1612),
    (lambda random, rows: random.gamma(2.0, size=rows), 2.0, 2.0**0.5),
)
"""How a feature is drawn, its mean and its standard deviation: normal, lognormal, gamma by turns."""
Columns = dict[str, np.ndarray]
Reference = Callable[[np.random.Generator, int], Columns]
Window = Callable[[np.random.Generator, int, int], Columns]
BEFORE = 10
"""So many windows are steady before anything moves."""


class Stream(NamedTuple):
    """The rows of a reference (drawn anew for each seed), and the windows by their number, counted from 1."""

    reference: Reference
    window: Window


def draw(random: np.random.Generator, rows: int, *, shift: float = 0.0, spread: float = 1.0, kinds: int = 3) -> Columns:
    """Draw the features; the first three are moved by `shift` standard deviations and spread by a factor."""
    columns = {}
    for index in range(FEATURES):
        make, mean, deviation = _KINDS[index % kinds]
        values = make(random, rows)
        if index < MOVED and (shift or spread != 1.0):
            values = mean + (values - mean) * spread + shift * deviation
        columns[f"f{index:02d}"] = values
    return columns


def steady(random: np.random.Generator, rows: int) -> Columns:
    """Draw rows that do not move."""
    return draw(random, rows)


def correlated(random: np.random.Generator, rows: int) -> Columns:
    """Draw twenty features that share half of their variance."""
    shared = random.normal(size=rows)
    return {f"f{index:02d}": np.sqrt(0.5) * (shared + random.normal(size=rows)) for index in range(FEATURES)}


def tied(random: np.random.Generator, rows: int) -> Columns:
    """Draw features full of ties: counts, mostly zero, and whole stars."""
    counts = {f"f{index:02d}": random.poisson(0.2 + index / 5, size=rows).astype(float) for index in range(FEATURES - 5)}
    return counts | {
        f"f{index:02d}": random.choice([1.0, 2.0, 3.0, 4.0, 5.0], size=rows, p=[0.03, 0.04, 0.08, 0.25, 0.6])
        for index in range(FEATURES - 5, FEATURES)
    }


def mixed(random: np.random.Generator, rows: int) -> Columns:
    """Draw ten categorical features (a few to hundreds of categories) and ten numbers, up to half of them missing."""
    columns: Columns = {}
    for index in range(10):
        size = (2, 3, 5, 8, 12, 20, 40, 80, 200, 500)[index]
        shares = 1.0 / np.arange(1, size + 1)
        names = np.array([f"c{place}" for place in range(size)], dtype=object)
        columns[f"f{index:02d}"] = names[random.choice(size, size=rows, p=shares / shares.sum())]
    for index in range(10, FEATURES):
        values = random.normal(size=rows)
        values[random.random(rows) < 0.05 * (index - 9)] = np.nan
        columns[f"f{index:02d}"] = values
    return columns


def weekday(random: np.random.Generator, rows: int, number: int) -> Columns:
    """Draw a window of a week: on its last two days the first three features lie half a standard deviation higher."""
    return draw(random, rows, shift=0.5 if number % 7 in (5, 6) else 0.0)


def season(random: np.random.Generator, rows: int, number: int) -> Columns:
    """Draw a window of a year of 365 windows: three of twenty normal features swing by .03 standard deviations, which is
    .0085 of a rank: less than the least tolerance, .01."""
    return draw(random, rows, shift=0.03 * float(np.sin(2 * np.pi * number / 365)), kinds=1)


def at_the_edge(random: np.random.Generator, rows: int, number: int) -> Columns:
    """Draw twenty normal features that all moved by .01 of a rank: just as far as the least tolerance goes."""
    return {name: values + 0.03545 for name, values in draw(random, rows, kinds=1).items()}


def uneven(random: np.random.Generator, rows: int, number: int) -> Columns:
    """Draw windows of 10 to 4,000 rows, and one in ten that is empty."""
    return steady(random, 0 if number % 10 == 0 else int(random.integers(10, 4000)))


def days_apart(random: np.random.Generator, rows: int, number: int) -> Columns:
    """Draw a window whose features each lie elsewhere by chance, by .1 standard deviations: rows of one day are alike."""
    return {name: values + 0.1 * random.normal() for name, values in draw(random, rows, kinds=1).items()}


def alike(rows: Reference) -> Stream:
    """Make a stream of rows that never change."""
    return Stream(rows, lambda random, count, number: rows(random, count))


def in_windows(window: Window) -> Stream:
    """Make a stream whose reference is made of windows of 1,000 rows, too."""

    def reference(random: np.random.Generator, count: int) -> Columns:
        parts = [window(random, 1000, number) for number in range(1, max(count // 1000, 1) + 1)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return Stream(reference, window)


def moving(*, shift: float = 0.0, spread: float = 1.0, over: int = 0, kinds: int = 3) -> Stream:
    """Make a stream that is steady at first; then three features move at once, or evenly over so many windows."""

    def window(random: np.random.Generator, rows: int, number: int) -> Columns:
        since = number - BEFORE
        share = 0.0 if since <= 0 else min(since / over, 1.0) if over else 1.0
        return draw(random, rows, shift=shift * share, spread=1 + (spread - 1) * share, kinds=kinds)

    return Stream(lambda random, count: draw(random, count, kinds=kinds), window)


STREAMS: dict[str, Stream] = {
    "nothing moves": alike(steady),
    "features that share half of their variance": alike(correlated),
    "counts and stars, full of ties": alike(tied),
    "ten categorical, ten with missing values": alike(mixed),
    "windows of 10 to 4,000 rows, some empty": Stream(steady, uneven),
    "season of .0085 of a rank": Stream(lambda random, rows: draw(random, rows, kinds=1), season),
    "all moved by just the tolerance": Stream(lambda random, rows: draw(random, rows, kinds=1), at_the_edge),
    "weekday pattern, .5 sd at the weekend": in_windows(weekday),
    "each day elsewhere by .1 sd": in_windows(days_apart),
    "3 of 20 move by .2 sd": moving(shift=0.2),
    "3 of 20 move by .5 sd": moving(shift=0.5),
    "3 of 20 move by .1 sd": moving(shift=0.1),
    "3 of 20 move to .5 sd over 100 windows": moving(shift=0.5, over=100),
    "3 of 20 spread by 1.25": moving(spread=1.25),
    "3 of 20 normal ones move by .2 sd": moving(shift=0.2, kinds=1),
    "3 of 20 normal ones move by .1 sd": moving(shift=0.1, kinds=1),
    "3 of 20 normal ones move to .5 sd over 100 windows": moving(shift=0.5, over=100, kinds=1),
    "3 of 20 normal ones spread by 1.25": moving(spread=1.25, kinds=1),
}

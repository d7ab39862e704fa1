"""How often a silence is told though nothing is wrong: half a year of simulated traffic by the hour, forty runs each.

    python bench/silences.py

Beside the rule of `monitoring.silence = "auto"` stands the plain one that tells of each silence longer than any before.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from kedge.monitoring.measure import FIRST_SILENCE
from kedge.monitoring.telling.episodes import Silence

WEEKS, RUNS, HOLIDAYS = 26, 40, 5
HOUR, DAY, WEEK = timedelta(hours=1), 24, 168
ALL_DAYS, WORKING = range(7), range(5)
ASKED = {
    "day and night, 1,000 an hour": (1000, range(DAY), ALL_DAYS),
    "day and night, 3 an hour": (3, range(DAY), ALL_DAYS),
    "day and night, one in two hours": (0.5, range(DAY), ALL_DAYS),
    "by day, 20 an hour": (20, range(6, 23), ALL_DAYS),
    "in working hours, 20 an hour": (20, range(8, 18), WORKING),
    "in working hours, 1 an hour": (1, range(8, 18), WORKING),
    "once a day": (100, range(3, 4), ALL_DAYS),
    "once a working day": (100, range(3, 4), WORKING),
    "once a week": (100, range(3, 4), range(1)),
}


def traffic(seed: int, *, rate: float, hours: range, days: range) -> list[int]:
    """Give rows by the hour, from any day of the week on; working days have public holidays among them."""
    random = np.random.default_rng(seed)
    hour = np.arange(WEEKS * WEEK) + seed % 7 * DAY
    asked = np.isin(hour % DAY, hours) & np.isin(hour // DAY % 7, days)
    if days == WORKING:
        asked &= ~np.isin(hour // DAY, random.choice(WEEKS * 7, HOLIDAYS, replace=False))
    return random.poisson(rate * asked).tolist()


def told(counts: Sequence[int]) -> int:
    """Count the silences that the rule tells."""
    silence = Silence()
    return sum(silence.heard(count, window=HOUR, first=FIRST_SILENCE["predictions"]) for count in counts)


def longer_than_ever(counts: Sequence[int]) -> int:
    """Count the silences that are longer than any before."""
    asked = np.flatnonzero(counts)
    lengths = np.diff(np.append(asked, len(counts))) - 1
    return int((lengths > np.maximum.accumulate(np.append(0, lengths[:-1]))).sum())


def main() -> None:
    """Print a line for each kind of traffic."""
    print(f"alerts in {WEEKS} weeks, mean of {RUNS} runs: by the rule, and of silences longer than ever before")
    for name, (rate, hours, days) in ASKED.items():
        runs = [traffic(seed, rate=rate, hours=hours, days=days) for seed in range(RUNS)]
        print(f"{name:34}{np.mean([told(one) for one in runs]):6.2f}{np.mean([longer_than_ever(one) for one in runs]):8.2f}")


if __name__ == "__main__":
    main()

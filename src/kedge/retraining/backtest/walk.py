"""Walk a policy through a loss matrix, step by step, by the same functions that decide live.

    step t is served by the champion -> its truth is told -> ledger, look, policy, limits -> a training, or not
A training at the end of step t makes model t + 1 champion (less the extra delay of labels), and its trial takes no time.
What is left out: the gate and the rollout, which refuse the same broken models to each policy.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import numpy as np

from kedge.domain.durations import span_of
from kedge.domain.evaluation import Gain
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Drift, Health, Risk, StepLosses, Window
from kedge.domain.project import Budget
from kedge.domain.retraining import SHADOW_STEPS, LedgerEntry, RetrainingRules
from kedge.monitoring.quality.risk import Accepted, accept, judge
from kedge.retraining.backtest.matrix import LossMatrix, Vector
from kedge.retraining.backtest.oracle import fresh_model
from kedge.retraining.budget import Spent
from kedge.retraining.ledger import RETRAIN, WAIT, LedgerStart, advance, after_look, look_due, opening
from kedge.retraining.limits import LimitFacts, binds_training, tried_at
from kedge.retraining.policy import Situation, policy_of

START = datetime(2000, 1, 1, tzinfo=UTC)
MODEL = ModelName("backtest")
GATE_METRIC = "loss"


class WalkTerms(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms policies are compared: the price of a training in units of summed loss, the share of it that is
    compute (a look costs that much), by how many steps labels come later than in the matrix, and the project's rules.
    `start` is what the ledger's slope is started from."""

    price: float
    phi: float = 0.0
    delay: int = 0
    rules: RetrainingRules = RetrainingRules()
    risk_tolerance: float = 0.05
    start: LedgerStart = LedgerStart()


class Evidenced(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a rule may look at when a step has closed: `situation` as live, the steps since the champion was released,
    what was accepted of it, and its mean loss in each block that was told since."""

    situation: Situation
    since: int
    accepted: Accepted | None
    told: Vector


Rule = Callable[[Evidenced], bool]


class Course(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A policy's way through a matrix: which model served each step, and the ledger's entries, one a step (empty where no
    ledger was kept). A look trains a candidate that is compared, and not released."""

    champions: tuple[int, ...]
    looks: int = 0
    entries: tuple[LedgerEntry, ...] = ()

    @property
    def trainings(self) -> tuple[int, ...]:
        """List the steps that began with a new champion."""
        pairs = zip(self.champions[1:], self.champions, strict=False)
        return tuple(step for step, (now, before) in enumerate(pairs, 1) if now != before)

    def losses(self, matrix: LossMatrix) -> Vector:
        """Give the losses of what was answered, by block."""
        served = np.asarray(self.champions)[matrix.answered.step]
        return np.asarray(matrix.answered.losses[served, np.arange(len(served))])

    def cost(self, matrix: LossMatrix, terms: WalkTerms) -> float:
        """Sum the losses, the trainings and the compute of the looks."""
        return float(self.losses(matrix).sum()) + self.paid(terms)

    def paid(self, terms: WalkTerms) -> float:
        """Sum what trainings and looks cost."""
        return terms.price * (len(self.trainings) + terms.phi * self.looks)


def every(steps: int, matrix: LossMatrix, *, delay: int = 0) -> Course:
    """Train every so many steps, whatever is seen; 0 is never."""
    trained = [step - step % steps if steps else 0 for step in range(matrix.steps)]
    return Course(champions=tuple(fresh_model(step, delay) for step in trained))


def by_policy(name: str) -> Rule:
    """Decide as a project's policy does."""
    policy = policy_of(name)
    return lambda seen: policy(seen.situation).train


def walk(matrix: LossMatrix, terms: WalkTerms, *, rule: Rule, looks: bool = False, risk: bool = False) -> Course:
    """Walk a rule through a matrix. `looks` are taken when the ledger asks for them; `risk` judges the champion's days."""
    walker = _Walker(matrix, terms, judges_risk=risk)
    for step in range(matrix.steps):
        walker.close(step, rule, looks=looks)
    return Course(champions=tuple(walker.champions), looks=walker.looks, entries=tuple(walker.entries))


class _Walker:
    """Where a walk stands: the champion, when it was released, the one it replaced, and the ledger."""

    def __init__(self, matrix: LossMatrix, terms: WalkTerms, *, judges_risk: bool) -> None:
        self._matrix, self._terms, self._judges_risk = matrix, terms, judges_risk
        self._step = span_of(terms.rules.step)
        self._champion, self._released = 0, 0
        self._retired: int | None = None
        self._accepted = self._at_the_gate(0)
        self._last = opening(MODEL, policy=terms.rules.policy, price=terms.price, start=terms.start)
        self.champions: list[int] = []
        self.entries: list[LedgerEntry] = []
        self.looks = 0
        self._tried: list[LedgerEntry] = []

    def close(self, step: int, rule: Rule, *, looks: bool) -> None:
        """Serve a step with the champion, then decide."""
        self.champions.append(self._champion)
        told = self.told(step)
        entry = advance(self._last, told, price=self._terms.price, phi=self._terms.phi)
        if looks and look_due(entry) and (gain := self._look(step)) is not None:
            self.looks += 1
            entry = after_look(entry, told, gain=gain)
        situation = self._situation(step, told, entry=entry)
        seen = Evidenced(
            situation=situation,
            since=step + 1 - self._released,
            accepted=self._accepted,
            told=self._told_since(step),
        )
        trains = step + 1 < self._matrix.steps and rule(seen) and not self._bound(situation, step)
        decision = RETRAIN if trains else WAIT
        self._last = msgspec.structs.replace(entry, decision=decision, decided_at=situation.health.window.end)
        self.entries.append(self._last)
        if trains:
            self._tried = [self._last]
            self._retired, self._champion = self._champion, fresh_model(step + 1, self._terms.delay)
            self._released = step + 1
            self._accepted = self._at_the_gate(step + 1)

    def told(self, step: int) -> StepLosses:
        """Give what became known in a step, as monitoring does: only rows that no scored model was trained on."""
        known = step - self._terms.delay
        told, ages = self._matrix.told, {}
        labels = int(told.rows_by_step[known]) if known >= 0 else 0
        models = [self._champion]
        if self._retired is not None and self._retired < self._champion and step - self._released < SHADOW_STEPS:
            models.append(self._retired)
        for model in models:
            # the first model is as old as the matrix; a later one knew all that was told when it was released
            ages[model] = float(step + 1 - (model + self._terms.delay if model else 0))
        unseen = labels > 0 and known >= self._champion
        losses = {model: float(told.by_step[model, known] / labels) for model in models} if unseen else {}
        return StepLosses(
            start=START + step * self._step,
            end=START + (step + 1) * self._step,
            rows=labels if unseen else 0,
            champion=self._champion,
            losses=losses,
            ages=ages,
            labels=labels,
        )

    def _look(self, step: int) -> Gain | None:
        """Compare the candidate of a step's begin with the champion on what was told in the step."""
        known = step - self._terms.delay
        if known <= self._champion or known >= self._matrix.steps:
            return None
        told = self._matrix.told
        rows = told.rows_by_step[known]
        mean = float(told.by_step[self._champion, known] - told.by_step[known, known]) / max(rows, 1)
        return Gain(mean=mean, rows=int(rows), gap=float(known - self._champion))

    def _at_the_gate(self, step: int) -> Accepted | None:
        """Take what is accepted of a model released at a step: the loss of its candidate on the step before."""
        known = step - 1 - self._terms.delay
        days = self._matrix.told.means(known, first=known, last=known + 1) if known >= 0 else self._matrix.first
        return accept(GATE_METRIC, days, days=np.arange(len(days)))

    def _told_since(self, step: int) -> Vector:
        first = max(self._released - self._terms.delay, self._champion)
        return self._matrix.told.means(self._champion, first=first, last=step + 1 - self._terms.delay)

    def _situation(self, step: int, told: StepLosses, *, entry: LedgerEntry) -> Situation:
        window = Window(START + step * self._step, START + (step + 1) * self._step)
        health = Health(
            model=MODEL,
            window=window,
            rows=told.rows,
            labels=told.labels,
            versions=(),
            blocks=(),
            drift=self._drift(step),
            risk=self._risk(step),
            alerts=(),
            loss=told.losses.get(self._champion),
            step=told,
            champion=self._champion,
        )
        return Situation(
            health=health,
            entry=msgspec.structs.replace(entry, window=window.id),
            rules=self._terms.rules,
            released_at=START + self._released * self._step,
            tried_at=tried_at(self._tried),
        )

    def _drift(self, step: int) -> tuple[Drift, ...]:
        alarms = self._matrix.alarms
        loud = alarms is not None and alarms[self._champion] <= step
        return (Drift(column="any", psi=0, jensen_shannon=0, shift=0, evidence=1, limit=1, alarm=True),) if loud else ()

    def _risk(self, step: int) -> Risk | None:
        if not self._judges_risk or self._accepted is None:
            return None
        return judge(self._accepted, self._terms.risk_tolerance, losses=self._told_since(step).tolist())

    def _bound(self, situation: Situation, step: int) -> str:
        """Name the hard limit that holds a training back; the week's budget of runs is not part of a backtest."""
        fresh = self._matrix.told.rows_by_step[self._champion : step + 1 - self._terms.delay]
        now = situation.health.window.end
        facts = LimitFacts(
            now=now,
            rules=self._terms.rules,
            budget=Budget(),
            deployment=None,
            released_at=situation.released_at if self._released else None,
            labels=int(fresh.sum()),
            entries=self._tried,
            spent=Spent(runs=0, cpu_hours=0.0, month=now),
        )
        return binds_training(facts)

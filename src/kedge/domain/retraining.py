"""The decision to train again: policies, the regret ledger's state, and the three answers wait, look, retrain."""

from datetime import datetime

import msgspec

from kedge.domain.ids import Digest, ModelName

SHADOW_STEPS = 8
"""For how many steps a retired champion is scored beside the new one: what ageing costs is learnt from the pair."""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What things cost: one unit of summed loss, one retraining (candidate and refit), one hour of CPU."""

    loss: float = 1.0
    retrain: float = 40.0
    cpu_hour: float = 0.0


class RetrainingRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The retraining of a project. `policy`: ledger, drift, risk, threshold, "every 30d", manual or never.

    `triggers` lists what else may ask for a training: "dataset:NAME" (a new version of it), "webhook:NAME".
    `step` is the ledger's unit of time; `min_labels` the new labels below which nothing is trained; `longest` the age at
    which the ledger trains in any case; `threshold` the loss over which policy "threshold" trains. `look_on` names the
    alarms ("risk", "drift") that bring the ledger's next look forward.
    """

    policy: str = "ledger"
    step: str = "7d"
    price: Price = Price()
    cooldown: str = "3d"
    min_labels: int = 500
    longest: str = "364d"
    threshold: float | None = None
    triggers: tuple[str, ...] = ()
    look_on: tuple[str, ...] = ()


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the ledger: the state after it, all that went into it, and the verdict with its reason.

    `slope` b (loss gained per step, per step of age), `gain` g (regret of the newest step), `regret` S (summed since the
    last training), `price` c, `phi` (compute's share of c), `interval` n = sqrt(2 c / b), `level` L (the champion's
    loss in a step), `gains` and `gaps` the discounted sums behind b, `since_look` steps since the last look; `looked`
    says that a candidate was compared in this step. `bound` names the hard limit that held a training back; `started`
    counts the steps of the project's history that the slope was started from.
    """

    model: ModelName
    step: int
    window: str
    decided_at: datetime
    policy: str
    decision: str
    reason: str
    champion: int
    rows: int
    loss: float
    slope: float
    gain: float
    regret: float
    price: float
    phi: float
    interval: float
    level: float
    gains: float
    gaps: float
    since_look: int
    last_gain: float | None = None
    regret_at_look: float = 0.0
    age: float = 0.0
    bound: str = ""
    looked: bool = False
    started: int = 0


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """What asks for a training besides the policy: a person, a new version of a dataset, a webhook. `key` makes it one,
    however often it is told; `taken_at` is when a turn was ordered for it (None: it waits)."""

    key: Digest
    model: ModelName
    kind: str
    reason: str
    actor: str
    asked_at: datetime
    taken_at: datetime | None = None


class TurnEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a turn: `released` a version, `refused` by the gate, `failed`; and in words how that stands now."""

    outcome: str
    at: datetime
    words: str
    version: int | None = None


class RetrainingStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a project's retraining stands: the newest entry (None: no step has closed), when the regret meets the price at
    this rate, in days (None: not at this rate, or not by a ledger), the course of the regret, and what was decided last.
    `ended` is what came of the turn that the newest entry ordered (None: none was, or it has not ended)."""

    model: ModelName
    policy: str
    entry: LedgerEntry | None
    days_left: float | None
    words: str
    course: tuple[float, ...]
    decisions: tuple[LedgerEntry, ...]
    ended: TurnEnd | None = None


class Wait(msgspec.Struct, frozen=True):
    """Do not train, and why."""

    reason: str


class Look(msgspec.Struct, frozen=True):
    """Train a candidate, compare it, release nothing; and why."""

    reason: str


class Retrain(msgspec.Struct, frozen=True):
    """Train and go through the gate; and why. `actor` is the policy (or person) that ordered it.

    `at` is when: the turn learns from what was known then, however late it is made or made again. None is now.
    """

    reason: str
    actor: str
    at: datetime | None = None

"""Deployments and rollouts: what is served where, and how one version replaces another.

    steady --start--> on trial (step 0, 1, ...) --promote--> steady, new champion
                         |--- harm ---> steady, old champion (rolled back)
                         |--- a step waits for a person, or the trial is paused: the share stays as it is
A deployment is one row with a revision; each change writes the next revision, and only from the one that was read.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from enum import Enum, StrEnum

import msgspec

from kedge.domain.ids import ModelName

PROMOTE = "promote"
"""What a promotion is called among the steps that may wait for a person."""


class Strategy(Enum):
    """How a version replaces another: at once, by one switch of two full sides, by some traffic, by copied traffic."""

    ALL_AT_ONCE = "all-at-once"
    BLUE_GREEN = "blue-green"
    CANARY = "canary"
    SHADOW = "shadow"


class TrialQuestion(Enum):
    """What a trial is asked: whether the challenger does harm (it goes on unless it does), or whether it is better."""

    HARM = "harm"
    SUPERIORITY = "superiority"


class RolloutRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rollout of a project. `steps` are shares of traffic; a step lasts `hold` unless harm is shown at level `alpha`.

    `bake` is how long the step with all traffic lasts (left out: `hold`): the old version stays loaded, so going back is
    a pointer swap. `sticky` is the request column by whose value traffic is split. `max_latency` is how long a request of
    the challenger may take: the mean of a window, and by the log all but 5 % more than of the champion's. `approve` names
    what waits for a person ("25%", "promote"); true is the step with all traffic, or where there is none the promotion. A
    trial without evidence for `max_age` asks a person. `max_disagreement` is the share of rows on which a shadow may decide
    otherwise (left out: a quarter of what is classified; of numbers it is shown, not judged). `slices` are columns whose
    values are looked at one by one, where they have `min_group` rows. `question` asks for harm or for superiority; with
    `labels` a step needs labelled rows to go on. `value` is what an answer is worth: a SQL expression over
    `prediction`, `truth` and the features.
    """

    strategy: Strategy = Strategy.CANARY
    steps: tuple[str, ...] = ("5%", "25%", "100%")
    hold: str = "1d"
    bake: str = ""
    sticky: str = ""
    alpha: float = 0.01
    max_latency: str = "1s"
    approve: bool | tuple[str, ...] = False
    max_age: str = "14d"
    max_disagreement: str = ""
    slices: tuple[str, ...] = ()
    min_group: int = 200
    question: TrialQuestion = TrialQuestion.HARM
    labels: bool = False
    value: str = ""


class RuleChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules in which one rollout differs from its project's; None is as the project says."""

    strategy: Strategy | None = None
    steps: tuple[str, ...] | None = None
    hold: str | None = None
    bake: str | None = None
    alpha: float | None = None
    max_latency: str | None = None
    approve: bool | tuple[str, ...] | None = None
    max_age: str | None = None
    max_disagreement: str | None = None
    slices: tuple[str, ...] | None = None
    min_group: int | None = None
    question: TrialQuestion | None = None
    labels: bool | None = None
    value: str | None = None

    def of(self, rules: RolloutRules) -> RolloutRules:
        """Give the rules with these changes."""
        named = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(rules, **named)


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What is served for a model. `champion` answers all but `share` of the entities; with SHADOW it answers all.

    `salt` starts the hash that splits the traffic and is new for each trial; `step` counts from 0, and is -1 where the
    first step waits for a person; `since` is when this step began; `actor` and `reason` say who or which policy stands
    behind this revision. `rules` are those that the trial started with. `waiting` names the step that a person is asked
    for, `approved` those that a person has let pass. `paused_at` is there while the trial is paused; `paused_seconds`
    of this step do not count for its hold.
    """

    model: ModelName
    revision: int
    champion: int
    since: datetime
    actor: str
    reason: str
    challenger: int | None = None
    strategy: Strategy = Strategy.CANARY
    share: float = 0.0
    step: int = 0
    salt: str = ""
    rules: RolloutRules | None = None
    waiting: str = ""
    approved: tuple[str, ...] = ()
    paused_at: datetime | None = None
    paused_seconds: float = 0.0

    @property
    def loaded(self) -> tuple[int, ...]:
        """List the versions that are kept loaded: the champion, and while a trial lasts the challenger."""
        return (self.champion,) if self.challenger is None else (self.champion, self.challenger)


def champion_since(revisions: Sequence[Deployment]) -> datetime | None:
    """Tell when the present champion became champion, the last time; `revisions` are oldest first, None for none."""
    since = None
    for revision in reversed(revisions):
        if revision.champion != revisions[-1].champion:
            break
        since = revision.since
    return since


def trial_of(revisions: Sequence[Deployment]) -> tuple[Deployment, ...]:
    """Give the revisions of the trial that runs, oldest first; `revisions` are oldest first. Empty where none runs."""
    return standing_of(revisions) if revisions and revisions[-1].challenger is not None else ()


def standing_of(revisions: Sequence[Deployment]) -> tuple[Deployment, ...]:
    """Give the newest revisions that have the same champion, challenger and salt: the trial that runs, or what has been
    served since the last one ended. Oldest first, as `revisions` are."""
    standing: list[Deployment] = []
    for revision in reversed(revisions):
        newest = revisions[-1]
        if (revision.champion, revision.challenger, revision.salt) != (newest.champion, newest.challenger, newest.salt):
            break
        standing.append(revision)
    return tuple(reversed(standing))


def newest_trial(deployments: Sequence[Deployment]) -> tuple[Deployment, ...]:
    """Give the revisions of the trial that runs, else of the newest one that has ended; empty where there was none."""
    last = next((place for place in reversed(range(len(deployments))) if deployments[place].challenger is not None), None)
    return () if last is None else trial_of(deployments[: last + 1])


class TrialDecision(StrEnum):
    """What a person decides of a model that is deployed: how its trial goes on or ends, or that what was before answers."""

    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    PROMOTE = "promote"
    ABORT = "abort"
    ROLL_BACK = "roll-back"


class Move(Enum):
    """What a look at a rollout decides. ASK is a hold that a person is told of: what comes next waits for them."""

    HOLD = "hold"
    ASK = "ask"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


class Clusters(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and a sum over them, by random group of entities: entities, not rows, are drawn to a side."""

    rows: list[int]
    sums: list[float]


class GuardOdds(msgspec.Struct, frozen=True, kw_only=True):
    """What one guard found at a look: the odds against "no harm", and that in words."""

    odds: float
    reason: str


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """A row on which the two versions of a shadow differ much: its prediction, both answers, its features as served, and
    its entity as it was logged, by which the row is erased."""

    prediction: str
    champion: float
    challenger: float
    features: dict[str, float | int | bool | str | None] = {}
    entity: str = ""


class SliceLook(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a column: rows of either side, the challenger's failures, and in a shadow on how many rows they
    disagree. `judged` says whether it has enough rows."""

    column: str
    value: str
    rows: int
    champion_rows: int
    errors: int
    disagreed: int
    judged: bool


class ShadowCompared(msgspec.Struct, frozen=True, kw_only=True):
    """A shadow compared row by row: the rows that the champion answered (0 in looks of older releases), the pairs among
    them (a shadow that cannot keep up leaves rows out), those on which the decisions differ, the mean difference of the
    answers, how far the two distributions are apart (population stability index, Kolmogorov-Smirnov), and the rows furthest
    apart."""

    rows: int = 0
    pairs: int
    disagreed: int
    mean_difference: float
    psi: float | None = None
    ks: float | None = None
    largest: tuple[Apart, ...] = ()


class RolloutLook(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a rollout: the inputs, the statistic, the limit and the decision, kept as a row.

    `rows` and `errors` are the challenger's in the window, `champion_rows` and `champion_errors` the champion's;
    `difference` is the challenger's mean loss less the champion's on `days` labelled days; `evidence` the greatest odds
    against "no harm" of the guards' tests, rolled back at `limit`; `guards` has those of each guard. `upto` is the end of
    the window: the next step counts from there, not from when someone came to look.
    `labels` are the challenger's labelled rows, `better` the odds that it loses less than the champion, where that is asked,
    `value_difference` its mean value less the champion's.
    A live look (`live`) reads the log as it grows and counts from the trial's start: requests and those over the latency
    limit, rows that testers asked for by name (`overridden`, left out), rows that did not go where the split computed
    again sends them (`misrouted`), entities seen in this step, and the odds that another share of them came.
    """

    model: ModelName
    revision: int
    window: str
    challenger: int
    step: int
    share: float
    move: Move
    reason: str
    looked_at: datetime
    rows: int = 0
    share_seen: float | None = None
    errors: int = 0
    days: int = 0
    difference: float | None = None
    evidence: float | None = None
    limit: float | None = None
    upto: datetime | None = None
    champion_rows: int = 0
    champion_errors: int = 0
    guards: dict[str, GuardOdds] = {}
    labels: int = 0
    better: float | None = None
    value_difference: float | None = None
    live: bool = False
    requests: int = 0
    slow: int = 0
    overridden: int = 0
    misrouted: int = 0
    entities: int = 0
    split_odds: float | None = None
    comparison: ShadowCompared | None = None
    slices: tuple[SliceLook, ...] = ()


GROUPS = 32  # random groups of entities, by which the errors of means are measured


def entity_hash(entity: str) -> int:
    """Hash an entity apart from any salt: what groups and marks it whichever side it is on."""
    return int.from_bytes(hashlib.blake2b(entity.encode(), key=b"kedge.rollout", digest_size=8).digest(), "big")


def group_of(entity: str) -> int:
    """Give an entity's random group, in [0, GROUPS)."""
    return entity_hash(entity) % GROUPS


def position(salt: str, entity: str) -> float:
    """Place an entity in [0, 1), the same in every process: 52 bits of BLAKE2b over salt and entity."""
    hashed = hashlib.blake2b(entity.encode(), key=salt.encode()[:64], digest_size=8).digest()
    return (int.from_bytes(hashed, "big") >> 12) / 2**52


def takes_challenger(deployment: Deployment, entity: str) -> bool:
    """Say whether the challenger answers this entity. Monotone in the share: 25 % keeps the entities of 5 %."""
    if deployment.challenger is None or deployment.strategy is Strategy.SHADOW:
        return False
    return position(deployment.salt, entity) < deployment.share

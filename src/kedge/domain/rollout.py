"""Deployments and rollouts: what is served where, and how one version replaces another.

    steady --start--> on trial (step 0, 1, ...) --promote--> steady, new champion
                         |--- harm ---> steady, old champion (rolled back)
A deployment is one row with a revision; each change writes the next revision, and only from the one that was read.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.ids import ModelName


class Strategy(Enum):
    """How a version replaces another: some traffic, copied traffic with the answer unused, or all at one switch."""

    CANARY = "canary"
    SHADOW = "shadow"
    BLUE_GREEN = "blue-green"


class RolloutRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rollout of a project. `steps` are shares of traffic; a step lasts `hold` unless harm is shown at level `alpha`.

    `sticky` is the request column by whose value traffic is split. `max_latency` is a duration that the mean request of
    the challenger may take.
    """

    strategy: Strategy = Strategy.CANARY
    steps: tuple[str, ...] = ("5%", "25%", "100%")
    hold: str = "1d"
    sticky: str = ""
    alpha: float = 0.01
    max_latency: str = "1s"


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What is served for a model. `champion` answers all but `share` of the entities; with SHADOW it answers all.

    `salt` starts the hash that splits the traffic and is new for each rollout; `step` counts from 0; `since` is when
    this step began; `actor` and `reason` say who or which policy stands behind this revision.
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


def champion_since(revisions: Sequence[Deployment]) -> datetime | None:
    """Tell when the present champion became champion, the last time; `revisions` are oldest first, None for none."""
    since = None
    for revision in reversed(revisions):
        if revision.champion != revisions[-1].champion:
            break
        since = revision.since
    return since


class Move(Enum):
    """What a look at a rollout decides."""

    HOLD = "hold"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


class RolloutLook(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a rollout: the inputs, the statistic, the limit and the decision, kept as a row.

    `rows` and `errors` are the challenger's in the window, `champion_rows` and `champion_errors` the champion's;
    `difference` is the challenger's mean loss less the champion's on `days` labelled days; `evidence` the greatest odds
    against "no harm" of the guards' tests, rolled back at `limit`. `upto` is the end of the window: the next step counts
    from there, not from when someone came to look.
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


def position(salt: str, entity: str) -> float:
    """Place an entity in [0, 1), the same in every process: 52 bits of BLAKE2b over salt and entity."""
    hashed = hashlib.blake2b(entity.encode(), key=salt.encode()[:64], digest_size=8).digest()
    return (int.from_bytes(hashed, "big") >> 12) / 2**52


def takes_challenger(deployment: Deployment, entity: str) -> bool:
    """Say whether the challenger answers this entity. Monotone in the share: 25 % keeps the entities of 5 %."""
    if deployment.challenger is None or deployment.strategy is Strategy.SHADOW:
        return False
    return position(deployment.salt, entity) < deployment.share

"""What goes over the wire and is not the domain's own: bodies of writes, and answers without a struct of their own."""

from datetime import datetime
from math import isnan
from typing import Literal

import msgspec

from kedge.domain.retraining import LedgerEntry
from kedge.domain.rollout import Deployment, RuleChanges
from kedge.domain.told import PointTold
from kedge.domain.tracking import DatasetInput, Experiment, Run, RunCount
from kedge.monitoring.truth.horizon import WITHIN
from kedge.server.reading.model import ModelLine


class Truth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ground truth: for each prediction's id the fact (0 or 1, or the value); `known_at` is now, unless it is given.

    Instead of `predictions`, `entities` and `times`: a fact is then about the newest prediction of its entity at or before
    its time, and not older than `within`. `look_up` has facts by prediction looked up at once, too. Without a
    `model` each prediction that is looked up is its model's.
    """

    values: list[float]
    predictions: list[str] = []
    entities: list[str] = []
    times: list[datetime] = []
    known_at: datetime | None = None
    within: str = WITHIN
    look_up: bool = False
    model: str | None = None


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """How many files were taken away."""

    removed: int


class Promote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a version champion now. `revision` is the deployment's revision that was looked at: another one refuses."""

    version: int
    reason: str
    revision: int | None = None


class RollBack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End the trial, or return to the champion before."""

    reason: str
    revision: int | None = None


class AskTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for a training, and say why."""

    reason: str


class AskTaken(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this asked for something new; False where the same was asked before."""

    taken: bool


class Deploy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put a version on trial by the project's rules, but for `rules`. `revision` as in a promotion."""

    version: int
    reason: str
    rules: RuleChanges = RuleChanges()
    revision: int | None = None


class Decide(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pause, resume, approve or abort a trial. `revision` as in a promotion."""

    reason: str
    revision: int | None = None


class AlertBecause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Do something about an alert, and say why."""

    reason: str


class AlertUntil(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep an alert or a model quiet: `until` a time, or as long as it `lasts`, such as "4h"."""

    reason: str
    until: datetime | None = None
    lasts: str = ""


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What is served after a write."""

    deployment: Deployment


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of models by name; `next` is the token of the page after it, empty at the end."""

    models: tuple[ModelLine, ...]
    next: str


class ExperimentCounted(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment, and how many runs it has."""

    experiment: Experiment
    count: RunCount


class OneRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    run: Run


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's steps, oldest first."""

    model: str
    entries: tuple[LedgerEntry, ...]


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this process can read its store."""

    status: str
    serial: int


class KedgeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which Kedge this is."""

    kedge: str
    api: str = "v1"


class PointGiven(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One point: [key, value, milliseconds since 1970, step]. JSON has no NaN: write "NaN", "Infinity", "-Infinity"."""

    key: str
    value: float | Literal["NaN", "Infinity", "-Infinity"]
    at: int
    step: int = 0

    def told(self) -> PointTold:
        """Give the point with its value as a number."""
        return PointTold(self.key, float(self.value), self.at, self.step)


class LogGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged to a run at once."""

    points: list[PointGiven] = []
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    datasets: list[DatasetInput] = []


class PointsTaken(msgspec.Struct, frozen=True, kw_only=True):
    """How many points were taken. The same point again counts once."""

    points: int


def number_word(value: float) -> str:
    """Write a number that JSON lacks."""
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"

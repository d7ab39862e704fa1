"""What goes over the wire and is not the domain's own: bodies of writes, and answers without a struct of their own."""

from datetime import datetime

import msgspec

from kedge.domain.retraining import LedgerEntry
from kedge.domain.rollout import Deployment
from kedge.domain.tracking import Run
from kedge.server.reading.model import ModelLine


class Truth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ground truth: for each prediction's id the fact (0 or 1, or the value); `known_at` is now, unless it is given."""

    predictions: list[str]
    values: list[float]
    known_at: datetime | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """How many facts were taken. The same id again counts once."""

    recorded: int


class Promote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a version champion now. `revision` is the deployment's revision that was looked at: another one refuses."""

    version: int
    reason: str
    revision: int | None = None


class RollBack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End the trial, or return to the champion before."""

    reason: str
    revision: int | None = None


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What is served after a write."""

    deployment: Deployment


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All registered models."""

    models: tuple[ModelLine, ...]


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

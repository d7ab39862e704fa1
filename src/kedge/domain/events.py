"""What happened. Every state change writes one event in the same transaction, under a key that makes it happen once."""

import hashlib
from datetime import datetime
from enum import Enum

import msgspec

from kedge.domain.ids import Digest
from kedge.domain.lineage import Edge

Fact = str | int | float | bool | None


class EventKind(Enum):
    """Past tense, always."""

    DATASET_COMMITTED = "dataset_committed"
    DATASET_DESCRIBED = "dataset_described"
    DATASET_TAGGED = "dataset_tagged"
    DATASET_VERSIONS_DROPPED = "dataset_versions_dropped"
    DATA_ERASED = "data_erased"
    DATA_VALIDATED = "data_validated"
    DATA_REFUSED = "data_refused"
    PARITY_CHECKED = "parity_checked"
    EXPERIMENT_CREATED = "experiment_created"
    EXPERIMENT_RENAMED = "experiment_renamed"
    EXPERIMENT_DELETED = "experiment_deleted"
    EXPERIMENT_RESTORED = "experiment_restored"
    RUN_STARTED = "run_started"
    RUN_FINISHED = "run_finished"
    RUN_FAILED = "run_failed"
    RUN_KILLED = "run_killed"
    RUN_RESUMED = "run_resumed"
    RUN_RENAMED = "run_renamed"
    RUN_DELETED = "run_deleted"
    RUN_RESTORED = "run_restored"
    MODEL_LOGGED = "model_logged"
    LOGGED_MODEL_FINALIZED = "logged_model_finalized"
    LOGGED_MODEL_DELETED = "logged_model_deleted"
    GATE_JUDGED = "gate_judged"
    MODEL_CREATED = "model_created"
    MODEL_RENAMED = "model_renamed"
    MODEL_DELETED = "model_deleted"
    MODEL_REGISTERED = "model_registered"
    MODEL_SERVABLE = "model_servable"
    MODEL_VERSION_DELETED = "model_version_deleted"
    STAGE_MOVED = "stage_moved"
    ALIAS_MOVED = "alias_moved"
    ROLLOUT_STARTED = "rollout_started"
    ROLLOUT_LOOKED = "rollout_looked"
    ROLLOUT_ADVANCED = "rollout_advanced"
    ROLLOUT_PAUSED = "rollout_paused"
    ROLLOUT_RESUMED = "rollout_resumed"
    ROLLOUT_WAITED = "rollout_waited"
    ROLLOUT_APPROVED = "rollout_approved"
    MODEL_PROMOTED = "model_promoted"
    MODEL_ROLLED_BACK = "model_rolled_back"
    PREDICTIONS_ERASED = "predictions_erased"
    PREDICTIONS_FORGOTTEN = "predictions_forgotten"
    REFERENCE_TAKEN = "reference_taken"
    WINDOW_MEASURED = "window_measured"
    ALERT_RAISED = "alert_raised"
    ALERT_ACKNOWLEDGED = "alert_acknowledged"
    ALERT_SNOOZED = "alert_snoozed"
    ALERT_RESOLVED = "alert_resolved"
    ALERT_REOPENED = "alert_reopened"
    ALERT_ESCALATED = "alert_escalated"
    ALERT_REMINDED = "alert_reminded"
    ALERT_WOKEN = "alert_woken"
    ALERTS_MUTED = "alerts_muted"
    ALERTS_UNMUTED = "alerts_unmuted"
    RETRAINING_ASKED = "retraining_asked"
    RETRAINING_DECIDED = "retraining_decided"
    TURN_ENDED = "turn_ended"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `key` is the digest of the step's inputs: a second write with it changes nothing.

    `subject` is the model's or dataset's name, `actor` a person or `policy:NAME`, `message` a sentence for people,
    `facts` the figures behind it, `edges` what it adds to the lineage graph.
    """

    key: Digest
    kind: EventKind
    at: datetime
    subject: str
    actor: str
    message: str
    facts: dict[str, Fact] = {}
    edges: tuple[Edge, ...] = ()


def chained(previous: str, body: bytes) -> str:
    """Hash an event's canonical bytes onto the hash before it ("" for the first): SHA-256, 64 hex digits."""
    return hashlib.sha256(previous.encode() + body).hexdigest()

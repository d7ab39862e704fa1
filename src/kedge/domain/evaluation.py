"""What is measured of a model, the checks of the gate, and the verdict.

A verdict has three outcomes: passed, refused, held. No evidence means held, never passed.
"""

from enum import Enum

import msgspec

METRIC_WORDS = {
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "brier": "Brier",
    "rmse": "RMSE",
    "accuracy": "accuracy",
    "squared_error": "squared error",
    "absolute_error": "absolute error",
    "r2": "R²",
}
"""The metrics' names as people say them."""


class Task(Enum):
    """What the label is: two classes answered by a probability, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Outcome(Enum):
    """The answer of a check or of all checks."""

    PASSED = "passed"
    REFUSED = "refused"
    HELD = "held"


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of the gate, as written in the project file. Just one of these forms:

    `beats = "baseline"` · `not_worse_than = "champion"` · `metric` with `at_least` or `at_most` ·
    `slices` with `metric` and `worst_at_least` or `worst_at_most` · `fairness` with `by` and `at_most` ·
    `parity = "compiled"` with `at_most`.
    """

    beats: str | None = None
    not_worse_than: str | None = None
    metric: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    slices: tuple[str, ...] = ()
    worst_at_least: float | None = None
    worst_at_most: float | None = None
    fairness: str | None = None
    by: str | None = None
    parity: str | None = None


class GateRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gate of a project. `metric` is the loss to compare by; `min_group` the rows below which a group is only named."""

    metric: str = "log_loss"
    threshold: float = 0.5
    min_group: int = 200
    checks: tuple[Check, ...] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found: outcome, measured value, limit, and the reason as a sentence. `group` names a slice or group."""

    check: str
    outcome: Outcome
    reason: str
    measured: float | None = None
    limit: float | None = None
    group: str = ""
    rows: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """All findings and what follows: refused if one refuses, else held if one holds, else passed."""

    outcome: Outcome
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Tell whether the challenger may go on."""
        return self.outcome is Outcome.PASSED

    @property
    def reasons(self) -> tuple[str, ...]:
        """List the sentences that decided: those of the findings with the verdict's own outcome."""
        return tuple(finding.reason for finding in self.findings if finding.outcome is self.outcome)


def conclude(findings: tuple[Finding, ...]) -> Verdict:
    """Join findings to a verdict. No finding at all is no evidence: held."""
    outcomes = {finding.outcome for finding in findings}
    for outcome in (Outcome.REFUSED, Outcome.HELD, Outcome.PASSED):
        if outcome in outcomes:
            return Verdict(outcome=outcome, findings=findings)
    return Verdict(outcome=Outcome.HELD, findings=findings)


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """How much less a candidate loses than the champion on rows that neither has seen: mean over rows, and their number.

    `gap` is the difference of their ages in steps: how much newer the candidate's newest training row is.
    """

    mean: float
    rows: int
    gap: float
    cpu_seconds: float = 0.0


class Recomputed(msgspec.Struct, frozen=True, kw_only=True):
    """A logged answer computed again, from the same model in the same batch of rows: `equal` means bit for bit."""

    again: float
    logged: float
    equal: bool
    batch_rows: int

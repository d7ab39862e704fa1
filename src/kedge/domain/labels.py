"""What is found in a table's labels, and whether the rest of it says anything about them."""

from enum import Enum

import msgspec

from kedge.domain.evaluation import Outcome, Task
from kedge.domain.ids import DatasetName, Digest


class LabelProblem(Enum):
    """What may be wrong with labels."""

    MISSING = "missing"
    ONE_CLASS = "one_class"
    RARE_CLASS = "rare_class"
    UNSEEN_CLASS = "unseen_class"
    CONFLICTING_KEY = "conflicting_key"
    CONFLICTING_ROWS = "conflicting_rows"
    LEAKAGE = "leakage"
    REPEATED_IN_TEST = "repeated_in_test"
    KEY_IN_TEST = "key_in_test"


class ClassShare(msgspec.Struct, frozen=True, kw_only=True):
    """A class of a label: its rows, and their share of the labelled ones."""

    name: str
    rows: int
    share: float


class FeaturePower(msgspec.Struct, frozen=True, kw_only=True):
    """How much one feature alone tells of the label: the share of its uncertainty, in [0, 1], that is gone on other rows.

    Of classes it is entropy, of numbers variance. `roc_auc` is there for two classes.
    """

    column: str
    skill: float
    roc_auc: float | None = None


class LabelFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong, or suspicious: `stops` says that no model should be trained before it is looked into."""

    problem: LabelProblem
    message: str
    rows: int = 0
    column: str = ""
    stops: bool = False


class LabelReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the labels of a table. `classes` is empty where the label is a number."""

    dataset: DatasetName
    version: Digest
    label: str
    task: Task
    rows: int
    classes: tuple[ClassShare, ...]
    findings: tuple[LabelFinding, ...]
    features: tuple[FeaturePower, ...]

    @property
    def passed(self) -> bool:
        """Tell whether nothing that was found stops."""
        return not any(finding.stops for finding in self.findings)


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time that was answered by a model of all rows before it: rows, the mean losses of model and constant."""

    rows: int
    trained_on: int
    loss: float
    constant: float


class Feasibility(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the data beats a trivial baseline: the best constant answer. `gain` is the share of its loss that is gone.

    `error` is the standard error of the difference of losses over `blocks` of time; PASSED, REFUSED, or HELD where the
    rows do not tell.
    """

    label: str
    task: Task
    metric: str
    outcome: Outcome
    reason: str
    rows: int
    loss: float
    constant: float
    gain: float
    error: float
    blocks: int
    folds: tuple[Fold, ...]
    roc_auc: float | None = None

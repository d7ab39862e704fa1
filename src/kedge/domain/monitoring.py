"""Predictions, ground truth, windows, and what is seen in them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.causes import Causes
from kedge.domain.fairness import Fairness
from kedge.domain.ids import ModelName, PredictionId, RequestId, prediction_id
from kedge.domain.operations import Operations, OperationsRules
from kedge.domain.quality import ModelQuality
from kedge.domain.skew import Skew
from kedge.domain.worth import BusinessFound, BusinessRules

Value = float | int | bool | str | None

ANSWERS = "prediction__"  # the column under which a model's own answers are watched


Tolerance = float | str | dict[str, float | str]
"""A share of ranks, "auto", or either by column, with `default` for the columns that are not named."""
DEFAULT = "default"


def tolerance_of(declared: Tolerance, column: str) -> float | str:
    """Give the tolerance that is declared for a column."""
    if isinstance(declared, dict):
        return declared.get(column, declared.get(DEFAULT, "auto"))
    return declared


def columns_named(declared: Tolerance) -> tuple[str, ...]:
    """List the columns that declared tolerances name."""
    return tuple(name for name in declared if name != DEFAULT) if isinstance(declared, dict) else ()


COMING = ("predictions", "labels")
"""What is heard of as long as it comes."""


class MonitoringRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The monitoring of a project: `window` and `tolerance` (for all columns, or by column), and one false alarm in
    `run_length` windows. `silence` is how long nothing may come before people are told: learnt, or declared, for predictions
    and labels alike or each. `risk_tolerance` is the rise over the accepted loss, as a share of it, that is no alarm.

    `groups` are columns, or intersections "a+b", between whose values answers are compared; `intersections` crosses up to
    so many of them; `fairness` gives the greatest difference that is no alarm, by measure; `business` names what answers
    are worth; `operations` are objectives of the service.
    `slices` are columns whose values quality is followed by, besides those of the gate's checks. Above 0, `rank_at` says
    that each request is a ranking, and how many of its first places count.
    """

    window: str = "1d"
    tolerance: Tolerance = "auto"
    silence: str | dict[str, str] = "auto"
    run_length: int = 1000
    risk_tolerance: float = 0.05
    alerts: tuple[str, ...] = ("log",)
    groups: tuple[str, ...] = ()
    intersections: int = 1
    fairness: dict[str, float] = {}
    business: dict[str, BusinessRules] = {}
    operations: OperationsRules = OperationsRules()
    slices: tuple[str, ...] = ()
    rank_at: int = 0


class Window(msgspec.Struct, frozen=True):
    """A span of time, start included, end not. UTC."""

    start: datetime
    end: datetime

    @property
    def id(self) -> str:
        """Name the window by its start and its end."""
        return f"{self.start:%Y-%m-%dT%H:%M}/{self.end:%Y-%m-%dT%H:%M}"


class Matrix(msgspec.Struct, frozen=True):
    """Columns of one type as an array: `values` has shape (rows, len(names)). A record keeps it as one buffer."""

    names: tuple[str, ...]
    values: Any


COPIED = "shadow"
"""The `variant` of a record that says an answered request again, with what a version in shadow answered to a copy of it."""


class PredictionBatch(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it was answered: the record of the prediction log. Columns are lists of one value per row; who
    writes one may give arrays as well (`features`, `outputs`, `tensors`), and a `matrix` in place of `features`.

    `at` is the time the answer holds for, `features` the values as served (before encoding, in the signature's order),
    `as_of` the event time of the row each view contributed, `batches` the runs of rows that went through a model in one
    call (version and row indices): the same call again gives the same bits. `shadow` holds answers that were not used;
    `inputs` what the request brought and `features` does not show: entity keys, and columns that only `derive` reads.
    `roles` and `forms` say by version as what it answered ("champion", "challenger") and in which compiled form, where
    it was not the original; `variant` is the role that a tester asked for by name: such a request is outside the split.
    A version in shadow answers later than the champion: then a second record has the request again, with `shadow`, and
    COPIED for its `variant`. The first record is the answer; who does not look for shadows takes that one alone.
    `calls` names by version the call that several requests shared: its id, this request's place, how many they were.
    `tensors` holds outputs besides the first. `rows` has the numbers of the rows in their request where some are not
    kept (empty: all are), `share` the share of entities that is kept. A record without rows whose `missing` is above 0
    is a gap: so many rows were answered and could not be logged. Where `entities` is empty, each row is its own.
    `hidden` names the personal columns whose values are hashed or left out; if the split's is among them, entities are
    hashed, too.
    """

    request: RequestId
    model: ModelName
    at: datetime
    revision: int
    service: str
    entities: list[str]
    versions: list[int]
    features: dict[str, list[Value]]
    as_of: dict[str, list[datetime | None]]
    outputs: list[float]
    batches: list[tuple[int, list[int]]]
    shadow: dict[int, list[float]] = {}
    errors: dict[int, str] = {}
    seconds: dict[str, float] = {}
    inputs: dict[str, list[Value]] = {}
    forms: dict[int, str] = {}
    roles: dict[int, str] = {}
    variant: str = ""
    calls: dict[int, tuple[str, int, int]] = {}
    tensors: dict[str, list[Any]] = {}
    rows: list[int] = []
    share: float = 1.0
    missing: int = 0
    hidden: list[str] = []
    matrix: Matrix | None = None

    @property
    def count(self) -> int:
        """Count the rows."""
        return len(self.versions)

    def prediction(self, place: int) -> PredictionId:
        """Name the prediction at a place in the record: by its row's number, of which some may not be kept."""
        return prediction_id(self.request, self.rows[place] if self.rows else place)

    def entity(self, place: int) -> str:
        """Name what the traffic of the row at a place was split by: its entity, or itself."""
        return self.entities[place] if self.entities else self.prediction(place)


def own_seconds(seconds: Mapping[str, float], *, challenger: bool, shadow: bool) -> float:
    """Tell what one side of a trial took for a request: its features and that side's own calls.

    `seconds` are a record's: `predict` is what the answer waited for, `challenger` the challenger's own call, which is part
    of `predict` but in a shadow. The wait in the queue is left out: there both sides wait for one another's calls.
    """
    features, predict, trial = seconds.get("features", 0.0), seconds.get("predict", 0.0), seconds.get("challenger")
    if trial is None:
        return features + predict
    if challenger:
        return features + trial
    return features + (predict if shadow else max(0.0, predict - trial))


class TruthBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Ground truth that arrived: for each prediction the fact (0 or 1, or the value), and when it became known."""

    model: ModelName
    known_at: datetime
    predictions: list[PredictionId]
    values: list[float]


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """A column's finite values: how many they are, their mean, the sum of squared distances from it, and both ends."""

    rows: int
    mean: float
    squares: float
    least: float
    greatest: float


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a window, counted in the reference's bins. Merging two is adding them.

    Numeric: `edges` are the reference's inner quantile borders, `counts` has len(edges) + 1 entries, `others` is 0.
    Strings: `labels` are the reference's categories, `counts` one each, `others` the values not among them.
    `moments` are those of a table's numbers, where they were taken.
    """

    name: str
    counts: tuple[int, ...]
    missing: int
    rows: int
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    others: int = 0
    moments: Moments | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a table or of a window of predictions."""

    columns: tuple[ColumnProfile, ...]
    rows: int


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How far one column moved in one window. Distances are shown; only `evidence` (an e-detector) may raise an alarm.

    `shift` is the mean rank among the reference less 1/2 (numbers) or the share of rows that changed category (strings);
    `distances` holds every test of the table, psi and jensen_shannon among them. Evidence of 0: it was not tested.
    `stream` names what speaks loudest: "rank", "spread", "missing", or a category. `since` is the start of the window
    in which it began to move, as far as the evidence tells: only of a column that alarms.
    """

    column: str
    psi: float
    jensen_shannon: float
    shift: float
    evidence: float
    limit: float
    alarm: bool
    distances: dict[str, float] = {}
    stream: str = ""
    since: datetime | None = None


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """The labelled rows of one version in one block of time (a day): their number and the sums that a test needs."""

    day: datetime
    version: int
    rows: int
    loss: float


class GroupLoss(msgspec.Struct, frozen=True, array_like=True):
    """The labelled rows of one version on a day in one random group of entities, while a trial runs: their number, and
    the sums of their losses and of what their answers were worth. `slice` is "COLUMN=VALUE" for those of a slice."""

    day: datetime
    version: int
    group: int
    rows: int
    loss: float
    value: float = 0.0
    slice: str = ""


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """The live loss on late labels: the accepted limit, the mean so far with its lower bound, and whether it alarms."""

    accepted: float
    limit: float
    mean: float
    lower: float
    days: int
    alarm: bool


class VersionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What one version did in a window: rows answered, rows it failed on, mean answer, mean seconds of a request."""

    version: int
    rows: int
    errors: int
    mean_output: float
    latency_seconds: float


class StepLosses(msgspec.Struct, frozen=True, kw_only=True):
    """A closed step of newly labelled rows: mean losses of versions that had seen none of them, scored on the same rows.

    `ages` is each version's age in steps at the step's end: time since the newest row of its training data, by step.
    `labels` counts all rows whose truth became known in the step, `rows` those of them that could be scored and that no
    scored version had been trained on; `steps` is over 1 only where windows are longer than a step.
    """

    start: datetime
    end: datetime
    rows: int
    champion: int
    losses: dict[int, float]
    ages: dict[int, float]
    labels: int = 0
    steps: int = 1


class JoinReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was odd among the records read for a window. Each prediction and each label counts once, the first wins.

    `late` predictions came after their window was measured, and count in the next one's drift; `lost` ones more than a
    step after; `future` ones bear a time that cannot have come. `contradicting` labels differ from the first one; `unknown`
    ones name no prediction that is remembered, `waiting` ones none so far: given up after 26 steps, they are unknown.
    `invalid` ones are no possible fact.
    """

    repeated_predictions: int = 0
    late_predictions: int = 0
    lost_predictions: int = 0
    future_predictions: int = 0
    repeated_labels: int = 0
    contradicting_labels: int = 0
    unknown_labels: int = 0
    invalid_labels: int = 0
    waiting_labels: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """One look at what is served: everything that rollout and retraining decide from. `blocks` hold what is known by
    the window's end of the running deployment's days, `groups` the same by random groups of entities while a trial runs;
    `step` is there only in the window that closes a step.

    `fresh_labels` counts the labels that became known after the newest row that the champion was trained on. `evidence`
    is the mean e-detector over all features ("data") and of the answers ("prediction"); each alarms at `evidence_limit`.
    `notes` name what was odd: a column that vanished, text among numbers. `rows` are those in the log; `answered` is how
    many were answered: those that are `missing` from the log counted in, and sampled ones weighed by their share. `late`
    counts the rows of windows before, which came after those were measured: they are in this window's drift, and only
    there. `since` says of what alarms ("data", "prediction") since when it moved.
    `standing` has the ids of the alerts whose condition holds in this window, told now or before.
    """

    model: ModelName
    window: Window
    rows: int
    labels: int
    versions: tuple[VersionHealth, ...]
    blocks: tuple[Block, ...]
    drift: tuple[Drift, ...]
    risk: Risk | None
    alerts: tuple[Alert, ...]
    loss: float | None
    step: StepLosses | None = None
    champion: int | None = None
    fresh_labels: int = 0
    join: JoinReport = JoinReport()
    evidence: dict[str, float] = {}
    evidence_limit: float = 0.0
    notes: tuple[str, ...] = ()
    answered: int = 0
    missing: int = 0
    groups: tuple[GroupLoss, ...] = ()
    standing: tuple[str, ...] = ()
    late: int = 0
    since: dict[str, datetime] = {}
    fairness: Fairness | None = None
    business: tuple[BusinessFound, ...] = ()
    operations: Operations | None = None
    quality: ModelQuality | None = None
    causes: Causes | None = None
    skew: Skew | None = None

    def could_show(self, kind: AlertKind) -> bool:
        """Say whether this window has the evidence that a condition of a kind would show in."""
        if kind is AlertKind.SILENCE:
            return True
        if kind is AlertKind.PREDICTION_SKEW:  # only a sample that was replayed shows it
            return self.skew is not None and self.skew.rows + self.skew.answers > 0
        by_labels = kind in (AlertKind.RISK, AlertKind.FAIRNESS, AlertKind.CONCEPT_DRIFT, AlertKind.BUSINESS)
        return (self.labels if by_labels else max(self.rows, self.answered)) > 0

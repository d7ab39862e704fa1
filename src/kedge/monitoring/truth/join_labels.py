"""The label join: predictions and late ground truth read from two journals, each record once, each id once.

    prediction record --read--> remembered --all its rows labelled and their step closed--> forgotten
    truth record      --read--> attached to its prediction, or waiting for it
The first record of an id wins; what a version in shadow answered comes in one of its own, and is added to it.
What is remembered is exactly the accepted records that lie between `keep` and `read`
of each journal, so a process that starts again reads them back and stands where the killed one stood. Records (or
single labels) in that span that were *not* accepted are named in `skipped`: they need not be judged a second time.
Nothing here points in circles, so the many small structs are kept out of the garbage collector's rounds (half the time).
"""

import math
from collections import deque
from collections.abc import Iterator
from datetime import datetime

import msgspec

from kedge.domain.evaluation import Task
from kedge.domain.ids import ModelName, PredictionId, RequestId, prediction_id, split_prediction_id
from kedge.domain.monitoring import COPIED, JoinReport
from kedge.domain.records import Answers, decode_answers, decode_truth
from kedge.domain.rows import place_of
from kedge.ports import Journal

WAITING_LIMIT = 100_000


class Places(msgspec.Struct):
    """Where the reading of one journal stands, per segment: `read` so far, `keep` the place to read back from, `step`
    what was read when the newest step closed, `skipped` the records not accepted, by end (labels by index; [] is all)."""

    read: dict[str, int] = {}
    keep: dict[str, int] = {}
    step: dict[str, int] = {}
    skipped: dict[str, dict[int, list[int]]] = {}


class Standing(msgspec.Struct):
    """Where the join stands after a window: everything that it needs besides the journals. `given_up` counts the labels
    that waited for their prediction too long; the next report names them."""

    predictions: Places = msgspec.field(default_factory=Places)
    truths: Places = msgspec.field(default_factory=Places)
    waiting: list[PredictionId] = []
    given_up: int = 0
    measured_upto: datetime | None = None
    step_start: datetime | None = None


class Record(msgspec.Struct, eq=False, gc=False):
    """A journal record that is still needed: its place, and how many remembered things hold on to it."""

    segment: str
    start: int
    end: int
    held: int


class Label(msgspec.Struct, eq=False, gc=False):
    """The fact for one row, when it became known, the record it came in; `done` once its step has closed."""

    value: float
    known_at: datetime
    record: Record
    done: bool = False


class Answered(msgspec.Struct, eq=False, gc=False, kw_only=True):
    """One answered request that is remembered. `labels` maps a place in the record to its fact, `open` counts those that
    are not done; `rows` has the numbers of the rows in their request where not all are kept."""

    record: Record
    request: RequestId
    at: datetime
    revision: int
    versions: list[int]
    outputs: list[float]
    shadow: dict[int, list[float]]
    errors: dict[int, str]
    seconds: dict[str, float]
    rows: list[int] = []
    missing: int = 0
    share: float = 1.0
    hidden: list[str] = []
    payload: bytes
    labels: dict[int, Label]
    open: int
    variant: str = ""


class Labelled(msgspec.Struct, eq=False, gc=False):
    """One row with its fact."""

    answered: Answered
    row: int
    label: Label


class LabelJoin:
    """Predictions and truths of one model, remembered as long as either may still be needed."""

    def __init__(self, model: ModelName, task: Task, *, standing: Standing) -> None:
        self._model, self._task, self._standing = model, task, standing
        self._requests: dict[RequestId, Answered] = {}
        self._waiting: dict[PredictionId, Label] = {}
        self._answers: dict[str, deque[tuple[Record, Answered]]] = {}
        self._truths: dict[str, deque[Record]] = {}
        self._uncounted: list[Labelled] = []
        self._step: list[Labelled] = []
        self._pending: list[Answered] = []
        self._late: list[Answered] = []
        self._odd: dict[str, int] = {}

    # ---- reading ----

    def restore(self, predictions: Journal, truths: Journal) -> None:
        """Read back what was remembered when the standing was written."""
        for record, payload in _records(predictions, self._standing.predictions, again=True):
            if _skipped(self._standing.predictions, record) is None:
                self._remember(record, payload, answers=decode_answers(payload))
        waiting = set(self._standing.waiting)
        for record, payload in _records(truths, self._standing.truths, again=True):
            self._restore_truth(record, payload, waiting=waiting)
        upto = self._standing.measured_upto
        if upto is not None:
            self._step = [one for one in self._uncounted if one.label.known_at <= upto]
            self._uncounted = [one for one in self._uncounted if one.label.known_at > upto]
            self._pending = [one for one in self._pending if one.at >= upto]
        for one in self._step:
            if self._before_step(one):
                _done(one)
        self._step = [one for one in self._step if not one.label.done]

    def read(self, predictions: Journal, truths: Journal, *, floor: datetime, ceiling: datetime | None = None) -> JoinReport:
        """Read what is new in both journals. Predictions for a time before `floor` come too late to be counted; those for
        a time from `ceiling` on were stamped by a clock that was wrong."""
        self._odd = dict.fromkeys(JoinReport.__struct_fields__, 0)
        self._odd["unknown_labels"], self._standing.given_up = self._standing.given_up, 0
        for record, payload in _records(predictions, self._standing.predictions, again=False):
            self._read_answers(record, payload, floor=floor, ceiling=ceiling)
        for record, payload in _records(truths, self._standing.truths, again=False):
            self._read_truth(record, payload)
        self._odd["waiting_labels"] = len(self._waiting)
        return JoinReport(**self._odd)

    def _read_answers(self, record: Record, payload: bytes, *, floor: datetime, ceiling: datetime | None) -> None:
        answers = decode_answers(payload)
        if answers.model != self._model:
            return
        if answers.variant == COPIED:
            self._add_shadow(record, answers)
            return
        why = self._refused(answers, floor=floor, ceiling=ceiling)
        if why:
            self._odd[why] += len(answers.versions)
            self._standing.predictions.skipped.setdefault(record.segment, {})[record.end] = []
            return
        self._remember(record, payload, answers=answers)
        upto = self._standing.measured_upto
        if upto is not None and answers.at < upto:
            self._odd["late_predictions"] += len(answers.versions)
            self._late.append(self._pending.pop())
        if self._waiting:
            self._attach_waiting(self._requests[answers.request])

    def _refused(self, answers: Answers, *, floor: datetime, ceiling: datetime | None) -> str:
        """Say why a request is not remembered; "" where it is."""
        if answers.at < floor:
            return "lost_predictions"
        if ceiling is not None and answers.at >= ceiling:
            return "future_predictions"
        return "repeated_predictions" if answers.request in self._requests else ""

    def _add_shadow(self, record: Record, answers: Answers) -> None:
        """Add to a request what a version in shadow answered to it, once; nothing to one that is not remembered."""
        answered = self._requests.get(answers.request)
        if answered is None or answered.shadow or answered.errors or answered.versions != answers.versions:
            return
        answered.shadow, answered.errors, answered.seconds = answers.shadow, answers.errors, answers.seconds
        self._answers.setdefault(record.segment, deque()).append((record, answered))

    def _remember(self, record: Record, payload: bytes, *, answers: Answers) -> None:
        if answers.model != self._model:
            return
        if answers.variant == COPIED:
            self._add_shadow(record, answers)
            return
        answered = Answered(
            record=record,
            request=answers.request,
            at=answers.at,
            revision=answers.revision,
            versions=answers.versions,
            outputs=answers.outputs,
            shadow=answers.shadow,
            errors=answers.errors,
            seconds=answers.seconds,
            rows=answers.rows,
            missing=answers.missing,
            share=answers.share,
            hidden=answers.hidden,
            payload=payload,
            labels={},
            open=len(answers.versions),
            variant=answers.variant,
        )
        self._requests[answered.request] = answered
        self._answers.setdefault(record.segment, deque()).append((record, answered))
        self._pending.append(answered)

    def _attach_waiting(self, answered: Answered) -> None:
        for place in range(len(answered.versions)):
            row = answered.rows[place] if answered.rows else place
            label = self._waiting.pop(prediction_id(answered.request, row), None)
            if label is not None:
                self._attach(answered, place, label=label)

    def _attach(self, answered: Answered, row: int, *, label: Label) -> None:
        answered.labels[row] = label
        self._uncounted.append(Labelled(answered, row, label))

    def _read_truth(self, record: Record, payload: bytes) -> None:
        truth = decode_truth(payload)
        if truth.model != self._model:
            return
        refused = []
        for index, (prediction, value) in enumerate(zip(truth.predictions, truth.values, strict=True)):
            if not self._take_label(record, prediction, label=Label(value, truth.known_at, record)):
                refused.append(index)
        if refused:
            everything = len(refused) == len(truth.predictions)
            skipped = self._standing.truths.skipped.setdefault(record.segment, {})
            skipped[record.end] = [] if everything else refused
        if record.held:
            self._truths.setdefault(record.segment, deque()).append(record)

    def _take_label(self, record: Record, prediction: PredictionId, *, label: Label) -> bool:
        """Attach one label, or let it wait; where it may not count, say why and give False."""
        parts = split_prediction_id(prediction)
        if not self._possible(label.value):
            return self._refuse("invalid_labels")
        if parts is None:
            return self._refuse("unknown_labels")
        request, row = parts
        answered = self._requests.get(request)
        if answered is None:
            return self._let_wait(record, prediction, label=label)
        place = place_of(answered.rows, len(answered.versions), row=row)
        if place is None:
            return self._refuse("unknown_labels")
        if place in answered.labels:
            return self._refuse_second(answered.labels[place], label.value)
        record.held += 1
        self._attach(answered, place, label=label)
        return True

    def _let_wait(self, record: Record, prediction: PredictionId, *, label: Label) -> bool:
        known = self._waiting.get(prediction)
        if known is not None:
            return self._refuse_second(known, label.value)
        if len(self._waiting) >= WAITING_LIMIT:
            return self._refuse("unknown_labels")
        record.held += 1
        self._waiting[prediction] = label
        return True

    def _possible(self, value: float) -> bool:
        """Say whether a value can be a fact: 0 or 1 for classes, any finite number for regression."""
        return value in (0.0, 1.0) if self._task is Task.CLASSIFICATION else math.isfinite(value)

    def _refuse_second(self, first: Label, value: float) -> bool:
        return self._refuse("repeated_labels" if first.value == value else "contradicting_labels")

    def _refuse(self, why: str) -> bool:
        self._odd[why] += 1
        return False

    def _restore_truth(self, record: Record, payload: bytes, *, waiting: set[PredictionId]) -> None:
        truth = decode_truth(payload)
        refused = _skipped(self._standing.truths, record)
        if truth.model != self._model or refused == []:
            return
        for index, prediction in enumerate(truth.predictions):
            parts = split_prediction_id(prediction)
            if parts is None or (refused is not None and index in refused):
                continue
            answered = self._requests.get(parts[0])
            label = Label(truth.values[index], truth.known_at, record)
            place = place_of(answered.rows, len(answered.versions), row=parts[1]) if answered is not None else None
            if answered is not None and place is not None:
                self._attach(answered, place, label=label)
            elif answered is not None:
                continue  # its row has been erased
            elif prediction in waiting:
                self._waiting[prediction] = label
            else:
                continue  # its prediction has been forgotten
            record.held += 1
        if record.held:
            self._truths.setdefault(record.segment, deque()).append(record)

    def _before_step(self, one: Labelled) -> bool:
        """Say whether a row was labelled in a step that has closed."""
        start = self._standing.step_start
        return (
            start is not None
            and one.label.known_at <= start
            and _read_by(self._standing.predictions.step, one.answered.record)
            and _read_by(self._standing.truths.step, one.label.record)
        )

    # ---- what a window asks ----

    def answered(self, start: datetime, end: datetime) -> list[Answered]:
        """Take the requests of a window, by time. Later ones stay for their own window."""
        inside = [one for one in self._pending if start <= one.at < end]
        self._pending = [one for one in self._pending if one.at >= end]
        return sorted(inside, key=lambda one: (one.at, one.request))

    def late(self) -> list[Answered]:
        """Take the requests of windows that had been measured when they came, by time."""
        late, self._late = self._late, []
        return sorted(late, key=lambda one: (one.at, one.request))

    def labelled(self, upto: datetime) -> list[Labelled]:
        """Take the rows whose truth was known by a moment and that were not taken before, by time."""
        taken = [one for one in self._uncounted if one.label.known_at <= upto]
        self._uncounted = [one for one in self._uncounted if one.label.known_at > upto]
        self._step += taken
        return _by_time(taken)

    def recent(self) -> list[Labelled]:
        """List the rows that were taken since a step closed last, by time."""
        return _by_time(self._step)

    def close_step(self, boundary: datetime) -> list[Labelled]:
        """Take the rows labelled in the step that ends at a boundary, by time; what became known later stays."""
        taken = [one for one in self._step if one.label.known_at <= boundary]
        self._step = [one for one in self._step if one.label.known_at > boundary]
        for one in taken:
            _done(one)
        self._standing.step_start = boundary
        self._standing.predictions.step = dict(self._standing.predictions.read)
        self._standing.truths.step = dict(self._standing.truths.read)
        return _by_time(taken)

    def rest(self, upto: datetime, *, floor: datetime, horizon: datetime) -> Standing:
        """Forget what is not needed any more, and give the standing after a window that ended at `upto`.

        A request is forgotten once it lies before `floor` with all rows done, or before `horizon` in any case; a label
        that waited since before `horizon` is given up.
        """
        for queue in self._answers.values():
            while queue and ((one := queue[0][1]).at < horizon or (one.at < floor and one.open == 0)):
                self._forget(queue.popleft()[1])
        for prediction in [name for name, label in self._waiting.items() if label.known_at < horizon]:
            self._waiting.pop(prediction).record.held -= 1
            self._standing.given_up += 1
        for records in self._truths.values():
            while records and records[0].held == 0:
                records.popleft()
        standing = self._standing
        standing.measured_upto = upto
        standing.waiting = sorted(self._waiting)
        starts = {segment: queue[0][0].start for segment, queue in self._answers.items() if queue}
        _keep_from(standing.predictions, starts)
        _keep_from(standing.truths, {segment: records[0].start for segment, records in self._truths.items() if records})
        return standing

    def _forget(self, answered: Answered) -> None:
        if self._requests.get(answered.request) is not answered:
            return  # forgotten with its answer: this was its shadow's record, and another may have the request's name by now
        del self._requests[answered.request]
        for label in answered.labels.values():
            label.record.held -= 1
            label.done = True
        if answered.open:
            self._step = [one for one in self._step if one.answered is not answered]
            self._uncounted = [one for one in self._uncounted if one.answered is not answered]


def _records(journal: Journal, places: Places, *, again: bool) -> Iterator[tuple[Record, bytes]]:
    """Read records back (from `keep` to `read`), or on (from `read`, which follows)."""
    starts = dict(places.keep if again else places.read)
    for position, payload in journal.scan(dict(starts)):
        segment, end = position
        if again and end > places.read.get(segment, 0):
            continue
        yield Record(segment, starts.get(segment, 0), end, 0), payload
        starts[segment] = end
        if not again:
            places.read[segment] = end


def _skipped(places: Places, record: Record) -> list[int] | None:
    return places.skipped.get(record.segment, {}).get(record.end)


def _read_by(ends: dict[str, int], record: Record) -> bool:
    return record.end <= ends.get(record.segment, 0)


def _keep_from(places: Places, starts: dict[str, int]) -> None:
    places.keep = {**places.read, **starts}
    kept = {
        segment: {end: what for end, what in ends.items() if end > places.keep.get(segment, 0)}
        for segment, ends in places.skipped.items()
    }
    places.skipped = {segment: ends for segment, ends in kept.items() if ends}


def _done(one: Labelled) -> None:
    one.label.done = True
    one.answered.open -= 1


def _by_time(rows: list[Labelled]) -> list[Labelled]:
    return sorted(rows, key=lambda one: (one.answered.at, one.answered.request, one.row))

"""A trial's tally: all that the live looks have read of the prediction log, as sums, and where they stand in it.

The tally is written with each look in one transaction, so a look that is there has counted its rows, once. Rows count by
the revision that answered them. Those of testers, who asked for a side by name, are counted apart and judged nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from kedge.domain.durations import seconds_of, share_of
from kedge.domain.evaluation import Task
from kedge.domain.ids import prediction_id
from kedge.domain.monitoring import COPIED, Value, own_seconds
from kedge.domain.records import Answers, decode_entities, decode_features
from kedge.domain.rollout import GROUPS, Apart, Deployment, RolloutRules, Strategy, entity_hash, takes_challenger
from kedge.rollout.evidence import Bets

PAIRS = 1000
ERRORS_ALLOWED = 0.01
SLOW_ALLOWED = 0.05
SEEN_BITS = 1 << 17
RECENT = 4096
LARGEST = 10
MOST_SLICES = 200
NEIGHBOURS = 20
DECIDED_OTHERWISE = "25%"  # a fresh model corrects a stale one; one that decides every fourth row otherwise is another


class Side(msgspec.Struct):
    """One side's sums: rows, failures, requests, slow ones, and its answers by random group of entities."""

    rows: int = 0
    errors: int = 0
    requests: int = 0
    slow: int = 0
    total: float = 0.0
    squares: float = 0.0
    by_group: list[int] = msgspec.field(default_factory=lambda: [0] * GROUPS)
    outputs: list[float] = msgspec.field(default_factory=lambda: [0.0] * GROUPS)

    def add(self, output: float, group: int) -> None:
        """Count one answer."""
        self.rows += 1
        self.total += output
        self.squares += output * output
        self.by_group[group] += 1
        self.outputs[group] += output

    @property
    def mean(self) -> float:
        """Give the mean answer; 0 without any."""
        return self.total / self.rows if self.rows else 0.0


class SliceTally(msgspec.Struct):
    """One value of a column: rows of either side, failures, disagreements, and the bets on them."""

    rows: int = 0
    champion_rows: int = 0
    errors: int = 0
    disagreed: int = 0
    bets: Bets = msgspec.field(default_factory=Bets)


class Beside(msgspec.Struct):
    """The champion's requests since the challenger's last one, the slow ones among them, their share when there were any,
    and for how many requests of the challenger there have been none."""

    requests: int = 0
    slow: int = 0
    share: float = 0.0
    without: int = NEIGHBOURS

    def compare(self, slow: bool) -> tuple[float, float]:
        """Give what a request of the challenger is to be bet on, in [0, 1], and what is allowed: beside requests of the
        champion how much slower it was, without any whether it was slow at all."""
        if self.requests:
            self.share, self.without = self.slow / self.requests, 0
        else:
            self.without += 1
        self.requests = self.slow = 0
        if self.without > NEIGHBOURS:
            return float(slow), SLOW_ALLOWED
        return (slow - self.share + 1) / 2, (1 + SLOW_ALLOWED) / 2


class Tally(msgspec.Struct):
    """What the looks of one trial, which began with revision `began`, have read. `places` is where they stand in the
    journal; `seen` marks the entities of the step `step`, of which `fresh` came, `fresh_ours` to the challenger. In a shadow
    the champion answered `answered` rows, and the sides have those that both answered, `pairs` and the shadow's failures;
    `sample` has up to PAIRS of the pairs, champion first."""

    began: int
    looks: int = 0
    places: dict[str, int] = {}
    recent: list[bytes] = []
    ours: Side = msgspec.field(default_factory=Side)
    theirs: Side = msgspec.field(default_factory=Side)
    errors: Bets = msgspec.field(default_factory=Bets)
    latency: Bets = msgspec.field(default_factory=Bets)
    beside: Beside = msgspec.field(default_factory=Beside)
    disagreement: Bets = msgspec.field(default_factory=Bets)
    answered: int = 0
    pairs: int = 0
    disagreed: int = 0
    sample: list[tuple[float, float]] = []
    largest: list[Apart] = []
    overridden: int = 0
    misrouted: int = 0
    step: int = -2
    step_rows: int = 0
    seen: bytes = b""
    fresh: int = 0
    fresh_ours: int = 0
    slices: dict[str, SliceTally] = {}

    def keep(self, champion: float, challenger: float) -> None:
        """Count a pair, and keep it in the sample or not: each has the same chance (Vitter 1985, algorithm R). Which are
        kept follows from their order alone, so what is read again after a crash keeps the same."""
        pair = (champion, challenger)
        if len(self.sample) < PAIRS:
            self.sample.append(pair)
        elif (place := entity_hash(str(self.pairs)) % (self.pairs + 1)) < PAIRS:
            self.sample[place] = pair
        self.pairs += 1


class Terms(NamedTuple):
    """By what the rows are told apart: the rules, the task, and the probability from which an answer is a yes."""

    rules: RolloutRules
    task: Task
    threshold: float = 0.5

    @property
    def max_disagreement(self) -> str:
        """Give the share of rows on which a shadow may decide otherwise; "" where that is not judged."""
        return self.rules.max_disagreement or (DECIDED_OTHERWISE if self.task is Task.CLASSIFICATION else "")


class LoggedRow(NamedTuple):
    """One row of a request: its place in the record, its number in the request, its entity, and the group and the mark
    that the entity has."""

    place: int
    number: int
    entity: str
    group: int
    mark: int


class TallyReader:
    """Adds records to a tally."""

    def __init__(self, tally: Tally, asked: Terms, *, trial: Mapping[int, Deployment]) -> None:
        self._tally, self._asked, self._trial = tally, asked, trial
        rules = asked.rules
        self._limit = seconds_of(rules.max_latency)
        most = asked.max_disagreement
        self._allowed = share_of(most) if most else 0.0
        self._recent = set(tally.recent)
        self._seen = bytearray(tally.seen or bytes(SEEN_BITS // 8))

    def close(self) -> None:
        """Put back into the tally what was unpacked for adding."""
        self._tally.seen = bytes(self._seen)

    def add(self, answers: Answers, payload: bytes) -> None:
        """Add one answered request, if it is of this trial and was not sent before."""
        deployment = self._trial.get(answers.revision)
        copied = answers.variant == COPIED
        name = f"{answers.request} {COPIED}" if copied else answers.request
        if deployment is None or not answers.versions or self._repeated(name):
            return
        tally = self._tally
        if answers.variant and not copied:
            tally.overridden += len(answers.versions)
            return
        if deployment.step != tally.step:
            tally.step, tally.step_rows, tally.fresh, tally.fresh_ours = deployment.step, 0, 0, 0
            self._seen = bytearray(SEEN_BITS // 8)
        rows = _rows_of(answers, decode_entities(payload))
        if deployment.strategy is Strategy.SHADOW:
            if not copied:
                self._add_answered(answers, rows, deployment=deployment)
            # only rows that both answered are compared, however many the shadow had to leave out
            if answers.shadow or answers.errors:
                self._add_copied(answers, rows, deployment=deployment, payload=payload)
        else:
            self._add_split(answers, rows, deployment=deployment, payload=payload)

    def _repeated(self, request: str) -> bool:
        """Say whether a request was read before, among the last few thousand; remember it."""
        mark = blake2b(request.encode(), digest_size=8).digest()
        if mark in self._recent:
            return True
        self._recent.add(mark)
        self._tally.recent.append(mark)
        if len(self._tally.recent) > RECENT:
            self._recent.discard(self._tally.recent.pop(0))
        return False

    def _add_split(self, answers: Answers, rows: list[LoggedRow], *, deployment: Deployment, payload: bytes) -> None:
        """Add a request whose rows were split between the sides."""
        tally, challenger = self._tally, deployment.challenger
        assigned: list[LoggedRow] = []
        failed: set[int] = set()
        for row, version, output in zip(rows, answers.versions, answers.outputs, strict=True):
            fell_back = row.place in answers.errors
            # personal entities are hashed in the log: then the split cannot be computed again, and what it says counts
            expected = fell_back or version == challenger
            if not answers.hidden:
                expected = takes_challenger(deployment, row.entity)
                tally.misrouted += (version == challenger or fell_back) != expected
            tally.step_rows += 1
            if expected:
                assigned.append(row)
            if fell_back:
                failed.add(row.number)
                tally.ours.errors += 1
            else:
                side = tally.ours if version == challenger else tally.theirs
                side.add(output, row.group)
            self._mark(row, ours=version == challenger or fell_back)
        if len(assigned) < len(rows):
            slow = own_seconds(answers.seconds, challenger=False, shadow=False) > self._limit
            tally.theirs.requests += 1
            tally.theirs.slow += slow
            tally.beside.requests += 1
            tally.beside.slow += slow
        if assigned:
            self._bet_errors(len(failed) / len(assigned))
            self._bet_latency(own_seconds(answers.seconds, challenger=True, shadow=False) > self._limit)
        if self._asked.rules.slices:
            numbers = {row.number for row in assigned}
            self._add_slices(rows, payload, ours=numbers, failed=failed, disagreed=set(), both=False)

    def _add_answered(self, answers: Answers, rows: list[LoggedRow], *, deployment: Deployment) -> None:
        """Add a request that the champion answered, in a shadow's trial: of what is not copied only the rows are counted."""
        self._tally.answered += len(rows)
        self._tally.misrouted += sum(version != deployment.champion for version in answers.versions)

    def _add_copied(self, answers: Answers, rows: list[LoggedRow], *, deployment: Deployment, payload: bytes) -> None:
        """Add a request that the shadow answered, too, row by row: a record of its own, or that of the answer."""
        tally = self._tally
        copied = answers.shadow.get(deployment.challenger or 0)
        failed = {row.number for row in rows if row.place in answers.errors}
        disagreed: set[int] = set()
        candidates: list[Apart] = []
        tally.step_rows += len(rows)
        tally.ours.errors += len(failed)
        for index, (row, output) in enumerate(zip(rows, answers.outputs, strict=True)):
            tally.theirs.add(output, row.group)
            if copied is None or row.number in failed:
                continue
            other = copied[index]
            tally.ours.add(other, row.group)
            tally.keep(output, other)
            if self._differs(output, other):
                disagreed.add(row.number)
            if len(tally.largest) < LARGEST or abs(other - output) > _apart(tally.largest[-1]):
                name = prediction_id(answers.request, row.number)
                candidates.append(Apart(prediction=name, champion=output, challenger=other, entity=row.entity))
        tally.disagreed += len(disagreed)
        self._bet_errors(len(failed) / len(rows))
        tally.ours.slow += own_seconds(answers.seconds, challenger=True, shadow=True) > self._limit
        if self._allowed and len(failed) < len(rows):
            tally.disagreement.see(len(disagreed) / (len(rows) - len(failed)), allowed=self._allowed)
        if candidates:
            self._keep_largest(candidates, answers, payload=payload)
        if self._asked.rules.slices:
            everyone = {row.number for row in rows}
            self._add_slices(rows, payload, ours=everyone, failed=failed, disagreed=disagreed, both=True)

    def _bet_errors(self, share: float) -> None:
        self._tally.ours.requests += 1
        self._tally.errors.see(share, allowed=ERRORS_ALLOWED)

    def _bet_latency(self, slow: bool) -> None:
        """Bet on slow requests, compared with those that the champion answered at about the same time: where both are
        slow, the machine is."""
        value, allowed = self._tally.beside.compare(slow)
        self._tally.latency.see(value, allowed=allowed)
        self._tally.ours.slow += slow

    def _differs(self, champion: float, challenger: float) -> bool:
        """Say whether two answers decide otherwise: on the other side of the threshold, or a tenth apart."""
        if self._asked.task is Task.CLASSIFICATION:
            return (champion >= self._asked.threshold) != (challenger >= self._asked.threshold)
        return abs(challenger - champion) > 0.1 * abs(champion)

    def _keep_largest(self, candidates: list[Apart], answers: Answers, *, payload: bytes) -> None:
        """Keep the rows furthest apart, with their features as served."""
        features = decode_features(payload)
        places = {_number(answers, place): place for place in range(len(answers.versions))}
        filled = []
        for one in candidates:
            place = places[int(one.prediction.rpartition(".")[2])]
            row = {name: _value(column[place]) for name, column in features.items()}
            filled.append(msgspec.structs.replace(one, features=row))
        self._tally.largest = sorted([*self._tally.largest, *filled], key=_apart, reverse=True)[:LARGEST]

    def _add_slices(
        self, rows: list[LoggedRow], payload: bytes, *, ours: set[int], failed: set[int], disagreed: set[int], both: bool
    ) -> None:
        """Count the request's rows by the values of each column that is looked at."""
        features = decode_features(payload)
        for column in self._asked.rules.slices:
            values = features.get(column)
            if values is None:
                continue
            groups: dict[str, list[int]] = {}
            for row, value in zip(rows, values, strict=True):
                groups.setdefault(f"{column}={value}", []).append(row.number)
            for name, numbers in groups.items():
                self._add_slice(name, numbers, ours=ours, failed=failed, disagreed=disagreed, both=both)

    def _add_slice(
        self, name: str, numbers: Sequence[int], *, ours: set[int], failed: set[int], disagreed: set[int], both: bool
    ) -> None:
        tally = self._tally
        if name not in tally.slices and len(tally.slices) >= MOST_SLICES:
            return
        kept = tally.slices.setdefault(name, SliceTally())
        mine = [number for number in numbers if number in ours]
        kept.champion_rows += len(numbers) if both else len(numbers) - len(mine)
        bad = sum(number in failed for number in mine)
        kept.rows += len(mine) - bad
        kept.errors += bad
        kept.disagreed += sum(number in disagreed for number in mine)
        if mine:
            kept.bets.see(bad / len(mine), allowed=ERRORS_ALLOWED)

    def _mark(self, row: LoggedRow, *, ours: bool) -> None:
        """Count an entity the first time that it comes in this step."""
        place, bit = row.mark >> 3, 1 << (row.mark & 7)
        if not self._seen[place] & bit:
            self._seen[place] |= bit
            self._tally.fresh += 1
            self._tally.fresh_ours += ours


def _rows_of(answers: Answers, entities: Sequence[str]) -> list[LoggedRow]:
    rows = []
    for place in range(len(answers.versions)):
        number = _number(answers, place)
        entity = entities[place] if entities else prediction_id(answers.request, number)
        hashed = entity_hash(entity)
        rows.append(LoggedRow(place, number, entity, hashed % GROUPS, (hashed >> 16) % SEEN_BITS))
    return rows


def _number(answers: Answers, place: int) -> int:
    """Give a row's number in its request; where some rows are not kept, those that are say theirs."""
    return answers.rows[place] if answers.rows else place


def _apart(one: Apart) -> float:
    return abs(one.challenger - one.champion)


def _value(value: Value) -> Value:
    """Give a feature as JSON can hold it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""What is logged of an answered request: the rows of the entities that are sampled, without personal values.

An entity is sampled or not for good, whatever the process: by its place in [0, 1), as the split does with another salt.
The share stands in each record, so that who counts can weigh. A personal column's values become a keyed hash, so that one
person's rows can be joined and erased but not read; or they are left out. The key is the store's, see `secret`.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from kedge.domain.durations import share_of
from kedge.domain.monitoring import PredictionBatch, Value
from kedge.domain.predictions import Ack, Personal, hashed
from kedge.domain.rollout import position
from kedge.domain.rows import taken
from kedge.domain.stencils import Loggable, batch_of
from kedge.errors import KedgeError
from kedge.serving.log import PredictionLog

if TYPE_CHECKING:
    from kedge.app import House

SALT = "predictions"
ANY = ""
_NONE: frozenset[str] = frozenset()
_FRESH_SECONDS = 30.0
_log = logging.getLogger("kedge.serving")


def log_of(house: "House", sticky: str, *, ack: Ack | None = None) -> PredictionLog:
    """Make the prediction log of a house's project, as its project file says; `ack` overrides it. `sticky` is the column
    that entities come from, "" where there is none."""
    rules, spec = house.spec.predictions, house.spec

    def personal() -> Mapping[str, Collection[str]]:
        if rules.personal is Personal.KEEP:
            return {}
        marked = {entry.name: entry.personal() for entry in house.meta.datasets.entries()}
        anywhere = {column for columns in marked.values() for column in columns}
        marks: dict[str, Collection[str]] = {ANY: anywhere}
        if spec.data.source:
            marks[spec.name] = marked.get(spec.dataset, ())
        return marks

    prepare = LogFilter(
        share=share_of(rules.sample),
        personal=personal,
        how=rules.personal,
        key=cache(house.secret),
        sticky=sticky,
    )
    return PredictionLog(
        house.predictions,
        ack=rules.ack if ack is None else ack,
        queue_rows=rules.queue,
        when_full=rules.when_full,
        prepare=prepare,
    )


class LogFilter:
    """Takes out of requests what is not to be logged.

    `personal` names by model the columns that are marked now, and under ANY those of every other model; it is asked anew
    after half a minute. `sticky` is the column that entities come from.
    """

    def __init__(
        self,
        *,
        share: float,
        personal: Callable[[], Mapping[str, Collection[str]]],
        how: Personal,
        key: Callable[[], bytes],
        sticky: str,
    ) -> None:
        self._share, self._how, self._key, self._sticky = share, how, key, sticky
        self._personal = personal
        self._take(personal())
        self._asked = monotonic()

    def __call__(self, records: Sequence[Loggable]) -> Sequence[Loggable]:
        """Give what is logged of requests; nothing of one none of whose rows is sampled."""
        if monotonic() - self._asked >= _FRESH_SECONDS:
            self._ask()
        if self._share == 1 and not self._any:
            return records
        batches = [batch_of(record) for record in records]
        if self._share < 1:
            batches = [sampled for batch in batches if (sampled := self._sampled(batch)) is not None]
        return [self._hidden(batch) for batch in batches] if self._any else batches

    def _sampled(self, batch: PredictionBatch) -> PredictionBatch | None:
        places = [place for place in range(len(batch.versions)) if position(SALT, batch.entity(place)) < self._share]
        return msgspec.structs.replace(taken(batch, places), share=self._share) if places else None

    def _ask(self) -> None:
        self._asked = monotonic()
        try:
            self._take(self._personal())
        except (KedgeError, OSError) as error:
            _log.error("prediction log: the personal columns are those known before: %s", error)

    def _take(self, marks: Mapping[str, Collection[str]]) -> None:
        self._marked = {model: frozenset(columns) for model, columns in marks.items()}
        self._any = any(self._marked.values())

    def _hidden(self, batch: PredictionBatch) -> PredictionBatch:
        found = self._marked.get(batch.model)
        marked = self._marked.get(ANY, _NONE) if found is None else found
        features = _columns(batch) if batch.matrix is not None and marked & {*batch.matrix.names} else batch.features
        hidden = sorted(marked & {*features, *batch.inputs, self._sticky})
        if not hidden:
            return batch
        entities = batch.entities
        if self._sticky in hidden:
            entities = [hashed(self._key(), entity) or "" for entity in entities]
        return msgspec.structs.replace(
            batch,
            matrix=None if features is not batch.features else batch.matrix,
            features=self._without(features, hidden),
            inputs=self._without(batch.inputs, hidden),
            entities=entities,
            hidden=hidden,
        )

    def _without(self, columns: dict[str, Any], hidden: Collection[str]) -> dict[str, Any]:
        if self._how is Personal.LEAVE_OUT:
            return {name: values for name, values in columns.items() if name not in hidden}
        return {name: self._hashes(values) if name in hidden else values for name, values in columns.items()}

    def _hashes(self, values: Sequence[Value]) -> list[str | None]:
        key = self._key()
        return [hashed(key, value) for value in (values.tolist() if hasattr(values, "tolist") else values)]


def _columns(batch: PredictionBatch) -> dict[str, Any]:
    matrix = batch.matrix
    assert matrix is not None  # noqa: S101 - who calls has looked
    return {name: matrix.values[:, place] for place, name in enumerate(matrix.names)}

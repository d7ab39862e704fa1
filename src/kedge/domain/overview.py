"""What lists and tables show of experiments and runs, read narrowly: only the chosen columns, never whole runs."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from kedge.domain.finding import Subject
from kedge.domain.ids import ExperimentId, RunId
from kedge.domain.tracking import Lifecycle, RunStatus


class RunKey(NamedTuple):
    """A metric, param or tag that runs have, by what it is and its key."""

    subject: Subject
    key: str


class RunGlance(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a line of a table: what every run has, and of its metrics, params and tags those that were asked for."""

    id: RunId
    experiment: ExperimentId
    name: str
    user: str
    status: RunStatus
    lifecycle: Lifecycle
    started_at: datetime
    ended_at: datetime | None = None
    metrics: dict[str, float] = {}
    params: dict[str, str] = {}
    tags: dict[str, str] = {}

    def value(self, wanted: RunKey) -> float | str | None:
        """Give one of its values; None where it has none."""
        if wanted.subject is Subject.METRIC:
            return self.metrics.get(wanted.key)
        return (self.params if wanted.subject is Subject.PARAM else self.tags).get(wanted.key)

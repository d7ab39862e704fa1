"""Looks at a model when it is registered, in a process of its own: where it takes missing values, and whether a compiled
form of it gives the same answers. What cannot be compiled is no fault: the original answers then."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from kedge.domain.registry import Servable
from kedge.domain.serving import ParityRecord
from kedge.evaluation.parity import Examined, ToExamine, tolerance_of
from kedge.ports import BlobStore, Clock, JobFailed, JobRunner

SECONDS = 300.0


class Examiner:
    """Finds out what is known of a model of tables only by asking it. `execute` runs in the job's process."""

    def __init__(self, *, jobs: JobRunner, blobs: BlobStore, clock: Clock, execute: Callable[[ToExamine], Examined]) -> None:
        self._jobs, self._blobs, self._clock, self._execute = jobs, blobs, clock, execute

    def examine(self, servable: Servable, rows: np.ndarray, *, tolerance: float | None = None) -> Servable:
        """Complete what serving needs of a version by its answers to example rows, float64 (n, inputs)."""
        asked = ToExamine(
            format=servable.format,
            files=self._blobs.get_tree(servable.digest),
            signature=servable.table,
            rows=rows,
            tolerance=tolerance_of(servable.format) if tolerance is None else tolerance,
        )
        found, _ = self._jobs.call(self._execute, asked, seconds=SECONDS)
        if isinstance(found, JobFailed):
            return msgspec.structs.replace(servable, parity=self._record(asked, Examined(), fault=found.reason))
        if found.compared is None:
            return msgspec.structs.replace(servable, required=found.required)
        return msgspec.structs.replace(servable, required=found.required, parity=self._record(asked, found))

    def _record(self, asked: ToExamine, found: Examined, *, fault: str = "") -> ParityRecord:
        compared = found.compared
        equal = compared is not None and not compared.fault and compared.difference <= asked.tolerance
        files = compared.files if compared is not None and equal else {}
        return ParityRecord(
            form=compared.form if compared is not None else "",
            digest=self._blobs.put_tree(files) if files else None,
            rows=compared.rows if compared is not None else 0,
            difference=compared.difference if compared is not None else 0.0,
            tolerance=asked.tolerance,
            libraries=compared.libraries if compared is not None else {},
            made_at=self._clock.now(),
            answers=compared.answers if compared is not None else (),
            fault=fault or (compared.fault if compared is not None else ""),
        )

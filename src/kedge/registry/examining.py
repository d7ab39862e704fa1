"""Looks at a model when it is registered, in a process of its own: what it is, where it takes missing values, whether a
compiled form of it gives the same answers. What cannot be compiled is no fault: the original answers then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from kedge.domain.ids import Digest, ModelName
from kedge.domain.registry import Servable
from kedge.domain.serving import ParityRecord
from kedge.errors import ModelRefused
from kedge.evaluation.parity import ComparedForm, Examined, ToExamine, tolerance_of
from kedge.ports import BlobStore, Clock, JobFailed, JobRunner
from kedge.registry.preparing import Prepared

SECONDS = 300.0
MOST_BYTES = 4 << 30


class Examiner:
    """Finds out what is known of a model of tables only by asking it. `execute` runs in the job's process."""

    def __init__(
        self,
        *,
        jobs: JobRunner,
        blobs: BlobStore,
        clock: Clock,
        execute: Callable[[ToExamine], Examined],
        prepare: Callable[[Mapping[str, bytes]], Prepared | str],
    ) -> None:
        self._jobs, self._blobs, self._clock = jobs, blobs, clock
        self._execute, self._prepare = execute, prepare

    def compare(self, asked: ToExamine) -> ComparedForm | None:
        """Compile a model, and say how the form compared; None where none is made of such models."""
        found, _ = self._jobs.call(self._execute, asked, seconds=SECONDS)
        return ComparedForm(form="", fault=found.reason) if isinstance(found, JobFailed) else found.compared

    def prepare(self, files: Mapping[str, bytes]) -> Servable:
        """Find out what serving needs of a folder's files; the version is nobody's yet. Raises ModelRefused saying why it
        cannot be served."""
        found, _ = self._jobs.call(self._prepare, dict(files), seconds=SECONDS)
        if isinstance(found, JobFailed):
            raise ModelRefused(f"the model could not be looked at: {found.reason}")
        if isinstance(found, str):
            raise ModelRefused(found)
        servable = Servable(
            model=ModelName(""),
            number=0,
            digest=self._blobs.put_tree(found.files),
            format=found.format,
            example=self._blobs.put(found.example),
            signature=found.signature,
            tensors=found.tensors,
            required=found.examined.required,
            signer=found.signer,
        )
        if found.examined.compared is None:
            return servable
        return msgspec.structs.replace(servable, parity=self._record(found.examined, found.tolerance))

    def prepare_tree(self, tree: Digest) -> Servable:
        """Find out what serving needs of a tree of files. Raises ModelRefused as `prepare` does."""
        size = sum(file.size for file in self._blobs.files(tree))
        if size > MOST_BYTES:
            raise ModelRefused(
                f"its files have {size:,} bytes, and at most {MOST_BYTES:,} are looked at; register the model alone"
            )
        return self.prepare(self._blobs.get_tree(tree))

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
            return msgspec.structs.replace(servable, parity=self._record(Examined(), asked.tolerance, fault=found.reason))
        if found.compared is None:
            return msgspec.structs.replace(servable, required=found.required)
        return msgspec.structs.replace(servable, required=found.required, parity=self._record(found, asked.tolerance))

    def _record(self, found: Examined, tolerance: float, *, fault: str = "") -> ParityRecord:
        compared = found.compared
        equal = compared is not None and not compared.fault and compared.difference <= tolerance
        files = compared.files if compared is not None and equal else {}
        return ParityRecord(
            form=compared.form if compared is not None else "",
            digest=self._blobs.put_tree(files) if files else None,
            rows=compared.rows if compared is not None else 0,
            difference=compared.difference if compared is not None else 0.0,
            tolerance=tolerance,
            libraries=compared.libraries if compared is not None else {},
            made_at=self._clock.now(),
            answers=compared.answers if compared is not None else (),
            fault=fault or (compared.fault if compared is not None else ""),
        )

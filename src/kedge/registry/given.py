"""Models that people hand over as files: looked at first, then kept as a logged model, registered, ready to be served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from kedge.domain.artifacts import RunFile
from kedge.domain.ids import DEFAULT_EXPERIMENT, ExperimentId, LoggedModelId
from kedge.domain.registry import CatalogVersion
from kedge.domain.tracking import LoggedModel, LoggedModelStatus
from kedge.errors import NotFound
from kedge.registry.catalog import Catalog, Offered
from kedge.registry.examining import Examiner
from kedge.registry.room import Registry


class KeptModels(Protocol):
    """The part of `tracking.logging` that keeps logged models."""

    def create_model(self, experiment: ExperimentId, *, name: str, model_type: str = "", actor: str = "") -> LoggedModel:
        """Create a logged model; its files come after it."""
        ...

    def finalize_model(self, model: LoggedModelId, status: LoggedModelStatus, *, actor: str) -> LoggedModel:
        """Say that all its files are there."""
        ...


class KeptFiles(Protocol):
    """The part of `tracking.artifacts` that keeps their files."""

    def put(self, owner: str, path: str, *, pieces: Iterable[bytes]) -> RunFile:
        """Write a file from its pieces."""
        ...


class HandedModels:
    """Registers what is handed over."""

    def __init__(
        self, *, catalog: Catalog, registry: Registry, examiner: Examiner, models: KeptModels, files: KeptFiles
    ) -> None:
        self._catalog, self._registry, self._examiner = catalog, registry, examiner
        self._models, self._files = models, files

    def register(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        actor: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> CatalogVersion:
        """Make a version of a folder's files that can be served; the model is made where it is not there.

        Raises ModelRefused saying why it could not be served: then nothing is registered. Raises RequestInvalid.
        """
        prepared = self._examiner.prepare(files)
        try:
            self._catalog.get(name)
        except NotFound:
            self._catalog.create(name, actor=actor)
        logged = self._models.create_model(DEFAULT_EXPERIMENT, name=name[:250], model_type=prepared.format, actor=actor)
        for path, data in files.items():
            self._files.put(logged.id, path, pieces=[data])
        self._models.finalize_model(logged.id, LoggedModelStatus.READY, actor=actor)
        offered = Offered(source=f"models:/{logged.id}", description=description, tags=dict(tags or {}))
        version = self._catalog.register(name, offered, actor=actor)
        servable = self._registry.keep_servable(prepared, version, actor=actor)
        return msgspec.structs.replace(version, servable=servable)

"""What a training script is given of the outside world: a spool, the store, the machine, the frameworks' own callbacks.

The composition root of the tracking client. It imports nothing that a script has not asked for: no frames, no framework.
"""

from __future__ import annotations

import os
import platform
import stat
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kedge.domain.told import Told
from kedge.errors import ConfigError, NotFound, StoreBroken, StoreFull, StoreTooNew, Unreachable
from kedge.security.redact import redact
from kedge.settings import Settings
from kedge.storage.spool import Spool, SpoolHead, claim, left_behind, read_head, sweep

if TYPE_CHECKING:
    from kedge.adapters.script import ScriptFacts
    from kedge.records import Records
    from kedge.training import Autologger, Machine

_PIECE = 1 << 20
_WAITS: tuple[type[Exception], ...] = (ConfigError, StoreTooNew, StoreFull, StoreBroken, Unreachable, OSError)


def target_of(settings: Settings) -> str:
    """Name where a script's records go: a control plane's address, or a store; without passwords."""
    return settings.server or (redact(settings.store) if "://" in settings.store else str(Path(settings.store).resolve()))


def open_spool(settings: Settings) -> Spool:
    """Begin this process's spool: in the store's folder, else, where that cannot be written, in the system's own for
    temporary files. Raises StoreFull or StoreBroken where neither can."""
    head = SpoolHead(target=target_of(settings), process=os.getpid(), host=platform.node())
    try:
        return Spool.create(_folder(settings), head)
    except (StoreBroken, StoreFull):
        second = _second_folder()
        with suppress(OSError):
            second.mkdir(mode=0o700)
        if not _is_own(second):
            raise
        return Spool.create(second, head)


def left_spools(settings: Settings, *, meant_for: str | None = None) -> Iterator[Spool]:
    """Take over, one after another, the spools that ended processes left behind for this target, or for the one named."""
    target = target_of(settings) if meant_for is None else meant_for
    for root, head in _heads(settings):
        if head.target == target:
            spool = claim(root)
            if spool is not None:
                yield spool


def left_elsewhere(settings: Settings) -> dict[str, int]:
    """Count the spools in this folder that wait for other targets: of ended processes, and of living ones."""
    return dict(Counter(head.target for _, head in _heads(settings) if head.target != target_of(settings)))


def _heads(settings: Settings) -> Iterator[tuple[Path, SpoolHead]]:
    second = _second_folder()
    for folder in (_folder(settings), *((second,) if _is_own(second) else ())):
        sweep(folder)
        for root in left_behind(folder):
            head = read_head(root)
            if head is not None:
                yield root, head


class StoreDelivery:
    """Writes records into a store. It is opened when there is something to write."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._records: Records | None = None

    def deliver(self, records: Sequence[Told], files: Path) -> None:
        """Write records. Raises Unreachable where the store cannot be opened or written now; what it refuses as it is."""
        if not records:
            return
        from kedge.storage.sql.dialect import faults  # half a second of imports, paid in the sender's thread

        try:
            self._opened().telling.take(records, pieces=lambda name: _pieces(files / name), actor="client")
        except _WAITS + faults() as error:
            raise Unreachable(f"the store {target_of(self._settings)} cannot be written: {redact(str(error))}") from error

    def close(self) -> None:
        """Close the store."""
        if self._records is not None:
            self._records.close()
            self._records = None

    def _opened(self) -> Records:
        from kedge.records import open_records

        if self._records is None:
            self._records = open_records(self._settings)
        return self._records


def _pieces(path: Path) -> Iterable[bytes]:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"the spool has lost its copy {path}") from error
    with file:
        while piece := file.read(_PIECE):
            yield piece


def _folder(settings: Settings) -> Path:
    return settings.folder / "spool"


def _second_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"kedge-spool-{os.getuid()}"


def _is_own(folder: Path) -> bool:
    """Say whether a folder is there and this person's own: anyone may make one of any name where temporary files are."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def facts_of_script() -> ScriptFacts:
    """Look at the script that runs: its code, its command line, its environment."""
    from kedge.adapters.script import look_at_script

    return look_at_script()


def machine() -> Machine:
    """Open the machine for sampling."""
    from kedge.adapters.machine import LocalMachine

    return LocalMachine()


def autologgers() -> tuple[Autologger, ...]:
    """List what has a framework log what it trains. None of these imports its framework."""
    from kedge.adapters.lightgbm.autolog import LightgbmAutolog
    from kedge.adapters.lightning.autolog import LightningAutolog
    from kedge.adapters.sklearn.autolog import SklearnAutolog
    from kedge.adapters.xgboost.autolog import XgboostAutolog

    lightning = (LightningAutolog("lightning.pytorch"), LightningAutolog("pytorch_lightning"))
    return (SklearnAutolog(), XgboostAutolog(), LightgbmAutolog(), *lightning)

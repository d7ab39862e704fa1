"""`kedge.run(...)`: a run of a training script, as a with block, as a decorator, or begun and ended by hand.

Nothing here waits for a store or server: every method appends to the channel's ring, or copies a file into the spool.
"""

import functools
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, ParamSpec, Self, TypeVar
from uuid import uuid4

import msgspec

from kedge.client import giving
from kedge.client.channel import GAP_TAG, RING_LIMIT, Channel
from kedge.client.channel import log as told
from kedge.client.describe import describe, seeded
from kedge.client.process import PROCESS
from kedge.client.remote import check_address
from kedge.client.sampling import Sampler
from kedge.client.values import LONGEST_TAG, MANY, checked_key, flat, milliseconds, number, text, whole
from kedge.domain.ids import LoggedModelId, RunId
from kedge.domain.told import DataTold, FileTold, ModelTold, RunBegan, RunEnded, WordsTold
from kedge.domain.tracking import NAME_TAG, PARENT_TAG, DatasetInput, RunStatus
from kedge.errors import ConfigError, KedgeError, ParamChanged, RequestInvalid, StoreBroken, StoreFull
from kedge.pipelines.measured import Measured, current_training
from kedge.scripts import machine
from kedge.security.redact import redact, redacted
from kedge.settings import Settings, settings
from kedge.tracking.limits import NAME, check_run_id, check_text

P = ParamSpec("P")
R = TypeVar("R")

WAIT_SECONDS = 10.0
SEEDS = 2**32


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is begun with."""

    experiment: str
    name: str
    params: dict[str, Any]
    tags: dict[str, Any]
    parent: str | None
    nested: bool
    seed: int | None
    id: str | None
    system_metrics: bool
    wait_seconds: float
    settings: Settings


class ActiveRun:
    """A run of this process. `id` names it everywhere."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.id = RunId(plan.id or uuid4().hex)
        self.is_open = False
        self.owner = 0
        self.parent: RunId | None = None
        self._append: Callable[[Any], None] = self._not_open
        self._ring: Any = ()
        self._channel: Channel | None = None
        self._began: RunBegan | None = None
        self._keys: set[str] = set()
        self._params: dict[str, str] = {}
        self._sampler: Sampler | None = None
        self._describing: threading.Thread | None = None
        self._before: ActiveRun | None = None
        self._lost_before = 0

    @property
    def name(self) -> str:
        """The run's name: as given, else the script's with some of the id."""
        return self._plan.name or f"{Path((sys.argv or [''])[0]).stem.strip('-') or 'python'}-{self.id[:6]}"

    def __repr__(self) -> str:
        """Name the run, and say whether it goes on."""
        return f"<run {self.id} {self.name!r}, {'open' if self.is_open else 'not open'}>"

    @property
    def settings(self) -> Settings:
        """Where the run logs to."""
        return self._plan.settings

    def start(self) -> Self:
        """Begin the run; a with block does it by itself. Raises KedgeError where it is begun already."""
        if self.is_open:
            raise KedgeError(f"run {self.id} is open already")
        plan = self._plan
        channel = PROCESS.channel(plan.settings)
        self._before = PROCESS.innermost()
        outer = self._before.id if self._before is not None and plan.nested else None
        self.parent = RunId(plan.parent) if plan.parent else outer
        tags = {checked_key(key): text(value, longest=LONGEST_TAG) for key, value in plan.tags.items()}
        tags |= {NAME_TAG: self.name} | ({PARENT_TAG: self.parent} if self.parent else {})
        tags |= {"kedge.seed": str(plan.seed)} if plan.seed is not None else {}
        self._params = redacted(dict(flat(plan.params)))
        self.owner, self.is_open, self._lost_before = os.getpid(), True, channel.lost
        self._bind(channel)
        channel.owned.add(self.id)
        self._began = RunBegan(
            run=self.id,
            started_at=datetime.now(UTC),
            experiment=plan.experiment,
            name=self.name,
            user=giving.user(),
            params=self._params,
            tags=tags,
        )
        self._append(self._began)
        PROCESS.opened(self)
        PROCESS.current.set(self)
        if plan.seed is not None:
            seeded(plan.seed)
        if self.parent is None:
            self._watch()
        return self

    def end(self, status: RunStatus | str = RunStatus.FINISHED, *, wait_seconds: float | None = None) -> None:
        """End the run: what was logged is brought where it goes, for a bounded time; the rest stays in the spool."""
        if not self.is_open or self._channel is None:
            return
        if self._sampler is not None:
            self._sampler.stop()
        if self._describing is not None and self._describing is not threading.current_thread():
            self._describing.join(timeout=5.0)
        channel, lost = self._channel, self._channel.lost - self._lost_before
        if lost:
            self.set_tags({GAP_TAG: str(lost)})
            told.warning("run %s: %d points were dropped; its tag %s says so", self.id, lost, GAP_TAG)
        self.is_open = False
        self._append(RunEnded(run=self.id, ended_at=datetime.now(UTC), status=RunStatus(status)))
        self._append = self._not_open
        PROCESS.ended(self)
        if PROCESS.current.get() is self:
            PROCESS.current.set(self._before if self._before is not None and self._before.is_open else None)
        seconds = self._plan.wait_seconds if wait_seconds is None else wait_seconds
        if seconds <= 0 or (self._before is not None and self._before.is_open):
            channel.drain(WAIT_SECONDS)
        else:
            channel.leave(seconds, stay=True)

    def __enter__(self) -> Self:
        """Begin the run."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the run: failed where the block raised, killed where it was interrupted."""
        if kind is None or (kind is SystemExit and getattr(error, "code", None) in (None, 0)):
            self.end(RunStatus.FINISHED)
            return
        if error is not None and self.is_open:
            self.set_tags({"kedge.error": redact(f"{kind.__name__}: {error}")})
        self.end(RunStatus.KILLED if kind is KeyboardInterrupt else RunStatus.FAILED)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function: each call is a run of its own."""
        plan = self._plan if self._plan.name else msgspec.structs.replace(self._plan, name=function.__name__)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **named: P.kwargs) -> Any:
                with ActiveRun(plan):
                    return await function(*args, **named)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: P.args, **named: P.kwargs) -> R:
            with ActiveRun(plan):
                return function(*args, **named)

        return called

    def log(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        step: int | None = None,
        at: datetime | float | None = None,
        **named: Any,
    ) -> None:
        """Log numbers: `log({"loss": 0.3})` or `log(loss=0.3)`. Without `step` each key counts its own, from 0.

        Costs the calling thread about a microsecond. Raises RequestInvalid for what is no number.
        """
        if values is not None:
            named = {**values, **named} if named else dict(values)
        keys = self._keys
        for key, value in named.items():
            if key not in keys:
                keys.add(checked_key(key))
            if type(value) is not float:
                named[key] = number(key, value)
        if len(self._ring) < RING_LIMIT or self._has_room(len(named)):
            now = int(time.time() * 1000) if at is None else milliseconds(at)
            self._append(
                (self.id, named, step if step is None or (type(step) is int and 0 <= step < MANY) else whole(step), now)
            )

    def log_params(self, params: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Log what went in, as text; mappings within become dotted names. Raises ParamChanged for another value."""
        given = redacted(dict(flat({**(params or {}), **named})))
        for key, value in given.items():
            if self._params.get(key, value) != value:
                raise ParamChanged(self.id, key, old=self._params[key], new=value)
        self._append(WordsTold(run=self.id, params=given))
        self._params |= given

    def set_tags(self, tags: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Set free labels, as text; a later value replaces an earlier one."""
        given = {checked_key(key): text(value, longest=LONGEST_TAG) for key, value in {**(tags or {}), **named}.items()}
        self._append(WordsTold(run=self.id, tags=given))

    def log_artifact(self, path: str | Path, to: str = "") -> None:
        """Keep a file, or a folder with all that is in it, below the folder `to` of the run's artifacts.

        The bytes are copied now; they travel later. Raises RequestInvalid where there is no such file.
        """
        for name, file in giving.files_of(Path(path), to):
            self._keep(name, file)

    def log_figure(self, figure: Any, path: str = "") -> None:
        """Keep a figure of matplotlib or Plotly: `path` ends in .png, .svg or .pdf, or in .html or .json for Plotly."""
        name, data = giving.figure_file(figure, path)
        self._keep(name, data)

    def log_table(self, table: Any, path: str = "table.parquet") -> None:
        """Keep a table (pandas, Polars, Arrow, or columns by name) as `path`: .parquet, .csv or .json."""
        self._keep(path, giving.table_file(table, path))

    def log_dataset(self, data: Any, name: str = "", *, context: str = "", source: str = "") -> DatasetInput:
        """Say which dataset the run reads: a table or a file, named by its digest; `context` says what for."""
        described = giving.dataset_of(data, name, context=context, source=source)
        self._append(DataTold(run=self.id, datasets=[described]))
        return described

    def log_model(
        self, model: Any, name: str = "model", *, step: int = 0, example: Any = None, output: str = ""
    ) -> LoggedModelId:
        """Keep a trained model in its framework's safe format; give the id of the logged model.

        With `example`, rows that it may be asked, what is registered of it can be served; `output` names a table's answer.
        """
        return self.keep_model(giving.model_files(model, example, output=output), name, step=step)

    def keep_model(self, kept: giving.ModelFiles, name: str, *, step: int = 0) -> LoggedModelId:
        """Keep a model's files; give the id of the logged model."""
        id = LoggedModelId(f"m-{uuid4().hex}")
        about = ModelTold(run=self.id, model=id, name=name, model_type=kept.framework, step=step, tags=kept.tags)
        self._append(about)
        for path, data in kept.files.items():
            self._keep(path, data, model=id)
        self._append(msgspec.structs.replace(about, whole=True))
        return id

    def keep_text(self, path: str, words: str) -> None:
        """Keep a text as an artifact."""
        self._keep(path, words.encode())

    def flush(self, seconds: float = WAIT_SECONDS) -> bool:
        """Bring what was logged so far to its destination; False where that took too long. It is in the spool then."""
        return self._channel is None or self._channel.settle(seconds)

    def forked(self) -> None:
        """Go on in a forked child: with a channel of its own, opened by the first thing logged there."""
        self._append, self._ring, self._sampler, self._describing = self._reopened, (), None, None

    def _bind(self, channel: Channel) -> None:
        self._channel, self._ring, self._append = channel, channel.ring, channel.append

    def _reopen(self) -> None:
        """Open the child's own channel. What it tells may arrive before the parent's: so it too says that the run began."""
        self._bind(PROCESS.channel(self._plan.settings))
        self._append(self._began)

    def _reopened(self, item: Any) -> None:
        self._reopen()
        self._append(item)

    def _has_room(self, points: int) -> bool:
        return self._channel is None or self._channel.has_room(points)

    def _not_open(self, _: Any) -> NoReturn:
        raise KedgeError(f"run {self.id} is not open: use it in a with block, or call start() first and end() last")

    def _keep(self, path: str, source: Path | bytes, *, model: LoggedModelId | None = None) -> None:
        if not self.is_open:
            self._not_open(path)
        if self._append == self._reopened:
            self._reopen()
        if self._channel is None:
            return
        try:
            kept = self._channel.keep_file(source)
        except (StoreFull, StoreBroken) as error:
            told.warning("%r of run %s is not kept: %s", path, self.id, error)
            return
        self._append(FileTold(run=self.id, path=path, kept=kept, model=model))

    def _watch(self) -> None:
        """Begin what goes on beside the training: what the script is, how the machine does."""
        self._describing = threading.Thread(target=describe, args=(self,), name="kedge-describe", daemon=True)
        self._describing.start()
        if self._plan.system_metrics:
            self._sampler = Sampler(self.log, machine)
            self._sampler.start()


def run(
    experiment: str = "Default",
    *,
    name: str = "",
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    parent: ActiveRun | str | None = None,
    nested: bool = True,
    seed: int | None = None,
    id: str | None = None,
    store: str | None = None,
    url: str | None = None,
    system_metrics: bool = True,
    wait_seconds: float = WAIT_SECONDS,
    within: Settings | None = None,
) -> ActiveRun:
    """Make a run: `with kedge.run("flights", params={...}) as run:`, or `@kedge.run("flights")` on a function.

    It logs to the control plane `url` (or KEDGE_URL), else into `store` (or KEDGE_STORE, or `.kedge` here). Within
    another run it is its child, unless `nested` is False; `parent` names another. `seed` is recorded, and given to
    Python's, NumPy's and PyTorch's generators where they are loaded. `id` takes up a run that is there.
    `wait_seconds` is how long the end waits for what is still on its way. `within` are settings that are read already.
    """
    if url and store:
        raise ConfigError("a run logs to a control plane (url) or into a store, not to both; give one")
    check_text("name of an experiment", experiment, longest=NAME, empty=False)
    check_text("name of a run", name, longest=NAME)
    if id is not None:
        check_run_id(id)
    for what, given in (("params", params), ("tags", tags)):
        if given is not None and not isinstance(given, Mapping):
            raise RequestInvalid(f"{what} of a run are {given!r}; give a mapping, such as {{'rate': 0.1}}")
    if seed is not None and not 0 <= whole(seed, what="seed") < SEEDS:
        raise RequestInvalid(f"seed is {seed}; NumPy and PyTorch take whole numbers from 0 to below 2 ** 32")
    found = within or settings(Path.cwd(), store=store, server=url)
    if found.server:
        check_address(found.server)
    return ActiveRun(
        Plan(
            experiment=experiment,
            name=name,
            params=dict(params or {}),
            tags=dict(tags or {}),
            parent=parent.id if isinstance(parent, ActiveRun) else parent,
            nested=nested,
            seed=seed,
            id=id,
            system_metrics=system_metrics,
            wait_seconds=wait_seconds,
            settings=found,
        )
    )


def active_run() -> ActiveRun | None:
    """Find the run that this code is in; None outside of any."""
    return PROCESS.innermost()


def _here() -> ActiveRun | Measured:
    """Find the run that this code is in: one that was opened here, else the loop's own that trains in this process."""
    found = PROCESS.current.get()
    if found is not None and found.is_open:
        return found
    here = PROCESS.innermost() or current_training()
    if here is None:
        raise KedgeError("no run is open here; write `with kedge.run(...):` around it")
    return here


def log(
    values: Mapping[str, Any] | None = None,
    /,
    *,
    step: int | None = None,
    at: datetime | float | None = None,
    **named: Any,
) -> None:
    """Log numbers to the run that this code is in: `kedge.log({"loss": 0.3})` or `kedge.log(loss=0.3, step=7)`.

    Without `step` each key counts its own, from 0. `at` is a datetime, or seconds since 1970; now, if left out.
    """
    _here().log(values, step=step, at=at, **named)


def log_params(params: Mapping[str, Any] | None = None, /, **named: Any) -> None:
    """Log what goes into the run that this code is in."""
    _here().log_params(params, **named)


def set_tags(tags: Mapping[str, Any] | None = None, /, **named: Any) -> None:
    """Set free labels of the run that this code is in."""
    _here().set_tags(tags, **named)


def log_artifact(path: str | Path, to: str = "") -> None:
    """Keep a file or folder with the run that this code is in."""
    _here().log_artifact(path, to)


def log_figure(figure: Any, path: str = "") -> None:
    """Keep a figure of matplotlib or Plotly with the run that this code is in."""
    _here().log_figure(figure, path)


def log_table(table: Any, path: str = "table.parquet") -> None:
    """Keep a table with the run that this code is in."""
    _here().log_table(table, path)


def log_dataset(data: Any, name: str = "", *, context: str = "", source: str = "") -> DatasetInput:
    """Say which dataset the run that this code is in reads."""
    return _here().log_dataset(data, name, context=context, source=source)


def log_model(model: Any, name: str = "model", *, step: int = 0, example: Any = None, output: str = "") -> LoggedModelId:
    """Keep a trained model with the run that this code is in; give the id of the logged model.

    With `example`, rows that it may be asked, what is registered of it can be served; `output` names a table's answer.
    """
    return _here().log_model(model, name, step=step, example=example, output=output)

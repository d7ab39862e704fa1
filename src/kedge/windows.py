"""The windows that have closed and the trainings that were asked for, and the job that takes each of them once: what
`kedge watch` runs, by hand, on a timer, or beside the control plane.

One process does it at a time. On one machine a file's lock says which, and goes with its process; between machines a lease
does, which ends a minute after its machine was lost.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kedge.app import House
from kedge.domain.alert_life import KEDGE
from kedge.domain.alerting import AlertKind, alert_id
from kedge.domain.durations import floor_to, span_of
from kedge.domain.ids import Digest, ModelName
from kedge.domain.monitoring import Window
from kedge.domain.played import is_past, played_note
from kedge.domain.project import DataRules, ProjectSpec
from kedge.domain.registry import ModelVersion
from kedge.domain.retraining import Retrain
from kedge.domain.turning import Turned
from kedge.errors import Conflict, NotFound, SourceFailed
from kedge.loop import turn, watch
from kedge.monitoring.telling.alerts import THE_LOOP

if TYPE_CHECKING:
    from kedge.features.frame import TrainingFrame

LEASE_SECONDS = 60.0
_log = logging.getLogger("kedge.loop")


@contextmanager
def leading(house: House) -> Iterator[bool]:
    """Hold the right to watch and to turn meanwhile; gives False where another process has it."""
    lease, owner = Digest(f"loop:{house.spec.name}"), f"{socket.gethostname()}:{house.settings.folder.resolve()}"
    runs, clock = house.meta.runs, house.clock
    with house.alone("watch") as mine:
        if not mine or not runs.claim(lease, owner, now=clock.now(), seconds=LEASE_SECONDS):
            yield False
            return
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(LEASE_SECONDS / 3):
                try:
                    if not runs.claim(lease, owner, now=clock.now(), seconds=LEASE_SECONDS):
                        _log.error("another process has taken over the loop of %s, as this one was silent", house.spec.name)
                except Exception as error:  # this thread's door: if it died, another machine would take over meanwhile
                    _log.error("the right to watch was not renewed, it is tried again: %s", error)

        renewing = threading.Thread(target=renew, name="kedge-lease", daemon=True)
        renewing.start()
        try:
            yield True
        finally:
            ended.set()
            renewing.join()
            runs.release(lease, owner)


def is_due(house: House) -> bool:
    """Say whether a window has closed that was not watched, or a training was asked for that may be made now."""
    if any(next(closed_windows(house, model), None) is not None for model in given_models(house)):
        return True
    if not house.spec.data.source or is_played(house, house.spec.name):
        return False
    if house.retraining.is_asked(house.spec):
        return True
    try:
        return next(closed_windows(house), None) is not None
    except NotFound:  # there is no model yet: the first one is made by hand, or asked for
        return False


def attend(house: House) -> dict[str, Turned]:
    """Watch what has closed, then make the turn that was asked for: what came of it, by window, and by "asked".

    Raises NotFound where there is a loop that never deployed anything and nothing is asked for.
    """
    made = _attended(house)
    stuck = alert_id(house.spec.name, AlertKind.UNWATCHED, subject=THE_LOOP)
    if any(life.open for life in house.meta.alerts.list(begins=stuck)):
        with suppress(Conflict):  # a person was first
            house.alert_desk.resolve(stuck, actor=KEDGE, reason="closed windows are watched again")
    return made


def _attended(house: House) -> dict[str, Turned]:
    if not house.spec.data.source:
        return watch_given(house)
    first = _answer(house) if not house.meta.deployments.list(house.spec.name) else {}
    own = first or watch_closed(house) | _answer(house)  # before the others, so that none of them can hold it up
    return own | watch_given(house)


def watch_closed(house: House) -> dict[str, Turned]:
    """Watch each closed window that was not watched yet, in order, and tell by window what came of it.

    Then the features served in them are held against the join. A source that cannot be read is told as an alert.
    """
    outcomes: dict[str, Turned] = {}
    first = None
    if next(closed_windows(house), None) is not None:
        take_up(house)
    for window in closed_windows(house):
        first = first or window
        outcomes[window.id] = watch(house, house.spec, window)
    if first is not None:
        try:
            house.parity.check(house.spec, since=first.start)
        except SourceFailed as error:
            house.retraining.failed(house.spec, None, error)
    return outcomes


def _answer(house: House) -> dict[str, Turned]:
    """Make the turn that was asked for, if any was: by a person, a new version of a dataset, a webhook."""
    decided = house.retraining.asked(house.spec)
    if decided is None:
        return {}
    return {"asked": turn(house, house.spec, decided) if isinstance(decided, Retrain) else Turned(steady=decided.reason)}


def take_up(house: House) -> None:
    """Take up a champion that the loop has not made: it is watched as its own are, or people are told why it is not."""
    spec, champion = house.spec, house.registry.champion(house.spec.name)
    if champion is None or champion.run:
        return

    def frame() -> TrainingFrame:
        version = house.data.commit(spec)
        return house.features.training_frame(spec, version, upto=champion.trained_upto)

    house.references.take_up(spec, champion, frame=frame)


def watch_given(house: House) -> dict[str, Turned]:
    """Watch the closed windows of the models that no loop of this project makes, as people or clients registered them:
    measured, and their rollouts settled; nothing is trained. What came of it, by model and window."""
    outcomes: dict[str, Turned] = {}
    for model in given_models(house):
        champion = house.registry.champion(model)
        if champion is None:
            continue
        spec = rules_for(house, champion)
        for window in closed_windows(house, model):
            house.given_references.take_own(spec, champion, upto=window.start, answers=house.answers)
            health = house.monitoring.measure(spec, window)
            house.messenger.calm_down(model, at=window.end)
            house.rollout.settle(spec, health)
            told = "; ".join(alert.message for alert in health.alerts)
            outcomes[f"{model} {window.id}"] = Turned(steady=told or f"{health.rows} predictions, {health.labels} labels")
    return outcomes


def given_models(house: House) -> list[ModelName]:
    """List the deployed models that this project's loop does not make, and whose past was not played."""
    own = house.spec.name if house.spec.data.source else None
    return [name for name in house.meta.deployments.names() if name != own and not is_played(house, name)]


def rules_for(house: House, version: ModelVersion) -> ProjectSpec:
    """Give the rules by which a model without a loop is watched: the project's, with its own name and task."""
    data = DataRules(source="", time="", label="", task=version.signature.task)
    return replace(house.spec, name=version.model, data=data)


def closed_windows(house: House, model: ModelName | None = None) -> Iterator[Window]:
    """Walk the whole windows from the last measured one, or from the first deployment, up to now: of the project's model,
    or of another.

    Raises NotFound where nothing was ever deployed.
    """
    name = model or house.spec.name
    length = span_of(house.spec.monitoring.window)
    measured = house.meta.watches.list(name, limit=1)
    deployments = house.meta.deployments.list(name)
    if not deployments:
        raise NotFound(f"nothing is deployed for {name!r} yet; make a first model with: kedge run")
    start = measured[0].window.end if measured else floor_to(deployments[0].since, length)
    while start + length <= house.clock.now():
        yield Window(start, start + length)
        start += length


def is_played(house: House, model: ModelName) -> bool:
    """Say whether a model belongs to a past that was played, which ended long ago, and shall stay as it was."""
    if house.meta.notes.get(played_note(model)) is None:
        return False
    measured = house.meta.watches.list(model, limit=1)
    window, now = span_of(house.spec.monitoring.window), house.clock.now()
    return bool(measured) and is_past(measured[-1].window.end, now=now, window=window)

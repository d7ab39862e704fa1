"""What happened: events as sentences with a state, a person or policy, and the page behind them; newest first."""

from urllib.parse import quote

from kedge.data.catalogue import OF_DATA
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName
from kedge.ports import Events
from kedge.server.reading.state import Happened, State

_STATES = {
    EventKind.DATA_REFUSED: State.ALARM,
    EventKind.RUN_STARTED: State.RUNNING,
    EventKind.RUN_FAILED: State.ALARM,
    EventKind.ROLLOUT_STARTED: State.TRIAL,
    EventKind.ROLLOUT_LOOKED: State.TRIAL,
    EventKind.ROLLOUT_ADVANCED: State.TRIAL,
    EventKind.MODEL_ROLLED_BACK: State.WATCH,
    EventKind.WINDOW_MEASURED: State.IDLE,
    EventKind.ALERT_RAISED: State.WATCH,
    EventKind.RETRAINING_DECIDED: State.HOLDS,
    EventKind.ALIAS_MOVED: State.IDLE,
    EventKind.DATASET_COMMITTED: State.IDLE,
    EventKind.DATASET_DESCRIBED: State.IDLE,
    EventKind.DATASET_TAGGED: State.IDLE,
    EventKind.DATASET_VERSIONS_DROPPED: State.IDLE,
    EventKind.DATA_ERASED: State.WATCH,
}
_TELLING = frozenset(
    {
        EventKind.DATA_REFUSED,
        EventKind.RUN_FAILED,
        EventKind.GATE_JUDGED,
        EventKind.ROLLOUT_STARTED,
        EventKind.ROLLOUT_ADVANCED,
        EventKind.MODEL_PROMOTED,
        EventKind.MODEL_ROLLED_BACK,
        EventKind.ALERT_RAISED,
        EventKind.TURN_ENDED,
    }
)


def happened(serial: int, event: Event, *, dataset: DatasetName) -> Happened:
    """Show one event."""
    return Happened(
        serial=serial,
        at=event.at,
        state=_state(event),
        kind=event.kind.value,
        subject=event.subject,
        message=event.message,
        actor=event.actor,
        link=_link(event, dataset),
    )


def _state(event: Event) -> State:
    if event.kind is EventKind.ALERT_RAISED and event.facts.get("kind") in ("risk", "silence"):
        return State.ALARM
    if event.kind is EventKind.PARITY_CHECKED:
        return State.WATCH if event.facts.get("mismatched") else State.IDLE
    if event.kind is EventKind.GATE_JUDGED:
        return {"refused": State.WATCH, "held": State.HOLDS}.get(str(event.facts.get("outcome", "")), State.WELL)
    return _STATES.get(event.kind, State.WELL)


def _tells(event: Event) -> bool:
    return event.kind in _TELLING or (event.kind is EventKind.PARITY_CHECKED and bool(event.facts.get("mismatched")))


def _link(event: Event, dataset: DatasetName) -> str:
    run = event.facts.get("run")
    if event.kind in (EventKind.RUN_STARTED, EventKind.RUN_FINISHED, EventKind.RUN_FAILED) and run:
        return f"/runs/{run}"
    if event.kind in OF_DATA:
        return f"/data/{quote(event.subject or dataset, safe='')}"
    if event.kind in (EventKind.ALERT_RAISED, EventKind.WINDOW_MEASURED):
        return "/monitoring"
    if event.kind is EventKind.PARITY_CHECKED:
        return f"/models/{quote(event.subject, safe='')}#features"
    if event.kind is EventKind.MODEL_REGISTERED and isinstance(event.facts.get("number"), int):
        return f"/models/{quote(event.subject, safe='')}/versions/{event.facts['number']}"
    return f"/models/{quote(event.subject, safe='')}"


def telling(events: Events, dataset: DatasetName, *, limit: int = 8, search: int = 600) -> tuple[Happened, ...]:
    """Pick the newest events that a person wants to read on the first page: steps that only turn the wheel are left out."""
    found: list[Happened] = []
    before: int | None = None
    while len(found) < limit and search > 0:
        page = events.list(before=before, limit=100)
        found += [happened(serial, event, dataset=dataset) for serial, event in page if _tells(event)]
        search -= 100
        if len(page) < 100:
            break
        before = page[-1][0]
    return tuple(found[:limit])

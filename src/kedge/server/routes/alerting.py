"""Alerts over HTTP: what is open, one alert whole, and what people do about it. Each act names who and why."""

from collections.abc import Callable
from datetime import datetime

from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody

from kedge.domain.alert_life import AlertLife
from kedge.domain.channels import Mute
from kedge.domain.durations import span_of
from kedge.domain.ids import ModelName
from kedge.errors import RequestInvalid
from kedge.monitoring.telling.desk import Tried
from kedge.registry.names import check_reason
from kedge.server import wire
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.once import once_set
from kedge.server.reading.alerting import AlertList, AlertWhole, alert_list, alert_whole
from kedge.server.routes.given import ANSWERS, TheHouse
from kedge.server.routes.writes import Asked, Key


class Alerting(Controller):
    """Alerts, channels and mutes."""

    path = "/api/v1"

    @get("/alerting", sync_to_thread=True, responses=ANSWERS)
    def alerting(self, house: TheHouse) -> AlertList:
        """List the alerts: what is open, what was resolved, what is muted."""
        return alert_list(house)

    @get("/alerts/{id:str}", sync_to_thread=True, responses=ANSWERS)
    def alert(self, house: TheHouse, id: FromPath[str]) -> AlertWhole:
        """Describe one alert: its life, its figures, who was told."""
        return alert_whole(house, id)

    @post("/alerts/{id:str}/acknowledge", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def acknowledge(
        self, request: Asked, house: TheHouse, id: FromPath[str], data: JSONBody[wire.AlertBecause], idempotency: Key = ""
    ) -> AlertLife:
        """Take an alert in hand: no reminder and no escalation any more."""
        return act_on(house, id, verb="acknowledge", reason=data.reason, actor=actor_of(request), key=idempotency)

    @post("/alerts/{id:str}/snooze", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def snooze(
        self, request: Asked, house: TheHouse, id: FromPath[str], data: JSONBody[wire.AlertUntil], idempotency: Key = ""
    ) -> AlertLife:
        """Tell nobody of an alert until a time."""
        until = end_of(house, data)
        return act_on(house, id, verb="snooze", reason=data.reason, actor=actor_of(request), key=idempotency, until=until)

    @post("/alerts/{id:str}/resolve", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def resolve(
        self, request: Asked, house: TheHouse, id: FromPath[str], data: JSONBody[wire.AlertBecause], idempotency: Key = ""
    ) -> AlertLife:
        """End an alert; it opens again where its condition still holds."""
        return act_on(house, id, verb="resolve", reason=data.reason, actor=actor_of(request), key=idempotency)

    @post("/alerts/{id:str}/reopen", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def reopen(
        self, request: Asked, house: TheHouse, id: FromPath[str], data: JSONBody[wire.AlertBecause], idempotency: Key = ""
    ) -> AlertLife:
        """Open a resolved alert again."""
        return act_on(house, id, verb="reopen", reason=data.reason, actor=actor_of(request), key=idempotency)

    @post("/alert-channels/{name:str}/test", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def test(self, house: TheHouse, name: FromPath[str]) -> Tried:
        """Send a test message to a channel, and say what it answered."""
        return house.alert_desk.test(name)

    @put("/models/{model:str}/mute", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def mute(self, request: Asked, house: TheHouse, model: FromPath[str], data: JSONBody[wire.AlertUntil]) -> Mute:
        """Tell nobody of a model until a time."""
        reason = check_reason(data.reason)
        return house.alert_desk.mute(ModelName(model), until=end_of(house, data), actor=actor_of(request), reason=reason)

    @delete("/models/{model:str}/mute", sync_to_thread=True, status_code=204, responses=ANSWERS)
    def unmute(self, request: Asked, house: TheHouse, model: FromPath[str]) -> None:
        """End a mute."""
        house.alert_desk.unmute(ModelName(model), actor=actor_of(request), reason="ended by hand")


def act_on(
    house: House, id: str, *, verb: str, reason: str, actor: str, key: str = "", until: datetime | None = None
) -> AlertLife:
    """Do what a person asks. Raises NotFound, Conflict, RequestInvalid without a reason."""
    why, desk = check_reason(reason), house.alert_desk
    acts: dict[str, Callable[[], AlertLife]] = {
        "acknowledge": lambda: desk.acknowledge(id, actor=actor, reason=why),
        "resolve": lambda: desk.resolve(id, actor=actor, reason=why),
        "reopen": lambda: desk.reopen(id, actor=actor, reason=why),
    }
    if until is not None:
        acts["snooze"] = lambda: desk.snooze(id, until=until, actor=actor, reason=why)
    return once_set(house.meta, key, asked=("alert", verb, id, why), answer=AlertLife, act=acts[verb])


def end_of(house: House, asked: wire.AlertUntil) -> datetime:
    """Read until when something shall last. Raises RequestInvalid."""
    if (asked.until is None) == (not asked.lasts):
        raise RequestInvalid('say until when: either until, a time, or lasts, such as "4h"')
    if asked.until is not None:
        if asked.until.tzinfo is None:
            raise RequestInvalid("until is a time without a zone; write it in UTC, such as 2026-03-02T12:00:00Z")
        return asked.until
    try:
        return house.clock.now() + span_of(asked.lasts)
    except (ValueError, OverflowError) as error:
        raise RequestInvalid(f"lasts: {error}") from None

"""The pages of alerts, and their forms: acknowledge, snooze, resolve, open again; mute a model; try a channel."""

from litestar import Controller, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect

from kedge.domain.ids import ModelName
from kedge.errors import NotFound
from kedge.monitoring.telling.desk import Tried
from kedge.registry.names import check_reason
from kedge.server import wire
from kedge.server.forms import Asked, Asking, Field, Page, act, ask
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.reading.alerting import ACTS, SEVERITIES, STATES, alert_list, alert_whole
from kedge.server.reading.lanes import lanes_of
from kedge.server.routes.alerting import act_on, end_of
from kedge.server.routes.given import TheHouse, ThePages, TheScenes
from kedge.server.routes.pages import show
from kedge.web.addresses import part

Sent = URLEncodedBody[dict[str, str]]
HOME = "/monitoring/alerts"
_REASON = Field(name="reason", label="Reason, kept in the history", required=True)
_LASTS = Field(name="lasts", label="For how long", value="4h", hint="Such as 30min, 4h, 2d", required=True)
VERBS = {
    "acknowledge": ("Acknowledge", ("You have it in hand", "It does not remind or escalate any more, unless it gets worse")),
    "snooze": ("Snooze", ("Nobody is told of it until then", "Then it fires again, unless it is resolved")),
    "resolve": ("Resolve", ("It is over, and who was told of it is told so", "It opens again if the next window shows it")),
    "reopen": ("Open again", ("It fires, and people are told",)),
}


class AlertPages(Controller):
    """Alerts in a browser."""

    include_in_schema = False

    @get(HOME, sync_to_thread=True)
    def alerts(self, pages: ThePages, house: TheHouse) -> Page:
        """List the alerts."""
        values = {"severities": SEVERITIES, "states": STATES, "model": house.spec.name}
        return show(pages, "alerts", title="Alerts", noun="Monitoring", page=alert_list(house), **values)

    @get("/monitoring/alerts/{id:str}", sync_to_thread=True)
    def alert(self, pages: ThePages, scenes: TheScenes, house: TheHouse, id: FromPath[str]) -> Page:
        """Explain one alert."""
        page = alert_whole(house, id)
        values = {"severities": SEVERITIES, "states": STATES, "acts": ACTS, "model": page.alert.model}
        lanes = lanes_of(scenes.of(page.alert.model), [])
        lane = next((one for one in lanes if one.kind == page.alert.kind.value and one.measured), None)
        return show(pages, "alert", title=page.verdict.say, noun="Monitoring", page=page, lane=lane, **values)

    @get("/monitoring/alerts/{id:str}/{verb:str}", sync_to_thread=True)
    def ask_verb(self, request: Asked, pages: ThePages, house: TheHouse, *, id: FromPath[str], verb: FromPath[str]) -> Page:
        """Ask before something is done about an alert."""
        return ask(request, pages, asking=_asking(house, id, verb=verb))

    @post("/monitoring/alerts/{id:str}/{verb:str}", sync_to_thread=True)
    def do_verb(
        self, request: Asked, pages: ThePages, house: TheHouse, *, id: FromPath[str], verb: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Do it."""
        asking = _asking(house, id, verb=verb)

        def do() -> None:
            reason, until = data.get("reason", ""), None
            if verb == "snooze":
                until = end_of(house, wire.AlertUntil(reason=reason, lasts=data.get("lasts", "").strip()))
            act_on(house, id, verb=verb, reason=reason, actor=actor_of(request), until=until)

        return act(request, pages, asking=asking, given=data, do=do)

    @get("/monitoring/mutes/{model:str}", sync_to_thread=True)
    def ask_mute(self, request: Asked, pages: ThePages, *, model: FromPath[str]) -> Page:
        """Ask for how long nobody shall be told of a model."""
        return ask(request, pages, asking=_muting(model))

    @post("/monitoring/mutes/{model:str}", sync_to_thread=True)
    def do_mute(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Mute a model."""

        def do() -> None:
            body = wire.AlertUntil(reason=data.get("reason", ""), lasts=data.get("lasts", "").strip())
            reason, until = check_reason(body.reason), end_of(house, body)
            house.alert_desk.mute(ModelName(model), until=until, actor=actor_of(request), reason=reason)

        return act(request, pages, asking=_muting(model), given=data, do=do)

    @get("/monitoring/channels/{name:str}/test", sync_to_thread=True)
    def ask_test(self, request: Asked, pages: ThePages, house: TheHouse, *, name: FromPath[str]) -> Page:
        """Ask before a test message is sent."""
        return ask(request, pages, asking=_testing(house, name))

    @post("/monitoring/channels/{name:str}/test", sync_to_thread=True)
    def do_test(
        self, request: Asked, pages: ThePages, house: TheHouse, *, name: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Send a test message, and show what was answered."""
        found: list[Tried] = []
        asking = _testing(house, name)
        answer = act(request, pages, asking=asking, given=data, do=lambda: found.append(house.alert_desk.test(name)))
        if not found:
            return answer
        return show(pages, "alert_tried", title=f"Test of {name}", noun="Monitoring", tried=found[0])


def _asking(house: House, id: str, *, verb: str) -> Asking:
    if verb not in VERBS:
        raise NotFound(f"nothing is called {verb!r}; there are {', '.join(VERBS)}")
    life = house.meta.alerts.get(id)
    button, facts = VERBS[verb]
    what = f"{life.kind.value.replace('_', ' ')} of {life.model}"
    return Asking(
        heading=f"{button}: {what}?",
        button=button,
        fields=(_LASTS, _REASON) if verb == "snooze" else (_REASON,),
        noun="Monitoring",
        crumbs=(("Monitoring", "/monitoring"), ("Alerts", HOME), (what, f"{HOME}/{part(id)}")),
        back=f"{HOME}/{part(id)}",
        consequences=(*facts, "Your name and reason stand in the history"),
    )


def _muting(model: str) -> Asking:
    return Asking(
        heading=f"Mute the alerts of {model}?",
        button="Mute",
        fields=(_LASTS, _REASON),
        noun="Monitoring",
        crumbs=(("Monitoring", "/monitoring"), ("Alerts", HOME)),
        back=HOME,
        consequences=("Nobody is told of this model until then", "What still fires then is told then"),
    )


def _testing(house: House, name: str) -> Asking:
    if name not in house.alert_desk.channels():
        raise NotFound(f"there is no channel {name!r}")
    return Asking(
        heading=f"Send a test message by {name}?",
        button="Send a test",
        fields=(),
        noun="Monitoring",
        crumbs=(("Monitoring", "/monitoring"), ("Alerts", HOME)),
        back=HOME,
        keep="Send nothing",
        consequences=("Whoever reads this channel gets a message that says it is a test",),
    )

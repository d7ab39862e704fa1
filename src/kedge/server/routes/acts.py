"""Dangerous actions as pages, and the page that asks for the token: consequences first, the name typed, a reason for the
history, the revision checked again.
"""

from collections.abc import Mapping

import msgspec
from litestar import Controller, Response, get, post
from litestar.exceptions import ClientException
from litestar.params import FromPath, FromQuery, URLEncodedBody
from litestar.response import Redirect

from kedge.domain.ids import ModelName
from kedge.domain.registry import CHAMPION
from kedge.errors import NotFound, RequestInvalid
from kedge.registry.names import check_reason
from kedge.server import wire
from kedge.server.forms import HTML, Asked, Asking, Field, Page, act, ask, cookie
from kedge.server.guard import COOKIE, actor_of
from kedge.server.house import House
from kedge.server.reading.scene import Scene
from kedge.server.routes.given import TheGuard, TheHouse, ThePages, TheScenes
from kedge.server.routes.writes import promote, roll_back
from kedge.web.addresses import part


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What the login form sends."""

    secret: str
    next: str = "/"


Sent = URLEncodedBody[dict[str, str]]
Told = URLEncodedBody[Login]


class Acts(Controller):
    """Promote and roll back, by hand, in a browser."""

    include_in_schema = False

    @get("/models/{model:str}/promote", sync_to_thread=True)
    def ask_promote(
        self,
        request: Asked,
        pages: ThePages,
        scenes: TheScenes,
        *,
        house: TheHouse,
        model: FromPath[str],
        version: FromQuery[int] = 0,
    ) -> Page:
        """Ask before promoting."""
        return ask(request, pages, asking=_promoting(house, scenes.of(ModelName(model)), version=version))

    @post("/models/{model:str}/promote", sync_to_thread=True)
    def do_promote(
        self, request: Asked, pages: ThePages, scenes: TheScenes, *, house: TheHouse, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Promote."""
        asking = _promoting(house, scenes.of(ModelName(model)), version=_number(data, "version"))

        def do() -> None:
            if not house.by_hand.is_deployed(model):
                _promote_alone(house, model, data=data, actor=actor_of(request))
                return
            body = wire.Promote(
                version=_number(data, "version"), reason=data.get("reason", ""), revision=_number(data, "revision")
            )
            promote(house, model, data=body, actor=actor_of(request))

        return act(request, pages, asking=asking, given=data, do=do)

    @get("/models/{model:str}/roll-back", sync_to_thread=True)
    def ask_roll_back(
        self, request: Asked, pages: ThePages, scenes: TheScenes, *, house: TheHouse, model: FromPath[str]
    ) -> Page:
        """Ask before rolling back."""
        return ask(request, pages, asking=_rolling_back(house, scenes.of(ModelName(model))))

    @post("/models/{model:str}/roll-back", sync_to_thread=True)
    def do_roll_back(
        self, request: Asked, pages: ThePages, scenes: TheScenes, *, house: TheHouse, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Roll back."""
        asking = _rolling_back(house, scenes.of(ModelName(model)))

        def do() -> None:
            if not house.by_hand.is_deployed(model):
                _roll_back_alone(house, model, data=data, actor=actor_of(request))
                return
            body = wire.RollBack(reason=data.get("reason", ""), revision=_number(data, "revision"))
            roll_back(house, model, data=body, actor=actor_of(request))

        return act(request, pages, asking=asking, given=data, do=do)

    @get("/login", sync_to_thread=False)
    def ask_login(self, pages: ThePages, next: FromQuery[str] = "/") -> Page:
        """Ask for the token."""
        return Response(pages.render("login", title="Token", noun="", next=_own(next), fault=""), media_type=HTML)

    @post("/login", sync_to_thread=False)
    def do_login(self, request: Asked, pages: ThePages, guard: TheGuard, data: Told) -> Page | Redirect:
        """Keep the token in a cookie that no script can read and no other site can send."""
        if guard.holder(data.secret.strip()) is None:
            fault = "This is not a token of this server."
            page = pages.render("login", title="Token", noun="", next=_own(data.next), fault=fault)
            return Response(page, media_type=HTML, status_code=403)
        answer = Redirect(_own(data.next), status_code=303)
        answer.set_cookie(cookie(request, COOKIE, value=data.secret.strip()))
        return answer


def _promoting(house: House, scene: Scene, *, version: int) -> Asking:
    deployment = scene.deployment
    if deployment is None:
        found = house.catalog.version(scene.model, version)
        return _asking(
            scene.model,
            "promote",
            heading=f"Make v{version} the champion?",
            button=f"Promote v{version}",
            typed=f"{scene.model} v{version}",
            consequences=(
                "Whoever asks for the champion gets it from now on",
                "Nothing of this model is deployed, so no traffic moves",
                *(() if found.loop else ("No gate has judged it",)),
            ),
            hidden={"serial": _champion_serial(house, scene.model), "version": version},
        )
    if scene.version(version) is None:
        raise NotFound(f"model {scene.model!r} has no version {version} that could be promoted")
    trial = deployment.challenger == version
    return _asking(
        scene.model,
        "promote",
        heading=f"Promote v{version} before the trial has decided?" if trial else f"Promote v{version}?",
        button=f"Promote v{version}",
        typed=f"{scene.model} v{version}",
        consequences=(
            f"All traffic moves from v{deployment.champion} to v{version} at once",
            *((f"The trial of v{deployment.challenger} ends",) if deployment.challenger else ()),
            f"v{deployment.champion} can be called back by one pointer swap",
        ),
        hidden={"revision": deployment.revision, "version": version},
    )


def _rolling_back(house: House, scene: Scene) -> Asking:
    deployment = scene.deployment
    if deployment is None:
        champion = house.catalog.by_alias(scene.model, CHAMPION).number
        return _asking(
            scene.model,
            "roll back",
            heading=f"Go back from v{champion}?",
            button="Roll back",
            typed=f"{scene.model} v{champion}",
            consequences=(f"The champion before v{champion} is champion again", "The version stays in the registry"),
            hidden={"serial": _champion_serial(house, scene.model)},
        )
    trial = deployment.challenger
    traffic = (
        f"v{deployment.champion} answers everything again"
        if trial
        else f"The champion before v{deployment.champion} answers everything"
    )
    return _asking(
        scene.model,
        "roll back",
        heading=f"End the trial of v{trial}?" if trial else f"Roll back v{deployment.champion}?",
        button="Roll back",
        typed=f"{scene.model} v{trial or deployment.champion}",
        consequences=(traffic, "The version stays in the registry"),
        hidden={"revision": deployment.revision},
    )


def _asking(
    model: str,
    verb: str,
    *,
    heading: str,
    button: str,
    typed: str,
    consequences: tuple[str, ...],
    hidden: Mapping[str, int],
) -> Asking:
    """Make the form of a dangerous action on a model: what follows, the name typed, a reason for the history."""
    back = f"/models/{part(model)}"
    return Asking(
        heading=heading,
        button=button,
        fields=(
            *(Field(name=name, value=str(value), kind="hidden") for name, value in hidden.items()),
            Field(name="name", label=verb, code=typed, required=True),
            Field(name="reason", label="Reason, kept in the history", required=True),
        ),
        noun="Models",
        crumbs=(("Models", "/models"), (model, back)),
        back=back,
        consequences=(*consequences, "Your name and reason stand in the history"),
        danger=True,
    )


def _champion_serial(house: House, model: str) -> int:
    """Count the moves of a model's champion: who acts on another count is told so."""
    return max((move.serial for move in house.catalog.alias_moves(model) if move.alias == CHAMPION), default=0)


def _promote_alone(house: House, model: str, *, data: Mapping[str, str], actor: str) -> None:
    """Make a version of a model that is not deployed champion. Raises AliasConflict, RequestInvalid, NotFound."""
    serial, version = _number(data, "serial"), _number(data, "version")
    house.by_hand.promote(model, version, actor=actor, reason=check_reason(data.get("reason", "")), serial=serial)


def _roll_back_alone(house: House, model: str, *, data: Mapping[str, str], actor: str) -> None:
    """Go back to the champion before, of a model that is not deployed. Raises AliasConflict, RequestInvalid, NotFound."""
    house.by_hand.roll_back(model, actor=actor, reason=check_reason(data.get("reason", "")), serial=_number(data, "serial"))


def _number(data: Mapping[str, str], name: str) -> int:
    text = data.get(name, "")
    if not (text.isascii() and text.isdecimal()):
        raise RequestInvalid(f"{name}: {text!r} is no number; open the form again")
    return int(text)


def _own(address: str) -> str:
    """Give an address of this site only; anything else leads to the first page."""
    if not address.startswith("/") or address.startswith(("//", "/\\")):
        return "/"
    if any(ord(letter) < 32 for letter in address):
        raise ClientException("next: an address has no control characters")
    return address

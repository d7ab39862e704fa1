"""Dangerous actions as pages: consequences first, the name typed, a reason for the history, the revision checked again.

A form carries a token that must equal the cookie set beside it: a page elsewhere can neither read nor set that cookie.
Names typed into a form protect from haste only; the policy table decides who may.
"""

import hmac
import secrets
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.datastructures import State as Shared
from litestar.exceptions import ClientException, PermissionDeniedException
from litestar.params import FromPath, FromQuery, URLEncodedBody
from litestar.response import Redirect

from kedge.domain.ids import ModelName
from kedge.errors import Conflict, NotFound, RequestInvalid
from kedge.server import wire
from kedge.server.guard import COOKIE, actor_of
from kedge.server.reading.scene import Scene
from kedge.server.routes.given import TheGuard, TheHouse, ThePages, TheScenes
from kedge.server.routes.pages import HTML, Page
from kedge.server.routes.writes import promote, roll_back
from kedge.web import words
from kedge.web.render import Pages

_FORM_COOKIE = "kedge_form"
Asked = Request[None, None, Shared]


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What the forms send."""

    token: str
    name: str
    reason: str
    revision: int
    version: int = 0


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What the login form sends."""

    secret: str
    next: str = "/"


Sent = URLEncodedBody[Form]
Told = URLEncodedBody[Login]


class Acts(Controller):
    """Promote and roll back, by hand, in a browser."""

    include_in_schema = False

    @get("/models/{model:str}/promote", sync_to_thread=True)
    def ask_promote(
        self, request: Asked, pages: ThePages, scenes: TheScenes, model: FromPath[str], version: FromQuery[int] = 0
    ) -> Page:
        """Ask before promoting."""
        return _ask(request, pages, asked=_promoting(scenes.of(ModelName(model)), version))

    @post("/models/{model:str}/promote", sync_to_thread=True)
    def do_promote(
        self, request: Asked, pages: ThePages, scenes: TheScenes, *, house: TheHouse, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Promote."""
        asked = _promoting(scenes.of(ModelName(model)), data.version)
        body = wire.Promote(version=data.version, reason=data.reason, revision=data.revision)
        return _do(
            request, pages, asked=asked, data=data, act=lambda: promote(house, model, data=body, actor=actor_of(request))
        )

    @get("/models/{model:str}/roll-back", sync_to_thread=True)
    def ask_roll_back(self, request: Asked, pages: ThePages, scenes: TheScenes, model: FromPath[str]) -> Page:
        """Ask before rolling back."""
        return _ask(request, pages, asked=_rolling_back(scenes.of(ModelName(model))))

    @post("/models/{model:str}/roll-back", sync_to_thread=True)
    def do_roll_back(
        self, request: Asked, pages: ThePages, scenes: TheScenes, *, house: TheHouse, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Roll back."""
        asked = _rolling_back(scenes.of(ModelName(model)))
        body = wire.RollBack(reason=data.reason, revision=data.revision)
        return _do(
            request, pages, asked=asked, data=data, act=lambda: roll_back(house, model, data=body, actor=actor_of(request))
        )

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
        answer.set_cookie(_cookie(request, COOKIE, value=data.secret.strip()))
        return answer


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question before an action."""

    model: str
    verb: str
    path: str
    heading: str
    button: str
    typed: str
    consequences: tuple[str, ...]
    revision: int
    version: int = 0


def _promoting(scene: Scene, version: int) -> _Asked:
    deployment = scene.deployment
    if deployment is None or scene.version(version) is None:
        raise NotFound(f"model {scene.model!r} has no version {version} that could be promoted")
    trial = deployment.challenger == version
    return _Asked(
        model=scene.model,
        verb="promote",
        path="promote",
        heading=f"Promote v{version} before the trial has decided?" if trial else f"Promote v{version}?",
        button=f"Promote v{version}",
        typed=f"{scene.model} v{version}",
        consequences=(
            f"All traffic moves from v{deployment.champion} to v{version} at once",
            *((f"The trial of v{deployment.challenger} ends",) if deployment.challenger else ()),
            f"v{deployment.champion} can be called back by one pointer swap",
            "Your name and reason stand in the history",
        ),
        revision=deployment.revision,
        version=version,
    )


def _rolling_back(scene: Scene) -> _Asked:
    deployment = scene.deployment
    if deployment is None:
        raise NotFound(f"nothing is deployed for model {scene.model!r}, so nothing can be rolled back")
    trial = deployment.challenger
    heading = f"End the trial of v{trial}?" if trial else f"Roll back v{deployment.champion}?"
    traffic = (
        f"v{deployment.champion} answers everything again"
        if trial
        else f"The champion before v{deployment.champion} answers everything"
    )
    return _Asked(
        model=scene.model,
        verb="roll back",
        path="roll-back",
        heading=heading,
        button="Roll back",
        typed=f"{scene.model} v{trial or deployment.champion}",
        consequences=(traffic, "The version stays in the registry", "Your name and reason stand in the history"),
        revision=deployment.revision,
    )


def _ask(request: Asked, pages: Pages, *, asked: _Asked, fault: str = "", reason: str = "", status: int = 200) -> Page:
    token = request.cookies.get(_FORM_COOKIE) or secrets.token_urlsafe(24)
    values = msgspec.structs.asdict(asked) | {"action": request.url.path, "token": token, "fault": fault, "reason": reason}
    page: Page = Response(
        pages.render("act", title=asked.heading, noun="Models", **values), media_type=HTML, status_code=status
    )
    page.set_cookie(_cookie(request, _FORM_COOKIE, value=token))
    return page


def _do(request: Asked, pages: Pages, *, asked: _Asked, data: Form, act: Any) -> Page | Redirect:
    kept = request.cookies.get(_FORM_COOKIE) or ""
    if not kept or not hmac.compare_digest(kept.encode(), data.token.encode()):
        raise PermissionDeniedException("this form was not opened here, or long ago; open it again")
    if words_of(data.name) != words_of(asked.typed):
        return _ask(
            request, pages, asked=asked, fault=f"The name typed is not {asked.typed}.", reason=data.reason, status=422
        )
    try:
        act()
    except (Conflict, RequestInvalid) as error:
        return _ask(request, pages, asked=asked, fault=words.sentence(str(error)), reason=data.reason, status=409)
    return Redirect(f"/models/{asked.model}", status_code=303)


def words_of(name: str) -> list[str]:
    """Take a typed name apart, so that spaces do not count."""
    return name.split()


def _own(address: str) -> str:
    """Give an address of this site only; anything else leads to the first page."""
    if not address.startswith("/") or address.startswith(("//", "/\\")):
        return "/"
    if any(ord(letter) < 32 for letter in address):
        raise ClientException("next: an address has no control characters")
    return address


def _cookie(request: Asked, name: str, *, value: str) -> Cookie:
    return Cookie(key=name, value=value, path="/", httponly=True, samesite="strict", secure=request.url.scheme == "https")

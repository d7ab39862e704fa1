"""Forms that change something: consequences first, the fields, a token that must equal the cookie set beside the form.

A page elsewhere can neither read nor set that cookie. Names typed into a form protect from haste only; the policy table
decides who may.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.datastructures import State as Shared
from litestar.exceptions import PermissionDeniedException
from litestar.response import Redirect

from kedge.errors import Conflict, NotFound, RequestInvalid
from kedge.web import words
from kedge.web.render import Pages

COOKIE = "kedge_form"
HTML = "text/html; charset=utf-8"
Asked = Request[None, None, Shared]
Page = Response[bytes]


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a form: `kind` is text, area, check, hidden, or choice among `choices`; `code` is what the label asks to
    type."""

    name: str
    label: str = ""
    value: str = ""
    kind: str = "text"
    choices: tuple[str, ...] = ()
    code: str = ""
    hint: str = ""
    required: bool = False
    longest: int = 300


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """A form: its heading, what follows from sending it, its fields, and where it leads back to; `crumb` says in a word
    where one is, if the button does not."""

    heading: str
    button: str
    fields: tuple[Field, ...]
    noun: str
    crumbs: tuple[tuple[str, str], ...]
    back: str
    crumb: str = ""
    keep: str = "Keep it as it is"
    consequences: tuple[str, ...] = ()
    danger: bool = False


def ask(
    request: Asked,
    pages: Pages,
    *,
    asking: Asking,
    fault: str = "",
    given: Mapping[str, str] | None = None,
    status: int = 200,
) -> Page:
    """Show a form; after a fault with what was given before."""
    token = request.cookies.get(COOKIE) or secrets.token_urlsafe(24)
    filled = [
        msgspec.structs.replace(field, value=given.get(field.name, ""))
        if given and (field.name in given or field.kind == "check") and field.kind != "hidden" and not field.code
        else field
        for field in asking.fields
    ]
    values = {"form": asking, "fields": filled, "action": request.url.path, "token": token, "fault": fault}
    shown = pages.render("form", title=asking.heading, noun=asking.noun, **values)
    page: Page = Response(shown, media_type=HTML, status_code=status)
    page.set_cookie(cookie(request, COOKIE, value=token))
    return page


def act(
    request: Asked, pages: Pages, *, asking: Asking, given: Mapping[str, str], do: Callable[[], str | None]
) -> Page | Redirect:
    """Check the token and what must be typed, then do it, and lead on to where `do` says, or back."""
    kept = request.cookies.get(COOKIE) or ""
    if not kept or not hmac.compare_digest(kept.encode(), given.get("token", "").encode()):
        raise PermissionDeniedException("this form was not opened here, or long ago; open it again")
    for field in asking.fields:
        if field.code and given.get(field.name, "").split() != field.code.split():
            fault = f"The name typed is not {field.code}."
            return ask(request, pages, asking=asking, fault=fault, given=given, status=422)
    try:
        leads = do()
    except (Conflict, RequestInvalid, NotFound) as error:
        return ask(request, pages, asking=asking, fault=words.sentence(str(error)), given=given, status=409)
    return Redirect(leads or asking.back, status_code=303)


def cookie(request: Asked, name: str, *, value: str) -> Cookie:
    """Make a cookie that no script can read and no other site can send."""
    return Cookie(key=name, value=value, path="/", httponly=True, samesite="strict", secure=request.url.scheme == "https")


def lines_of(labels: Mapping[str, str]) -> str:
    """Write labels one a line, as a form shows them."""
    return "\n".join(f"{key} = {' '.join(value.splitlines())}" for key, value in sorted(labels.items()))


def labels_of(text: str) -> dict[str, str]:
    """Read labels, one a line: KEY = VALUE. Raises RequestInvalid for a line that is none."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, equals, value = line.partition(" = " if " = " in line else "=")  # a key may hold an equals sign itself
        if not equals or not key.strip():
            raise RequestInvalid(f"line {number} of the tags is {line.strip()!r}; write each as KEY = VALUE")
        found[key.strip()] = value.strip()
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    """Say which labels were set anew (their value) and which taken away (None)."""
    shown = {key: " ".join(value.splitlines()) for key, value in before.items()}
    fresh: dict[str, Any] = {key: value for key, value in after.items() if shown.get(key) != value}
    return fresh | {key: None for key in before if key not in after}

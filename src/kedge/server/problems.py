"""Errors on the wire: the only table from error class to HTTP status, and the one shape that every error answer has.

{"error": {"code": "not_found", "message": "what, where, what to do", "request_id": "4f1c9a..."}}
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from kedge import errors

if TYPE_CHECKING:
    from litestar import Request, Response
    from litestar.exceptions import HTTPException

log = logging.getLogger("kedge.server")

STATUS: dict[type[errors.KedgeError], int] = {
    errors.KedgeError: 500,
    errors.ConfigError: 500,
    errors.NotFound: 404,
    errors.NothingDeployed: 503,
    errors.Conflict: 409,
    errors.AliasConflict: 409,
    errors.AliasMoved: 409,
    errors.RevisionConflict: 409,
    errors.NameTaken: 409,
    errors.ParamChanged: 409,
    errors.WasDeleted: 409,
    errors.LocalEdits: 409,
    errors.DataInvalid: 422,
    errors.SourceFailed: 502,
    errors.FileChanged: 409,
    errors.TrainingFailed: 500,
    errors.ModelRefused: 409,
    errors.SignatureInvalid: 401,
    errors.RequestInvalid: 400,
    errors.Overloaded: 503,
    errors.DeadlineExceeded: 504,
    errors.SearchInvalid: 400,
    errors.StoreTooNew: 503,
    errors.StoreBroken: 500,
    errors.StoreFull: 507,
    errors.PortInUse: 500,
    errors.NotTold: 502,
    errors.Unreachable: 503,
}
_CODES = {
    400: "request_invalid",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    413: "too_large",
    415: "media_type_unsupported",
    421: "host_unknown",
    429: "too_many",
    503: "unavailable",
}


class Refused(Exception):
    """A request that the door does not let in."""

    def __init__(self, status: int, code: str, *, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Problem(msgspec.Struct, frozen=True):
    """What went wrong: a stable code, a sentence that says what, where and what to do, and the request's id."""

    code: str
    message: str
    request_id: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error answer."""

    error: Problem


def status_of(error: errors.KedgeError) -> int:
    """Find the status of an error: its class's own, else that of its nearest ancestor in the table."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def problem_of(error: Exception, request_id: str, *, asked: str) -> tuple[int, Problem]:
    """Turn any error into status and problem. Only what Kedge raised on purpose speaks in its own words."""
    from litestar.exceptions import HTTPException

    if isinstance(error, Refused):
        return error.status, Problem(error.code, str(error), request_id)
    if isinstance(error, errors.KedgeError):
        return status_of(error), Problem(error.code, str(error), request_id)
    if isinstance(error, HTTPException) and error.status_code != 500:
        return error.status_code, Problem(_code(error.status_code), _http_message(error, asked), request_id)
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return 400, Problem("request_invalid", f"{asked}: the body is nested too deeply", request_id)
    log.error("request %s (%s) failed", request_id, asked, exc_info=error.__cause__ or error)
    return 500, Problem(
        "internal_error",
        f"{asked} failed inside Kedge; this process's log tells why, under request {request_id}",
        request_id,
    )


def _code(status: int) -> str:
    return _CODES.get(status, "request_invalid" if status < 500 else "internal_error")


def _http_message(error: HTTPException, asked: str) -> str:
    if error.status_code == 404:
        return error.detail if error.detail != HTTPStatus.NOT_FOUND.phrase else f"{asked}: there is nothing at this address"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return f"{asked}: this method is not taken here{f'; use {allowed}' if allowed else ''}"
    return f"{error.detail}{_fields(error.extra)}"


def _fields(extra: Any) -> str:
    """Name the fields that did not fit, as Litestar reports them."""
    if not isinstance(extra, list):
        return ""
    named = [f"{one.get('key') or one.get('source')}: {one.get('message')}" for one in extra if isinstance(one, dict)]
    return f" ({'; '.join(named)})" if named else ""


def request_id(scope: Any) -> str:
    """Read the id that the door gave a request."""
    return str(scope.get("state", {}).get("request_id", ""))


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer any error: a page for who asked for a page, else JSON."""
    from litestar import Response
    from litestar.exceptions import HTTPException

    status, problem = problem_of(error, request_id(request.scope), asked=f"{request.method} {request.url.path}")
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == 401 and "Location" in headers:
        return Response(None, status_code=303, headers=headers)
    pages = request.app.state.get("pages")
    if pages is not None and wants_page(request.url.path, request.headers.get("accept", "")):
        return Response(
            pages.problem(status, problem), status_code=status, headers=headers, media_type="text/html; charset=utf-8"
        )
    return Response(ErrorBody(problem), status_code=status, headers=headers, media_type="application/json")


def wants_page(path: str, accept: str) -> bool:
    """Say whether an error should be shown as a page."""
    return "text/html" in accept and not path.startswith(("/api/", "/static/", "/metrics"))

"""Errors as an MLflow client reads them: {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "..."}, and its status.

Kedge's own errors are mapped by class; what only this protocol knows is raised as ProtocolError with its code.
"""

import msgspec

from kedge import errors

INVALID = "INVALID_PARAMETER_VALUE"
MISSING = "RESOURCE_DOES_NOT_EXIST"
TAKEN = "RESOURCE_ALREADY_EXISTS"
NO_ENDPOINT = "ENDPOINT_NOT_FOUND"
NOT_BUILT = "NOT_IMPLEMENTED"
INTERNAL = "INTERNAL_ERROR"

STATUS = {
    INVALID: 400,
    TAKEN: 400,
    "BAD_REQUEST": 400,
    "INVALID_STATE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    MISSING: 404,
    NO_ENDPOINT: 404,
    "RESOURCE_CONFLICT": 409,
    "TEMPORARILY_UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 507,
    NOT_BUILT: 501,
    INTERNAL: 500,
}

CODES: dict[type[errors.KedgeError], str] = {
    errors.KedgeError: INTERNAL,
    errors.NotFound: MISSING,
    errors.Conflict: TAKEN,
    errors.ParamChanged: INVALID,
    errors.WasDeleted: INVALID,
    errors.AliasConflict: "RESOURCE_CONFLICT",
    errors.AliasMoved: "RESOURCE_CONFLICT",
    errors.RevisionConflict: "RESOURCE_CONFLICT",
    errors.DataInvalid: INVALID,
    errors.ModelRefused: INVALID,
    errors.RequestInvalid: INVALID,
    errors.SearchInvalid: INVALID,
    errors.StoreTooNew: "TEMPORARILY_UNAVAILABLE",
    errors.StoreFull: "RESOURCE_EXHAUSTED",
}


class ProtocolError(Exception):
    """A refusal in the protocol's own words: one of the codes above, and what, where and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every error answer."""

    error_code: str
    message: str


def answer_to(error: errors.KedgeError | ProtocolError) -> tuple[int, ErrorAnswer]:
    """Turn an error into status and body."""
    if isinstance(error, ProtocolError):
        code = error.code
    else:
        code = next(CODES[cls] for cls in type(error).__mro__ if cls in CODES)
    return STATUS[code], ErrorAnswer(code, _in_its_words(error))


def _in_its_words(error: errors.KedgeError | ProtocolError) -> str:
    """Say it as MLflow does, where its clients look at the text."""
    match error:
        case errors.ParamChanged():
            return (
                f"Changing param values is not allowed. Param with key='{error.key}' was already logged with "
                f"value='{error.old}' for run ID='{error.owner}'. Attempted logging new value '{error.new}'."
            )
        case errors.WasDeleted():
            return f"The {error.what} {error.id} must be in the 'active' state. Current state is deleted."
        case errors.NotFound(what="run"):
            return f"Run with id={error.id} not found"
        case errors.NotFound(what="experiment"):
            return f"No Experiment with id={error.id} exists"
        case errors.NameTaken(what="experiment"):
            return f"Experiment(name={error.name}) already exists. {error}"
    return str(error)


def code_of(status: int) -> str:
    """Name the code of a request that the door did not let in."""
    return "PERMISSION_DENIED" if status in (403, 421) else "BAD_REQUEST"


def missing(name: str) -> ProtocolError:
    """Say that a required parameter was not given, as MLflow says it."""
    return ProtocolError(INVALID, f"Missing value for required parameter '{name}'.{SEE}")


SEE = " See the API docs for more information about request parameters."

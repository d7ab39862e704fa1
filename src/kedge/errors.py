"""Every error that Kedge raises on purpose, as one tree.

    KedgeError
      ConfigError          the project file or a setting is wrong
      NotFound             a name or id that does not exist
        NothingDeployed    a model of which no version is served
      Conflict             someone else was first (AliasConflict, AliasMoved, RevisionConflict, NameTaken)
        ParamChanged       a param that was logged with another value
        WasDeleted         a run, experiment or logged model that is deleted: restore it first
        LocalEdits         files in the workspace that a checkout would overwrite
      DataInvalid          rows that break an expectation of severity "error"
      SourceFailed         a source that cannot be read, or lacks a column
      TrainingFailed       the project's training raised, returned nothing usable, or ran out of time
      NoFirstModel         a replay whose first model did not come about (`replay/play.py`)
      ModelRefused         a model file that is not what was registered, or holds a type that is not allowed
      RequestInvalid       a request that does not fit: an inference request its signature, a value its limits
      Overloaded           more questions wait for a model than it may have waiting: ask again shortly
      DeadlineExceeded     an answer that was not ready when its caller's time was up
      SearchInvalid        a filter, an order or a page token that cannot be read
      StoreTooNew          the store was written by a newer Kedge
      StoreBroken          bytes that are not what was written
      StoreFull            no space left to write
      PortInUse            a server's port is taken
      NotTold              a channel that did not take what it was to tell
      Unreachable          a store or server that does not answer, or not now
Each has a stable `code` and says what, where and what to do. HTTP is not known here: `server/problems.py` maps classes.
"""


class KedgeError(Exception):
    """The root. `code` is stable and part of the API."""

    code = "kedge_error"


class ConfigError(KedgeError):
    """The project file or a setting is wrong; the message has file, line and what would be right."""

    code = "config_error"


class NotFound(KedgeError):
    """A name or id that does not exist. `what` and `id` say of what, where a door has words of its own for it."""

    code = "not_found"

    def __init__(self, message: str, *, what: str = "", id: str = "") -> None:
        super().__init__(message)
        self.what, self.id = what, id


class NothingDeployed(NotFound):
    """No version of a model is loaded, so nothing can be answered yet. Deploy a version, or wait for it."""

    code = "nothing_deployed"


class Conflict(KedgeError):
    """Someone else was first. Read again and retry."""

    code = "conflict"


class AliasConflict(Conflict):
    """Someone moved the alias since you read it. Read it again and retry."""

    code = "alias_conflict"

    def __init__(self, alias: str, expected: int | None, *, found: int | None) -> None:
        super().__init__(f"alias {alias!r} points to version {found}, not {expected}; read it again, then retry")
        self.alias, self.expected, self.found = alias, expected, found


class AliasMoved(Conflict):
    """Someone moved the alias since you counted its moves. Read its history again and retry."""

    code = "alias_moved"

    def __init__(self, alias: str, expected: int, *, found: int) -> None:
        super().__init__(f"alias {alias!r} has moved {found} times, not {expected}; read its history again, then retry")
        self.alias, self.expected, self.found = alias, expected, found


class RevisionConflict(Conflict):
    """Someone changed the deployment since you read it. Read it again and retry."""

    code = "revision_conflict"

    def __init__(self, model: str, expected: int, *, found: int) -> None:
        super().__init__(f"deployment of {model!r} is at revision {found}, not {expected}; read it again, then retry")
        self.model, self.expected, self.found = model, expected, found


class NameTaken(Conflict):
    """A name that must be unique is in use; `deleted` says that what bears it was deleted and can be restored."""

    code = "name_taken"

    def __init__(self, what: str, name: str, *, deleted: bool = False) -> None:
        where = "is taken by one that was deleted; restore that one" if deleted else "is taken; use the one there is"
        super().__init__(f"{what} name {name!r} {where}, or choose another name")
        self.what, self.name, self.deleted = what, name, deleted


class ParamChanged(Conflict):
    """A param was logged with another value. Params never change; log the new value in a run of its own."""

    code = "param_changed"

    def __init__(self, owner: str, key: str, *, old: str, new: str) -> None:
        super().__init__(f"param {key!r} of {owner!r} is {old!r} and cannot become {new!r}; params never change")
        self.owner, self.key, self.old, self.new = owner, key, old, new


class WasDeleted(Conflict):
    """A run, experiment or logged model is deleted, and takes no writes. Restore it first."""

    code = "was_deleted"

    def __init__(self, what: str, id: str) -> None:
        super().__init__(f"{what} {id!r} is deleted; restore it first")
        self.what, self.id = what, id


class LocalEdits(Conflict):
    """Files in the workspace were edited and would be lost. Keep them as a version first, or force it."""

    code = "local_edits"


class DataInvalid(KedgeError):
    """Rows break an expectation of severity "error". Nothing was trained; what is live stays live."""

    code = "data_invalid"


class SourceFailed(KedgeError):
    """A source cannot be read, or lacks a column that the project names."""

    code = "source_failed"


class FileChanged(SourceFailed):
    """A file kept changing while it was read. Nothing of it was kept; what was kept before stays."""

    code = "file_changed"


class TrainingFailed(KedgeError):
    """The project's training raised, returned nothing usable, or ran out of time. What is live stays live."""

    code = "training_failed"


class ModelRefused(KedgeError):
    """A model file is not what was registered, or holds a type that is not allowed."""

    code = "model_refused"


class SignatureInvalid(KedgeError):
    """A signed message does not come from whom it should."""

    code = "signature_invalid"


class RequestInvalid(KedgeError):
    """A request does not fit: an inference request the model's signature, a name or value its limits."""

    code = "request_invalid"


class Overloaded(KedgeError):
    """More questions wait for a model than may wait. Ask again in `seconds`; nothing was computed or logged."""

    code = "overloaded"

    def __init__(self, message: str, *, seconds: int = 1) -> None:
        super().__init__(message)
        self.seconds = seconds


class DeadlineExceeded(KedgeError):
    """The answer was not ready when the time that its caller gave it was up. Give it more time, or send fewer rows."""

    code = "deadline_exceeded"


class SearchInvalid(KedgeError):
    """A filter, an order, a limit or a page token of a search cannot be read; the message says which part."""

    code = "search_invalid"


class StoreTooNew(KedgeError):
    """The store was written by a newer Kedge. Use that version, or another store."""

    code = "store_too_new"


class StoreBroken(KedgeError):
    """Bytes in the store are not what was written."""

    code = "store_broken"


class StoreFull(KedgeError):
    """No space is left to write. What was acknowledged is safe; free space and run the same command again."""

    code = "store_full"


class PortInUse(KedgeError):
    """A server's port is taken."""

    code = "port_in_use"


class NotTold(KedgeError):
    """A channel did not take a message. `final` says that the same message again would be refused again."""

    code = "not_told"

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Unreachable(KedgeError):
    """The store or server does not answer, or not now. What was logged waits in the spool and is sent later."""

    code = "unreachable"


# what a model, its framework or the encoding of its input can raise; anything else is a fault of ours and goes up
FAILURES = (
    KedgeError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def model_failed(error: BaseException) -> ModelRefused:
    """Name what else the code of a model raises: an error class of its own, an exit of the process."""
    return ModelRefused(f"the model raised {type(error).__name__}: {error}")

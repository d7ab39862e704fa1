"""Every error that Kedge raises on purpose, as one tree.

    KedgeError
      ConfigError          the project file or a setting is wrong
      NotFound             a name or id that does not exist
      Conflict             someone else was first (AliasConflict, RevisionConflict)
      DataInvalid          rows that break an expectation of severity "error"
      SourceFailed         a source that cannot be read, or lacks a column
      TrainingFailed       the project's training raised, returned nothing usable, or ran out of time
      ModelRefused         a model file that is not what was registered, or holds a type that is not allowed
      RequestInvalid       an inference request that does not fit the signature
      StoreTooNew          the store was written by a newer Kedge
      StoreBroken          bytes that are not what was written
      StoreFull            no space left to write
      PortInUse            a server's port is taken
Each has a stable `code` and says what, where and what to do. HTTP is not known here: `server/problems.py` maps classes.
"""


class KedgeError(Exception):
    """The root. `code` is stable and part of the API."""

    code = "kedge_error"


class ConfigError(KedgeError):
    """The project file or a setting is wrong; the message has file, line and what would be right."""

    code = "config_error"


class NotFound(KedgeError):
    """A name or id that does not exist."""

    code = "not_found"


class Conflict(KedgeError):
    """Someone else was first. Read again and retry."""

    code = "conflict"


class AliasConflict(Conflict):
    """Someone moved the alias since you read it. Read it again and retry."""

    code = "alias_conflict"

    def __init__(self, alias: str, expected: int | None, *, found: int | None) -> None:
        super().__init__(f"alias {alias!r} points to version {found}, not {expected}; read it again, then retry")
        self.alias, self.expected, self.found = alias, expected, found


class RevisionConflict(Conflict):
    """Someone changed the deployment since you read it. Read it again and retry."""

    code = "revision_conflict"

    def __init__(self, model: str, expected: int, *, found: int) -> None:
        super().__init__(f"deployment of {model!r} is at revision {found}, not {expected}; read it again, then retry")
        self.model, self.expected, self.found = model, expected, found


class DataInvalid(KedgeError):
    """Rows break an expectation of severity "error". Nothing was trained; what is live stays live."""

    code = "data_invalid"


class SourceFailed(KedgeError):
    """A source cannot be read, or lacks a column that the project names."""

    code = "source_failed"


class TrainingFailed(KedgeError):
    """The project's training raised, returned nothing usable, or ran out of time. What is live stays live."""

    code = "training_failed"


class ModelRefused(KedgeError):
    """A model file is not what was registered, or holds a type that is not allowed."""

    code = "model_refused"


class RequestInvalid(KedgeError):
    """An inference request does not fit the model's signature."""

    code = "request_invalid"


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

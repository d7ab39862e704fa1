"""What a client may register: files of this server's own runs and logged models, named by one of four forms.

    runs:/RUN/PATH                              files of a run
    models:/m-ID                                a logged model
    models:/NAME/N, /NAME@ALIAS, /NAME/STAGE    a version that is registered
    mlflow-artifacts:/EXPERIMENT/RUN/artifacts/PATH, .../models/m-ID/artifacts/PATH

Nothing else is looked at: no path of the server, no other host, no bucket. What is decoded again and again never gains a
`..`. The words of a refusal are those that MLflow's clients know.
"""

import re
from enum import Enum
from urllib.parse import unquote_plus, urlsplit

import msgspec

from kedge.errors import RequestInvalid

_DRIVE = re.compile(r"[A-Za-z]:")
_LOGGED = re.compile(r"m-[0-9A-Za-z]+")
_LONGEST = 4096


class SourceKind(Enum):
    """What a source names."""

    RUN = "run"
    LOGGED_MODEL = "logged model"
    VERSION = "version"


class NamedSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source taken apart: `owner` is the id of a run or logged model, or a model's name; `rest` the path or version."""

    kind: SourceKind
    owner: str
    rest: str = ""
    by_artifact: bool = False


def read_source(source: str, *, model_id: str | None = None) -> NamedSource:
    """Take a source apart. Raises RequestInvalid saying what may be registered."""
    if len(source) > _LONGEST:
        raise RequestInvalid(f"'source' exceeds the maximum length of {_LONGEST} characters")
    scheme = "" if _DRIVE.match(source) else urlsplit(source).scheme
    if scheme in ("", "file"):
        raise _local(source, "model_id" if model_id else "run_id")
    if scheme not in ("runs", "models", "mlflow-artifacts"):
        raise RequestInvalid(
            f"Invalid model version source: '{source}'. A version is made of files that this server keeps; use "
            "'runs:/RUN_ID/PATH', 'models:/MODEL_ID', 'models:/NAME/VERSION' or the artifact URI of a run."
        )
    path = _plain_path(source, scheme)
    if urlsplit(source).netloc and scheme == "models":
        raise RequestInvalid(
            f"Invalid model version source: '{source}'. Registered model sources must use the active model registry."
        )
    if urlsplit(source).netloc:
        raise foreign_source(source, "run_id")
    match scheme:
        case "runs":
            return _of_run(source, path)
        case "models":
            return _of_model(source, path)
        case _:
            return _of_artifact(source, path, model_id=model_id)


def foreign_source(source: str, parameter: str) -> RequestInvalid:
    """Say that the source is not of the run or logged model that was named with it."""
    return RequestInvalid(
        f"Invalid model version source: '{source}'. The {parameter} request parameter must identify the resource that "
        "contains the source."
    )


def _plain_path(source: str, scheme: str) -> str:
    """Give the path of a URI that means the same however often it is decoded. Raises RequestInvalid."""
    decoded = source
    while (again := unquote_plus(decoded)) != decoded:
        decoded = again
    path = source.removeprefix(f"{scheme}:")
    parts = path.strip("/").split("/")
    hidden = any(letter < " " or letter in "\\\x7f\ufffd" for letter in decoded)
    turning = any(part in ("..", ".") for part in decoded.split("/"))
    cut = any(mark in path for mark in "?#;%")
    if hidden or turning or cut or "" in parts[:-1] or not path.startswith("/"):
        raise RequestInvalid(
            f"Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp, "
            "objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references "
            "present. Please provide an absolute path."
        )
    return path.strip("/")


def _of_run(source: str, path: str) -> NamedSource:
    run, _, rest = path.partition("/")
    if not run:
        raise foreign_source(source, "run_id")
    return NamedSource(kind=SourceKind.RUN, owner=run, rest=rest)


def _of_model(source: str, path: str) -> NamedSource:
    parts = path.split("/")
    name, at, alias = path.partition("@")
    if len(parts) == 1 and at and name and alias:
        return NamedSource(kind=SourceKind.VERSION, owner=name, rest=f"@{alias}")
    if len(parts) == 1 and _LOGGED.fullmatch(path):
        return NamedSource(kind=SourceKind.LOGGED_MODEL, owner=path)
    if len(parts) == 2 and all(parts):
        return NamedSource(kind=SourceKind.VERSION, owner=parts[0], rest=parts[1])
    raise foreign_source(source, "model_id")


def _of_artifact(source: str, path: str, *, model_id: str | None) -> NamedSource:
    match path.split("/"):
        case [_, "models", model, "artifacts", *rest] if _LOGGED.fullmatch(model):
            return NamedSource(kind=SourceKind.LOGGED_MODEL, owner=model, rest="/".join(rest), by_artifact=True)
        case [_, run, "artifacts", *rest]:
            return NamedSource(kind=SourceKind.RUN, owner=run, rest="/".join(rest), by_artifact=True)
    raise foreign_source(source, "model_id" if model_id else "run_id")


def _local(source: str, parameter: str) -> RequestInvalid:
    return RequestInvalid(
        f"Invalid model version source: '{source}'. To use a local path as a model version source, the {parameter} request "
        "parameter has to be specified and the local path has to be contained within the artifact directory of the run "
        f"specified by the {parameter}."
    )

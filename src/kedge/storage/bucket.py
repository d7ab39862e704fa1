"""Objects in a bucket, or in a folder that serves as one, by URL: `s3://`, `gs://`, `az://`, `file://`.

Credentials, region and endpoint come from the variables that each cloud's own tools read (AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME ...); failed requests are tried again.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from kedge.errors import ConfigError, Unreachable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_KNOWN = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "file")
_WEB = ("http", "https")
_RETRY_SECONDS = 60
_KEYS = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

_NO_BUCKET = "there is no such bucket; make it first, or look at the name"
_SIGNS = {
    # where a machine of the cloud would give them, which is asked when nothing else has any
    "http://169.254.169.254/": "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
    " or what your cloud's own tools read",
    "404 Not Found": _NO_BUCKET,
}


class UrlBucket:
    """A bucket (port `Bucket`). Threads may share it."""

    def __init__(self, url: str, store: "ObjectStore") -> None:
        self.url, self._store = url, store

    def put(self, name: str, data: bytes, *, new: bool = False) -> bool:
        """Write an object, whole or not at all; `new` writes nothing and gives False where there is one."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            with _meaning(self.url, name):
                if new:
                    obstore.put(self._store, name, data, mode="create", use_multipart=False)
                else:
                    obstore.put(self._store, name, data, use_multipart=None if len(data) > 16 << 20 else False)
        except AlreadyExistsError:
            return False
        except FileNotFoundError as error:
            raise Unreachable(f"{self.url}: {_NO_BUCKET}") from error
        return True

    def get(self, name: str) -> bytes | None:
        """Read an object; None where there is none."""
        import obstore

        try:
            with _meaning(self.url, name):
                return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None

    def copy(self, name: str, file: IO[bytes]) -> bool:
        """Write an object into a file, piece by piece; False where there is none."""
        import obstore

        try:
            with _meaning(self.url, name):
                for piece in obstore.get(self._store, name).stream():
                    file.write(piece)
        except FileNotFoundError:
            return False
        return True

    def get_spans(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes] | None:
        """Read parts of an object, each from its start to before its end; None where there is none."""
        import obstore

        try:
            with _meaning(self.url, name):
                starts, ends = [start for start, _ in spans], [end for _, end in spans]
                return [bytes(piece) for piece in obstore.get_ranges(self._store, name, starts=starts, ends=ends)]
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        """Tell the size of an object; None where there is none."""
        import obstore

        try:
            with _meaning(self.url, name):
                return int(obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Give names and sizes of the objects in a folder, in no order."""
        import obstore

        with _meaning(self.url, prefix):
            for some in obstore.list(self._store, prefix):
                for found in some:
                    yield found["path"], int(found["size"])

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens where there is none."""
        import obstore

        try:
            with _meaning(self.url, name):
                obstore.delete(self._store, name)
        except FileNotFoundError:
            return


def open_bucket(url: str, *, environment: Mapping[str, str] | None = None, web: bool = False) -> UrlBucket:
    """Open a bucket by URL, with an optional folder in it; `web`: or a folder of a web server, to read from.

    Raises ConfigError for a URL that is neither.
    """
    given = os.environ if environment is None else environment
    parsed = urlsplit(url)
    if parsed.scheme not in (*_KNOWN, *(_WEB if web else ())) or (parsed.scheme != "file" and not parsed.netloc):
        raise ConfigError(f"{url!r} is no place for data; use s3://BUCKET/FOLDER, gs://..., az://... or file:///FOLDER")
    if parsed.username or parsed.password or parsed.query:
        raise ConfigError(f"a {parsed.scheme}:// URL takes no password or options; set them as environment variables")
    try:
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url
    except ImportError:
        raise ConfigError("buckets need obstore, which is not installed: pip install 'kedge[buckets]'") from None
    if parsed.scheme == "file":
        folder = Path(unquote(parsed.path))
        if parsed.netloc not in ("", "localhost") or not folder.is_absolute():
            raise ConfigError(f"{url!r} names no folder; write file:///ABSOLUTE/FOLDER")
        try:
            return UrlBucket(url, LocalStore(folder, mkdir=True))
        except (OSError, BaseError) as error:
            raise ConfigError(f"folder {folder} cannot be made or opened: {_short(error)}") from None
    retry: Any = {"max_retries": 8, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)}
    try:
        return UrlBucket(url, from_url(url, retry_config=retry, **_options(parsed.scheme, given)))
    except (BaseError, ValueError) as error:
        raise ConfigError(f"bucket {url} cannot be opened: {_short(error)}") from None


def _options(scheme: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Say what object stores that speak S3 over plain HTTP need, when one is named."""
    if scheme == "http":
        return {"client_options": {"allow_http": True}}
    if not scheme.startswith("s3"):
        return {}
    config = {"checksum_algorithm": "SHA256"}
    endpoint = next((given[name] for name in _ENDPOINTS if given.get(name)), "")
    if endpoint:
        config["endpoint"] = endpoint
    config["region"] = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1"
    config |= {option: given[name] for option, name in _KEYS.items() if given.get(name)}
    return {"config": config, "client_options": {"allow_http": endpoint.startswith("http://")}}


class _meaning:
    """Say what a failed request means: Unreachable with what to look at; that there is no object passes."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and "NoSuchBucket" in str(error):
            raise Unreachable(f"{self._url}: {_NO_BUCKET}") from error
        if error is None or isinstance(error, FileNotFoundError):
            return
        from obstore.exceptions import (
            AlreadyExistsError,
            BaseError,
            NotFoundError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        if isinstance(error, NotFoundError):
            raise FileNotFoundError(self._name) from None
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
            raise Unreachable(
                f"{self._url} refuses access to {self._name!r}; check the credentials in the environment"
            ) from error
        if isinstance(error, (BaseError, OSError)) and not isinstance(error, AlreadyExistsError):
            known = next((meant for sign, meant in _SIGNS.items() if sign in str(error)), None)
            raise Unreachable(
                f"{self._url}: {known}"
                if known
                else f"{self._url} cannot be used ({_short(error)}); check the address and the network, then run the same"
                " again: what has arrived is not sent again"
            ) from error


def _short(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__

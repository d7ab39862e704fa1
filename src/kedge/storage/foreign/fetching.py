"""Fetches single objects of other tools: from a folder, or from a bucket by URL (with the extra `buckets`)."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from kedge.errors import ConfigError, SourceFailed
from kedge.storage.bucket import UrlBucket, open_bucket


class Fetch:
    """Copies objects, by their names below a URL or folder, to files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._bucket = _opened(url) if "://" in url and not url.startswith("file://") else None

    def __call__(self, name: str, target: Path) -> bool:
        """Copy an object to a path, whole or not at all; False where there is none. Raises Unreachable."""
        temporary = target.with_name(f".kedge-{secrets.token_hex(6)}.part")
        try:
            return self._copied(name, temporary) and bool(temporary.replace(target))
        except OSError as error:
            raise SourceFailed(f"{self.url}/{name} cannot be copied to {target}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _copied(self, name: str, target: Path) -> bool:
        if self._bucket is None:
            path = Path(self.url.removeprefix("file://")) / name
            if not path.is_file():
                return False
            shutil.copyfile(path, target)
            return True
        with target.open("wb") as file:
            return self._bucket.copy(name, file)


def fetching(url: str) -> Fetch | None:
    """Open where objects are fetched from; None for nowhere."""
    return Fetch(url) if url else None


def _opened(url: str) -> UrlBucket:
    try:
        return open_bucket(url, web=True)
    except ConfigError as error:
        raise ConfigError(f"{error}; or run `dvc fetch` there, and import again from DVC's cache") from None

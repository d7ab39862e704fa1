"""Fetches single objects of other tools: from a folder, or from a bucket by URL (with the extra `buckets`)."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

from kedge.errors import ConfigError, SourceFailed, Unreachable


class Fetch:
    """Copies objects, by their names below a URL or folder, to files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._store: Any = _bucket(url) if "://" in url and not url.startswith("file://") else None

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
        if self._store is None:
            path = Path(self.url.removeprefix("file://")) / name
            if not path.is_file():
                return False
            shutil.copyfile(path, target)
            return True
        from obstore.exceptions import BaseError, NotFoundError

        try:
            with target.open("wb") as file:
                for piece in self._store.get(name).stream():
                    file.write(piece)
        except (NotFoundError, FileNotFoundError):
            return False
        except BaseError as error:
            raise Unreachable(f"{self.url} does not answer: {error}; check the address and the credentials") from error
        return True


def fetching(url: str) -> Fetch | None:
    """Open where objects are fetched from; None for nowhere."""
    return Fetch(url) if url else None


def _bucket(url: str) -> Any:
    try:
        from obstore.store import from_url
    except ImportError:
        raise ConfigError(f"{url} is a bucket; install what reads buckets: pip install 'kedge[buckets]'") from None
    return from_url(url)

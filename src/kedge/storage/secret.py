"""A store's own secret: made once, readable by its owner alone, never shown."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from kedge.storage.durable import make_folder, refusal, sync_folder, write_all

KEY_BYTES = 32


def secret(path: Path) -> bytes:
    """Read the secret of a store, made where there is none; two processes that make it get the same. Raises StoreFull."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    unnamed = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        make_folder(path.parent)
        descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            write_all(descriptor, secrets.token_bytes(KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):  # another process was faster
            os.link(unnamed, path)
        os.unlink(unnamed)
        sync_folder(path.parent)
        return path.read_bytes()
    except OSError as error:
        raise refusal(error, path) from error

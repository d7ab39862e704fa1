"""Pointers: small files beside the data, made for git and for review. Lines of `key = value`, in order of their keys.

# Kedge keeps this data; to get it: kedge data checkout
bytes = 204800000
dataset = "data-raw"
digest = "3f0c..."
files = 20000
kind = "folder"
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kedge.domain.ids import DatasetName, Digest
from kedge.domain.workspace import POINTER, Pointer
from kedge.errors import ConfigError
from kedge.storage.durable import refusal, sync_folder

HEAD = "# Kedge keeps this data; to get it: kedge data checkout"
_KEYS = frozenset({"bytes", "dataset", "digest", "files", "kind"})
_LONGEST = 64 << 10
_UNSEEN = frozenset({"node_modules", "__pycache__", "site-packages"})


def pointer_path(data: Path) -> Path:
    """Give the path of the pointer to some data."""
    return data.with_name(data.name + POINTER)


def write_pointer(data: Path, pointer: Pointer) -> None:
    """Write a pointer; a reader sees the old one or the new one. One that says the same stays untouched."""
    path, text = pointer_path(data), _text(pointer)
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            _part(data, "pointer").unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text, by=_part(data, "pointer"))
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError):
            raise refusal(error, path) from error
        raise ConfigError(f"{path} is no pointer of Kedge; move it out of the way") from error


def read_pointer(data: Path) -> Pointer | None:
    """Read a pointer; None where there is none. Raises ConfigError for one that cannot be read."""
    path = pointer_path(data)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if any(line.startswith(("<<<<<<<", ">>>>>>>")) for line in text.splitlines()):
        raise ConfigError(
            f"{path} has a merge conflict; take one side (`git checkout --ours {path.name}`, or --theirs),"
            " then kedge data checkout"
        )
    return parse_pointer(path, text)


def is_pointer(path: Path) -> bool:
    """Say whether a file is a pointer, by its first line."""
    try:
        with path.open("rb") as file:
            return file.read(len(HEAD)) == HEAD.encode()
    except OSError:
        return False


def find_pointers(root: Path) -> Iterator[Path]:
    """Find the data that pointers below a folder name, in the order of their paths. Folders of data are not walked."""
    try:
        with os.scandir(root) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return
    pointed = {name[: -len(POINTER)] for name, folder in names if not folder and name.endswith(POINTER) and name != POINTER}
    for name, folder in sorted(names):
        if folder:
            if name not in pointed and name[0] != "." and name not in _UNSEEN:
                yield from find_pointers(root / name)
        elif name.endswith(POINTER) and name != POINTER:
            yield root / name[: -len(POINTER)]


def ignore(data: Path) -> bool:
    """Have git ignore the data, where it lies in a git repository; True where the file was changed for it."""
    if not in_git(data.parent):
        return False
    path, line = data.parent / ".gitignore", f"/{_escaped(data.name)}"
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if line in (each.strip() for each in text.splitlines()):
            _part(data, "ignore").unlink(missing_ok=True)
            return False
        end = "" if not text or text.endswith("\n") else "\n"
        _replace(path, f"{text}{end}{line}\n", by=_part(data, "ignore"))
    except OSError as error:
        raise refusal(error, path) from error
    return True


def in_git(folder: Path) -> bool:
    """Say whether a folder lies in a git repository."""
    return any((place / ".git").exists() for place in (folder, *folder.parents))


def _part(data: Path, what: str) -> Path:
    """Name what is written before it takes a name: always the same, so that what a kill left is written over."""
    short = hashlib.blake2b(f"{data.name}/{what}".encode(), digest_size=6).hexdigest()
    return data.with_name(f".kedge-{short}.part")


def _replace(path: Path, text: str, *, by: Path) -> None:
    temporary = by
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _text(pointer: Pointer) -> str:
    said = {
        "bytes": pointer.bytes,
        "dataset": pointer.dataset,
        "digest": pointer.digest,
        "files": pointer.files,
        "kind": "folder" if pointer.folder else "file",
    }
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in sorted(said.items())]
    return "\n".join([HEAD, *lines]) + "\n"


def parse_pointer(path: Path, text: str) -> Pointer:
    """Read a pointer's text; `path` is for the error. Raises ConfigError."""
    said: dict[str, object] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, _, value = line.partition("=")
        try:
            said[key.strip()] = msgspec.json.decode(value)
        except ValueError:
            raise ConfigError(f"{path}, line {number}: write `key = value`, the value as in JSON") from None
    if missing := sorted(_KEYS - set(said)):
        raise ConfigError(f"{path} is no pointer of Kedge, or not whole: it lacks {', '.join(missing)}; add the data again")
    dataset, digest, files, size, kind = (said[key] for key in ("dataset", "digest", "files", "bytes", "kind"))
    if not isinstance(dataset, str) or not isinstance(digest, str) or kind not in ("file", "folder"):
        raise ConfigError(f'{path}: dataset and digest are texts, kind is "file" or "folder"; add the data again')
    if not isinstance(files, int) or not isinstance(size, int) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ConfigError(f"{path}: files and bytes are numbers, digest is 64 hex digits; add the data again")
    return Pointer(dataset=DatasetName(dataset), digest=Digest(digest), files=files, bytes=size, folder=kind == "folder")


def _escaped(name: str) -> str:
    """Write a name so that git takes it for itself and not for a pattern."""
    return "".join(f"\\{letter}" if letter in "*?[]\\!# " else letter for letter in name)

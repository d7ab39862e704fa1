"""A model's file or folder as a person names it, with the example beside it, as the files of a version."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from kedge.domain.paths import clean_path
from kedge.errors import RequestInvalid
from kedge.registry.preparing import ABOUT, About

MOST_FILES = 10_000


def given_files(path: Path, *, example: Path | None, about: About) -> dict[str, bytes]:
    """Read a model's file, or all files of its folder, and the example: by the names that its version will have.

    What `about` says goes into `kedge.json`, over what the folder's own says. Raises RequestInvalid for what cannot be read.
    """
    files = files_below(path)
    said = _said(files)
    if example is not None:
        name = f"example{example.suffix.lower()}"
        files[name] = _read(example)
        said = msgspec.structs.replace(said, example=name)
    if about.output:
        said = msgspec.structs.replace(said, output=about.output)
    if about.tolerance is not None:
        said = msgspec.structs.replace(said, tolerance=about.tolerance)
    if said != About():
        files[ABOUT] = msgspec.json.encode(said)
    return files


def files_below(path: Path) -> dict[str, bytes]:
    """Read a file, or all files of a folder, by their names in it. Raises RequestInvalid."""
    files = {name: _read(file) for name, file in _named(path)}
    if not files:
        raise RequestInvalid(f"there are no files in {str(path)!r}")
    return files


def _said(files: dict[str, bytes]) -> About:
    try:
        return msgspec.json.decode(files.get(ABOUT, b"{}"), type=About)
    except msgspec.DecodeError as error:
        raise RequestInvalid(f"{ABOUT} in the folder cannot be read: {error}") from error


def _named(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield clean_path(path.name), path
        return
    found = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    if len(found) > MOST_FILES:
        raise RequestInvalid(f"{str(path)!r} has {len(found):,} files; a model has at most {MOST_FILES:,}")
    for file in found:
        yield clean_path(file.relative_to(path).as_posix()), file


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestInvalid(f"{str(path)!r} cannot be read: {error.strerror}") from error

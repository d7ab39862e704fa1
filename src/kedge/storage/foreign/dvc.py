"""Data that DVC tracks: `.dvc` files (or `dvc.lock`) with their cache, read; and one version written as DVC keeps it.

x.dvc   outs: [{path, md5, hash: md5, size, nfiles}]        md5 of a folder ends with .dir
cache   files/md5/ab/cdef...   (before DVC 3: ab/cdef..., text hashed with its line ends made "\\n")
.dir    JSON: [{md5, relpath}, ...]
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from kedge.errors import ConfigError, NotFound, SourceFailed
from kedge.ports.workspace import Offer, SourceFile
from kedge.storage.durable import make_folder, refusal
from kedge.storage.foreign.fetching import Fetch, fetching

_PIECE = 1 << 20
_DIR = ".dir"
_TEXT = bytes([7, 8, 9, 10, 12, 13, 27]) + bytes(range(32, 256))
_LOOKED_AT = 512  # bytes by which DVC told text before its version 3


class _Written(msgspec.Struct):
    """An output as DVC writes it; YAML may read a name as a number."""

    path: str | int = ""
    md5: str | int = ""
    hash: str = ""
    nfiles: int = 1
    size: int = 0
    files: Any = None
    version_id: Any = None
    cloud: Any = None


class _Stage(msgspec.Struct):
    """A `.dvc` file, or one stage of a pipeline."""

    outs: list[_Written] | None = None
    wdir: str = "."


class _Lock(msgspec.Struct):
    """A `dvc.lock`."""

    stages: dict[str, _Stage] = {}


class _Out(NamedTuple):
    """One output that DVC tracks. `legacy` is from before DVC 3."""

    path: Path
    md5: str
    legacy: bool
    files: int
    bytes: int


def offers(path: Path, root: Path, *, cache: str = "", remote: str = "", scratch: Callable[[], Path]) -> list[Offer]:
    """Read what a `.dvc` file, a `dvc.lock` or a folder of `.dvc` files tracks, below a project's root.

    Objects come from `cache`, else the cache that DVC's settings name; those that are not there from `remote` (a folder or
    a URL), else DVC's own default remote, into `scratch`. Raises SourceFailed, NotFound, ConfigError.
    """
    home = _home(path)
    settings = _settings(home)
    folder = Path(cache).absolute() if cache else home / ".dvc" / settings.get("cache", "dir", fallback="cache")
    caches = _Cache(folder, fetch=fetching(remote or _remote(home, settings)), scratch=scratch)
    found = [out for file in _tracking(path) for out in _outs(file)]
    if not found:
        raise SourceFailed(f"{path} tracks nothing that has an md5; run `dvc status` there")
    return [_offer(out, root, cache=caches) for out in found]


def write(files: Iterator[tuple[str, Path]], *, name: str, folder: bool, home: Path) -> Path:
    """Write files into a DVC cache, with a `.dvc` file that names them: `dvc checkout` brings them. Files are moved.

    Give the path of the `.dvc` file. Raises StoreFull, StoreBroken, ConfigError.
    """
    cache = home / ".dvc" / "cache" / "files" / "md5"
    listed: list[dict[str, str]] = []
    total = 0
    try:
        make_folder(cache)
        for relative, path in files:
            md5, size = _md5(path), path.stat().st_size
            _place(path, cache / md5[:2] / md5[2:])
            listed.append({"md5": md5, "relpath": relative})
            total += size
        out: dict[str, Any] = {"md5": listed[0]["md5"], "size": total, "hash": "md5", "path": name}
        if folder:
            listed.sort(key=lambda one: one["relpath"])
            listing = json.dumps(listed, sort_keys=True).encode()
            md5 = hashlib.md5(listing, usedforsecurity=False).hexdigest() + _DIR
            temporary = cache / f".kedge-{secrets.token_hex(6)}.part"
            temporary.write_bytes(listing)
            _place(temporary, cache / md5[:2] / md5[2:])
            out |= {"md5": md5, "nfiles": len(listed)}
        pointer = home / f"{name}.dvc"
        temporary = home / f".kedge-{secrets.token_hex(6)}.part"
        temporary.write_text(yaml.safe_dump({"outs": [out]}, sort_keys=False), encoding="utf-8")
        temporary.replace(pointer)
    except OSError as error:
        raise refusal(error, cache) from error
    return pointer


class _Cache:
    """Objects by md5, from a folder, else from a remote."""

    def __init__(self, folder: Path, *, fetch: Fetch | None, scratch: Callable[[], Path]) -> None:
        self._folder, self._fetch, self._scratch = folder, fetch, scratch

    def find(self, md5: str, *, legacy: bool) -> Path:
        """Give the path of an object, whole and verified. Raises NotFound, SourceFailed."""
        names = [f"files/md5/{md5[:2]}/{md5[2:]}", f"{md5[:2]}/{md5[2:]}"]
        for name in reversed(names) if legacy else names:
            if (path := self._folder / name).is_file():
                return _verified(path, md5, legacy=legacy)
        if self._fetch is not None:
            target = self._scratch() / md5
            for name in reversed(names) if legacy else names:
                if target.is_file() or self._fetch(name, target):
                    return _verified(target, md5, legacy=legacy)
        where = f" or its remote {self._fetch.url}" if self._fetch else ""
        raise NotFound(
            f"object {md5} is not in DVC's cache {self._folder}{where}; run `dvc pull` there, or give --cache or --remote"
        )

    def is_linked(self, path: Path) -> bool:
        """Say whether a link into the cache lies there; any other link is somebody's own."""
        return path.is_symlink() and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self._folder))


def _offer(out: _Out, root: Path, *, cache: _Cache) -> Offer:
    if not out.path.is_relative_to(root):
        raise ConfigError(f"{out.path} is not below the project's folder {root}; run this in the project that it belongs to")
    place = out.path.relative_to(root).as_posix()
    folder = out.md5.endswith(_DIR)

    def files() -> Iterator[SourceFile]:
        if not folder:
            yield SourceFile(out.path.name, cache.find(out.md5, legacy=out.legacy), cache.is_linked(out.path))
            return
        listing = cache.find(out.md5, legacy=False)
        for relative, md5 in sorted(_listed(listing, out.md5)):
            yield SourceFile(relative, cache.find(md5, legacy=out.legacy), cache.is_linked(out.path / relative))

    return Offer(place=place, folder=folder, what=f"dvc:{out.md5}", files=files, expected=out.files, bytes=out.bytes)


def _listed(listing: Path, md5: str) -> Iterator[tuple[str, str]]:
    try:
        entries = json.loads(listing.read_bytes())
        for entry in entries:
            relative, digest = entry["relpath"], entry["md5"]
            if any(part in ("", ".", "..") for part in relative.split("/")) or "\\" in relative or not _is_md5(digest):
                raise SourceFailed(f"DVC's listing {md5} names {relative!r}, which leads out of its folder or is no file's")
            yield relative, digest
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SourceFailed(f"{listing} is no listing of DVC: {error}; run `dvc fetch` there") from error


def _tracking(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(files) if name.endswith(".dvc") or name == "dvc.lock")
    else:
        raise NotFound(f"{path} does not exist; name a .dvc file, a dvc.lock, or a folder with them")


def _outs(path: Path) -> Iterator[_Out]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceFailed(f"{path} cannot be read as YAML: {error}") from error
    kind: Any = _Lock if path.name == "dvc.lock" else _Stage
    try:
        tracked: _Lock | _Stage = msgspec.convert({} if content is None else content, kind)
    except msgspec.ValidationError as error:
        raise SourceFailed(f"{path} is not as DVC writes it: {error}; run `dvc status` there") from None
    stages = list(tracked.stages.values()) if isinstance(tracked, _Lock) else [tracked]
    for stage in stages:
        for out in stage.outs or ():
            if not out.path:
                raise SourceFailed(f"{path} has an output without a path; write it anew with `dvc add` there")
            md5 = str(out.md5)
            if not md5:
                if (out.files, out.version_id, out.cloud) != (None, None, None):
                    raise SourceFailed(f"{path}: {out.path} is versioned by a cloud; `dvc pull` it, then add it")
                continue
            if not _is_md5(md5.removesuffix(_DIR)):
                raise SourceFailed(f"{path}: {md5!r} is no md5")
            place = Path(os.path.normpath(path.parent / stage.wdir / str(out.path)))
            yield _Out(place, md5, legacy=out.hash != "md5", files=out.nfiles, bytes=out.size)


def _home(path: Path) -> Path:
    """Find the DVC repository that a file lies in; else its own folder."""
    start = path if path.is_dir() else path.parent
    return next((folder for folder in (start, *start.parents) if (folder / ".dvc").is_dir()), start)


def _settings(home: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read([home / ".dvc" / "config", home / ".dvc" / "config.local"], encoding="utf-8")
    except configparser.Error as error:
        raise ConfigError(f"{home / '.dvc' / 'config'} cannot be read: {error}") from error
    return parser


def _remote(home: Path, settings: configparser.ConfigParser) -> str:
    name = settings.get("core", "remote", fallback="")
    url = settings.get(f"'remote \"{name}\"'", "url", fallback="") if name else ""
    return url if "://" in url or not url else str(home / ".dvc" / url)


def _verified(path: Path, md5: str, *, legacy: bool) -> Path:
    wanted = md5.removesuffix(_DIR)
    try:
        if _md5(path) == wanted or (legacy and _md5_of_text(path) == wanted):
            return path
    except OSError as error:
        raise SourceFailed(f"{path} cannot be read: {error.strerror}") from error
    raise SourceFailed(f"{path} is not what DVC wrote: its md5 is not {wanted}; remove it and run `dvc fetch` there")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _md5_of_text(path: Path) -> str:
    """Hash as DVC did before its version 3: of what looks like text, line ends count as "\\n"."""
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
        if b"\0" in head or (head and len(head.translate(None, _TEXT)) / len(head) > 0.3):
            return ""
        file.seek(0)
        while piece := file.read(_PIECE):
            found.update(piece.replace(b"\r\n", b"\n"))
    return found.hexdigest()


def _place(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        path.unlink()
    else:
        shutil.move(path, target)
        target.chmod(0o444)


def _is_md5(text: object) -> bool:
    return isinstance(text, str) and len(text) == 32 and not set(text) - set("0123456789abcdef")

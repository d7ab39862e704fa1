"""The user's project folder: its code loaded by name, the commit it stands at, and what it runs in.

A project's files run as scripts do: each may import its siblings by their plain names. Where one process looks at
several projects, the plain names belong to the one that loaded last; the modules themselves never mix.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from kedge.domain.ids import digest_bytes, digest_of
from kedge.domain.tracking import Code, Environment
from kedge.errors import ConfigError, KedgeError

_loading = threading.RLock()
_in_front: list["FolderProject"] = []  # whose plain names stand in sys.modules: one project at most
_looked_at: list[Environment] = []
_OURS = ("*.py", "*.toml", ":(exclude,glob)**/.*/**")


class FolderProject:
    """A project in a folder. A file that changes after it was loaded is seen by the next process."""

    def __init__(self, root: Path) -> None:
        self._root = Path(root).resolve()
        self._modules: dict[str, ModuleType] = {}

    def load(self, reference: str) -> Any:
        """Load "FILE.py:NAME". Raises ConfigError with the file, the line and what is missing."""
        file, _, name = reference.partition(":")
        if not file.endswith(".py") or not name.isidentifier():
            raise ConfigError(f'{reference!r} does not name code of the project; write it as "FILE.py:NAME"')
        path = (self._root / file).resolve()
        if not path.is_relative_to(self._root):
            raise ConfigError(f"{reference}: {path} lies outside the project {self._root}; name a file inside it")
        if not path.is_file():
            raise ConfigError(f"{reference}: there is no file {path}{_offer(self._names('.py'))}")
        with _loading:
            module = self._module(path)
        if not hasattr(module, name):
            raise ConfigError(f"{reference}: {path} defines no {name}{_offer(_defined(module))}")
        return getattr(module, name)

    def make(self, reference: str) -> Any:
        """Load "FILE.py:NAME", and where it is a function give what it returns. Raises ConfigError."""
        found = self.load(reference)
        if not isinstance(found, FunctionType):
            return found
        try:
            return found()
        except KedgeError:
            raise
        except Exception as error:  # the project's own code may raise anything
            file = Path(found.__code__.co_filename)
            said = f"{type(error).__name__}: {error} ({file}, line {_line(error, file)})"
            raise ConfigError(f"{reference} raised {said}") from error

    def code(self) -> Code:
        """Name the code as it stands: commit, whether a *.py or *.toml below the folder differs from it, their digest."""
        commit, dirty = _git(self._root)
        files = [(name, digest_bytes((self._root / name).read_bytes())) for name in self._names(".py", ".toml")]
        return Code(commit=commit, dirty=dirty, digest=digest_of("code", files))

    def environment(self) -> Environment:
        """Name what the code runs in; looked at once in a process."""
        if not _looked_at:
            _looked_at.append(_look())
        return _looked_at[0]

    def _names(self, *suffixes: str) -> list[str]:
        """List files below the folder, relative and sorted, without those in hidden folders and environments."""
        found: list[str] = []
        for folder, folders, files in os.walk(self._root):
            folders[:] = [name for name in folders if not _is_foreign(Path(folder, name))]
            found += (Path(folder, name).relative_to(self._root).as_posix() for name in files if name.endswith(suffixes))
        return sorted(found)

    def _module(self, path: Path) -> ModuleType:
        self._come_to_front()
        name = ".".join(path.relative_to(self._root).with_suffix("").parts)
        if name not in self._modules:
            before = set(sys.modules)
            own = name if self._is_free(name) else f"kedge_project_{digest_of(str(self._root))[:12]}.{name}"
            module = _run(path, own)
            siblings = {added: sys.modules[added] for added in set(sys.modules) - before if self._holds(sys.modules[added])}
            self._modules |= {**siblings, name: module}
        return self._modules[name]

    def _come_to_front(self) -> None:
        """Give the plain names, and the last place of the import path, to this project."""
        importlib.invalidate_caches()
        if _in_front and _in_front[0] is not self:
            _in_front.pop()._step_back()
        if not _in_front:
            _in_front.append(self)
            sys.path.append(str(self._root))  # last: a project's random.py must not hide Python's
            sys.modules.update({module.__name__: module for module in self._modules.values()})

    def _step_back(self) -> None:
        sys.path.remove(str(self._root))
        for module in self._modules.values():
            sys.modules.pop(module.__name__, None)

    def _is_free(self, name: str) -> bool:
        """Tell whether a plain name means nothing else to Python."""
        top = name.partition(".")[0]
        if name in sys.modules or (top in sys.modules and not self._holds(sys.modules[top])):
            return False
        spec = importlib.util.find_spec(top)
        places = [spec.origin, *(spec.submodule_search_locations or ())] if spec is not None else []
        return all(place is None or Path(place).is_relative_to(self._root) for place in places)

    def _holds(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        if file is None or not Path(file).is_relative_to(self._root):
            return False
        inside = [folder for folder in Path(file).parents if folder.is_relative_to(self._root) and folder != self._root]
        return not any(_is_foreign(folder) for folder in inside)


def _run(path: Path, name: str) -> ModuleType:
    """Run a file as a module, from its source: a cached compilation may be older by less than a second."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ConfigError(f"{path} cannot be loaded as Python code")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - the project's own code
    except (Exception, SystemExit) as error:  # the project's own code may raise anything
        del sys.modules[name]
        raise ConfigError(f"{path}, line {_line(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _line(error: BaseException, path: Path) -> int:
    """Find the line of a file that an error comes from."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _defined(module: ModuleType) -> list[str]:
    """List the public names that a module defines itself."""
    public = ((name, value) for name, value in vars(module).items() if not name.startswith("_"))
    own = ((name, value) for name, value in public if getattr(value, "__module__", module.__name__) == module.__name__)
    return [name for name, value in own if not isinstance(value, ModuleType)]


def _offer(names: Iterable[str]) -> str:
    listed = list(names)[:10]
    return f"; there is {', '.join(listed)}" if listed else ""


def _is_foreign(folder: Path) -> bool:
    """Tell whether a folder below the project is not its code: hidden, or an environment, or a cache."""
    return folder.name.startswith(".") or folder.name in ("__pycache__", "node_modules") or (folder / "pyvenv.cfg").exists()


def _git(root: Path) -> tuple[str | None, bool]:
    """Ask git for the commit (None outside a repository) and whether code below the folder differs from it."""
    command = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--untracked-files=all", "--", *_OURS]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # a status must not lock out the user's own git
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=environment)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None, False
    lines = asked.stdout.splitlines()
    commits = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if asked.returncode or not commits or not commits[0].isalnum():
        return None, False  # no repository, or "(initial)": a repository without a commit
    return commits[0], any(not line.startswith("#") for line in lines)


def _look() -> Environment:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{sys.platform}-{platform.machine()}"
    packages = tuple(sorted({f"{found.name}=={found.version}" for found in importlib.metadata.distributions()}))
    return Environment(python=python, platform=machine, packages=packages, digest=digest_of(python, machine, packages))

"""Where a process works: the only reader of environment variables. Light to import: a training script pays for it."""

import os
from pathlib import Path

import msgspec

from kedge.domain.sizes import bytes_of
from kedge.errors import ConfigError

UPLOAD_LIMIT = 10 << 30


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where this process works: the project's folder, the store (a folder or a database URL), the API token.

    `server` is the address of a control plane that a script logs to; "" where it writes into the store itself.
    `upload_limit` is how large one file may be that is sent to the server, in bytes. `trust` is the file that says whose
    code may run, "" for the project's own trust.toml.
    """

    project: Path
    store: str
    token: str = ""
    server: str = ""
    upload_limit: int = UPLOAD_LIMIT
    trust: str = ""

    @property
    def folder(self) -> Path:
        """Give the folder for files: the store itself, or `.kedge` in the project where the store is a database."""
        return self.project / ".kedge" if "://" in self.store else Path(self.store)

    @property
    def has_store(self) -> bool:
        """Tell whether there is a store; a database is taken to be one."""
        return "://" in self.store or (self.folder / "kedge.db").is_file()

    @property
    def url(self) -> str:
        """Give the metadata store's URL."""
        return self.store if "://" in self.store else f"sqlite:///{Path(self.store) / 'kedge.db'}"


def settings(project: Path, *, store: str | None = None, server: str | None = None) -> Settings:
    """Read the settings: `store` if given, else KEDGE_STORE, else `.kedge` in the project; `server` if given, else KEDGE_URL
    unless a store is given; KEDGE_TOKEN; KEDGE_UPLOAD_LIMIT; KEDGE_TRUST.

    Raises ConfigError.
    """
    chosen = store or os.environ.get("KEDGE_STORE") or str(project / ".kedge")
    address = server if server is not None else "" if store else os.environ.get("KEDGE_URL", "")
    return Settings(
        project=project.resolve(),
        store=chosen,
        token=os.environ.get("KEDGE_TOKEN", ""),
        server=address,
        upload_limit=_bytes_in("KEDGE_UPLOAD_LIMIT", UPLOAD_LIMIT),
        trust=os.environ.get("KEDGE_TRUST", ""),
    )


def secret_in(variable: str, file: str = "", *, folder: Path | None = None) -> str:
    """Read a secret from an environment variable, or from a file (of `folder`, if its path is relative).

    Raises ConfigError where it is not there, or neither is named.
    """
    if variable:
        if value := os.environ.get(variable, "").strip():
            return value
        raise ConfigError(f"the environment variable {variable}, which should hold a secret, is not set")
    if not file:
        raise ConfigError('no secret is named: write secret_env = "VARIABLE" or secret_file = "PATH"')
    path = (folder or Path()) / file
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}, which should hold a secret, cannot be read: {error}") from None
    if not value:
        raise ConfigError(f"{path}, which should hold a secret, is empty")
    return value


def webhook_secret(name: str) -> str:
    """Read the secret of a webhook: KEDGE_WEBHOOK_NAME, its name in capitals, "-" and "." as "_". "" where there is none."""
    return os.environ.get("KEDGE_WEBHOOK_" + name.upper().replace("-", "_").replace(".", "_"), "")


def project_root(start: Path) -> Path:
    """Find the project that a folder belongs to: the nearest one above it with a `.kedge` or a `kedge.toml`, else itself."""
    here = start.resolve()
    homes = (folder for folder in (here, *here.parents) if (folder / "kedge.toml").is_file() or (folder / ".kedge").is_dir())
    return next(homes, here)


def remote_of(project: Path, *, given: str = "") -> str:
    """Name the bucket that a project's data is shared in: as given, else KEDGE_REMOTE, else `project.remote` in kedge.toml.

    Raises ConfigError where none of them says it.
    """
    if url := given or os.environ.get("KEDGE_REMOTE", ""):
        return url
    import tomllib

    path = project / "kedge.toml"
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {}) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    url = section.get("remote", "") if isinstance(section, dict) else ""
    if not isinstance(url, str) or not url:
        raise ConfigError(
            "no bucket is named: give --remote, set KEDGE_REMOTE, or write"
            f' remote = "s3://BUCKET/FOLDER" under [project] in {path}'
        )
    return url


def _bytes_in(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    try:
        return bytes_of(text) if text else default
    except ValueError as error:
        raise ConfigError(f"{variable}: {error}") from None

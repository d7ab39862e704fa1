"""`kedge models key`, `sign` and `verify`: packages of code, and whose signature lets them run."""

import os
from pathlib import Path
from typing import Annotated

import typer

from kedge.cli.options import Json, print_json
from kedge.client.folders import files_below
from kedge.config import read_trust, settings
from kedge.errors import RequestInvalid
from kedge.security.signing import SIGNATURE, make_key
from kedge.security.signing import sign as signed
from kedge.security.signing import verify as verified

_ABOUT = {SIGNATURE, "kedge.json"}
Folder = Annotated[Path, typer.Argument(help="The package's folder.")]


def key(
    name: Annotated[str, typer.Argument(help="Who signs with it, such as ana.")],
    folder: Annotated[Path, typer.Option(help="Where to write the two files.")] = Path(),
) -> None:
    """Make a key pair: NAME.key to sign with, kept secret; NAME.pub for those who trust it."""
    if not name.isidentifier():
        raise RequestInvalid(f"{name!r} cannot be a key's name; use letters, digits and _")
    private, public = make_key()
    path = folder / f"{name}.key"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
        (folder / f"{name}.pub").write_text(public + "\n")
    except OSError as error:
        raise RequestInvalid(f"{str(path)!r} cannot be written: {error.strerror}; no key is ever overwritten") from error
    typer.echo(f'{path} is secret: sign with it. Whoever trusts it writes into trust.toml:\n\n[keys]\n{name} = "{public}"')


def sign(
    folder: Folder,
    private: Annotated[Path, typer.Option("--key", help="The private key's file.")],
    name: Annotated[str, typer.Option(help="The package's name.")],
    runs: Annotated[
        str, typer.Option("--class", help="What answers: MODULE:CLASS with load(folder) and predict(inputs).")
    ] = "",
    pickle: Annotated[str, typer.Option(help="Or the file of a pickle that answers.")] = "",
) -> None:
    """Sign a package's files: signature.json is written beside them, over the digest of each."""
    files = {path: data for path, data in files_below(folder).items() if path not in _ABOUT}
    module, colon, made = runs.partition(":")
    if bool(runs) == bool(pickle):
        raise RequestInvalid("say what answers: --class MODULE:CLASS, or --pickle FILE")
    if runs and not (colon and made.isidentifier() and f"{module.replace('.', '/')}.py" in files):
        raise RequestInvalid(f"--class {runs!r} is not MODULE:CLASS of a .py file in {str(folder)!r}")
    if pickle and pickle not in files:
        raise RequestInvalid(f"there is no file {pickle!r} in {str(folder)!r}")
    try:
        secret = private.read_bytes()
    except OSError as error:
        raise RequestInvalid(
            f"{str(private)!r} cannot be read: {error.strerror}; make one with `kedge models key`"
        ) from error
    (folder / SIGNATURE).write_bytes(signed(files, secret, name=name, runs=runs, pickle=pickle))
    what = f'classes = ["{name}/{runs}"]' if runs else f'pickles = ["{name}"]'
    typer.echo(f"{len(files)} files of {name} are signed. It runs where trust.toml has the key and\n\n{what}")


def verify(
    folder: Folder,
    project: Annotated[Path, typer.Option("--project", help="The project, for its trust.toml.")] = Path(),
    as_json: Json = False,
) -> None:
    """Check a package's signature and files against trust.toml."""
    package, signer = verified(files_below(folder), read_trust(settings(project)))
    if as_json:
        print_json({"package": package, "signer": signer})
    else:
        typer.echo(f"{package.name} is as {signer} signed it: {len(package.files)} files")

"""`kedge data verify`: every byte against its name; what is damaged is named, and fetched from a bucket that has it."""

from pathlib import Path

import typer

from kedge.cli.data.opening import recorded
from kedge.cli.data.sharing import Remote
from kedge.cli.options import Json, Store, print_json
from kedge.cli.progress import HowFar
from kedge.data.upkeep.healing import Harm, Struck, Verified
from kedge.domain.counts import count, size
from kedge.errors import ConfigError
from kedge.settings import project_root, remote_of

DAMAGED = 3
_SHOWN = 50  # damaged places, and files of one


def verify(remote: Remote = "", store: Store = None, as_json: Json = False) -> None:
    """Read all bytes of the store against their names; fetch what is damaged from a bucket. Exit code 3: damage is left."""
    url = _remote(remote)
    with recorded(store) as records:
        bucket = records.bucket(url) if url else None
        with HowFar("verifying", unit="chunks") as shown:
            found = records.healing.verify(told=shown.told, expect=shown.expect_all, bucket=bucket)
    if as_json:
        print_json(found)
    else:
        _print(found, url=url)
    if found.left:
        raise typer.Exit(DAMAGED)


def _remote(given: str) -> str:
    try:
        return remote_of(project_root(Path()), given=given)
    except ConfigError:
        return ""  # then damage is only named


def _print(found: Verified, *, url: str) -> None:
    for harm in found.harms[:_SHOWN]:
        _print_harm(harm)
    if len(found.harms) > _SHOWN:
        typer.echo(f"and {len(found.harms) - _SHOWN:,} more; all of them: --json")
    read = f"{count(found.chunks, 'chunk')}, {size(found.bytes)} read"
    mended = len(found.harms) - found.left
    if not found.harms:
        typer.echo(f"{read}: nothing is damaged")
        return
    typer.echo(f"{read}: {len(found.harms):,} damaged" + (f", {mended:,} of them fetched anew from {url}" if mended else ""))
    if found.unreachable:
        typer.echo(f"error: {found.unreachable}", err=True)
    elif found.left and not url:
        typer.echo("fetch them from a bucket that has them: kedge data verify --remote URL", err=True)
    elif found.left:
        typer.echo(
            f"{url} does not have {count(found.left, 'chunk')} whole: push from a store that has them, name another bucket,"
            " or put the packs back from a backup",
            err=True,
        )


def _print_harm(harm: Harm) -> None:
    state = "mended" if harm.mended else "DAMAGED"
    typer.echo(f"{state} {harm.pack}, {count(harm.bytes, 'byte')} at offset {harm.offset:,}: {harm.reason}")
    for struck in harm.named:
        typer.echo(f"  {_said(struck)}")
    if harm.more:
        typer.echo(f"  and {count(harm.more, 'file')} more")
    if harm.others:
        typer.echo(f"  and {count(harm.others, 'content')} that no dataset names: of a run, a model, or nobody any more")


def _said(struck: Struck) -> str:
    numbers = ", ".join(f"v{number}" for number in struck.versions[:5])
    more = f" and {len(struck.versions) - 5:,} more" if len(struck.versions) > 5 else ""
    return f"{struck.dataset} {numbers}{more}: {struck.file or 'its rows, or its list of files'}"

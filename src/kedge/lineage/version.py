"""What stands behind a registered version, whoever registered it: the walk from its files back to code and data.

    files -> registration -> copied from -> gate verdict -> moves -> run -> code -> environment -> params -> datasets
A version of the loop has all of them; one that a client registered has what its run and its MLmodel file say.
"""

from __future__ import annotations

from collections.abc import Sequence

from kedge.domain.ids import Digest, digest_of
from kedge.domain.lineage import Link
from kedge.domain.registry import CatalogVersion, HistoryEntry
from kedge.domain.tracking import CONTEXT_TAG, DatasetInput, RunDetail
from kedge.errors import NotFound, StoreBroken
from kedge.ports import BlobStore

_COMMITS = ("mlflow.source.git.commit", "kedge.git.commit")
_CODE_TAGS = (
    "mlflow.source.name",
    "mlflow.source.type",
    "mlflow.source.git.branch",
    "mlflow.source.git.repoURL",
    "kedge.command",
    "kedge.git.branch",
    "kedge.git.dirty",
)
_PLACE_TAGS = ("kedge.python", "kedge.platform", "kedge.host")


def files_link(version: CatalogVersion, blobs: BlobStore) -> Link:
    """Tell what was registered, its files read again."""
    verified, check = _files_hold(version.digest, blobs)
    facts = version.facts
    shown = {
        "number": version.number,
        "source": version.source,
        "files": facts.files or None,
        "bytes": facts.size or None,
        "flavors": ", ".join(facts.flavors) or None,
        "made with": facts.made_with or None,
        "example": facts.example or None,
        "stage": version.stage.value,
        "aliases": ", ".join(version.aliases) or None,
        **{f"signature {name}": text for name, text in facts.signature.items()},
    }
    if facts.fault:
        shown["fault"] = facts.fault
    return Link(
        title="model version",
        summary=f"Version {version.number} of {version.model}, registered from {version.source}.",
        verified=verified,
        check=check,
        digest=version.digest or "",
        facts={name: value for name, value in shown.items() if value is not None},
    )


def registration_link(version: CatalogVersion) -> Link:
    """Tell who registered it, and when."""
    return Link(
        title="registration",
        summary=f"{version.actor} registered it at {version.created_at:%Y-%m-%d %H:%M} UTC.",
        verified=None,
        check="The event of its registration stands in the audit chain.",
        facts={
            "actor": version.actor,
            "at": version.created_at.isoformat(),
            **({"description": version.description} if version.description else {}),
            **version.tags,
        },
    )


def unjudged_link(version: CatalogVersion) -> Link:
    """Tell that no gate has judged what a client registered."""
    return Link(
        title="gate verdict",
        summary=f"No gate has judged version {version.number}: it was registered by hand or by a client.",
        verified=None,
        check="Only versions of the loop pass a gate.",
    )


def moves_link(version: CatalogVersion, history: Sequence[HistoryEntry]) -> Link:
    """Tell which aliases and stages it had, by whom and why."""
    named = [entry for entry in history if version.number in (entry.number, entry.previous)]
    return Link(
        title="moves",
        summary=f"{len(named)} moves of aliases and stages name it." if named else "No alias or stage has named it yet.",
        verified=None,
        check="Each move is an event in the audit chain.",
        facts={f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.kind} {entry.name}": _told(entry) for entry in named},
    )


def client_run_links(version: CatalogVersion, detail: RunDetail) -> tuple[Link, ...]:
    """Tell of a run that a client logged: itself, its code, its environment, its params, the datasets it read."""
    run = detail.run
    commit = next((run.tags[name] for name in _COMMITS if run.tags.get(name)), None)
    code = {name: run.tags[name] for name in _CODE_TAGS if name in run.tags}
    place = {name: run.tags[name] for name in _PLACE_TAGS if name in run.tags}
    listed = ", ".join(f"{name} = {value}" for name, value in sorted(run.params.items())[:20])
    return (
        Link(
            title="run",
            summary=f"Run {run.id} ({run.name}) made it.",
            verified=run.id == version.run,
            check="The version names this run.",
            facts={
                "run": run.id,
                "name": run.name,
                "status": run.status.value,
                "user": run.user,
                "started_at": run.started_at.isoformat(),
                "lifecycle": run.lifecycle.value,
                **run.metrics,
            },
        ),
        Link(
            title="code",
            summary=f"It ran the code of commit {commit}." if commit else "Its run names no commit.",
            verified=None,
            check="The client's run says so.",
            digest=commit or "",
            facts=dict(code),
        ),
        Link(
            title="environment",
            summary="What the code ran in, as its run tells." if place else "Its run says nothing of its environment.",
            verified=None,
            check="The client's run says so.",
            facts=dict(place),
        ),
        Link(
            title="params",
            summary=f"Params: {listed or 'none'}.",
            verified=None,
            check="The client's run says so; a param never changes once it is logged.",
            digest=digest_of(run.params),
            facts=dict(run.params),
        ),
        *(_dataset_input_link(one) for one in detail.datasets),
    )


def _dataset_input_link(one: DatasetInput) -> Link:
    context = one.tags.get(CONTEXT_TAG, "")
    return Link(
        title="dataset",
        summary=f"It read {one.name}{f' for {context}' if context else ''}.",
        verified=None,
        check="The client's run says so.",
        digest=one.digest,
        facts={"name": one.name, "source_type": one.source_type, "source": one.source, **one.tags},
    )


def _files_hold(digest: Digest | None, blobs: BlobStore) -> tuple[bool | None, str]:
    if digest is None:
        return None, "There were no files where its source points when it was registered."
    try:
        for file in blobs.files(digest):
            for _ in blobs.read(file.digest):
                pass
    except (NotFound, StoreBroken) as error:
        return False, f"Its files cannot be read: {error}"
    return True, "Its files were read, and are bit for bit what was registered."


def _told(entry: HistoryEntry) -> str:
    if entry.kind == "stage":
        return f"from {entry.before}, by {entry.actor}: {entry.reason}"
    where = f"to version {entry.number}" if entry.number is not None else "taken away"
    return f"{where}{f' from {entry.previous}' if entry.previous else ''}, by {entry.actor}: {entry.reason}"

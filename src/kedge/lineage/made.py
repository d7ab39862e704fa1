"""What stands behind a model version: its files, its verdict, who let it answer, and the run that made it.

Each function makes one link from values that were read; the reading and its failures are `explain.py`'s.
"""

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from kedge.domain.evaluation import Outcome, Verdict, conclude
from kedge.domain.ids import Digest, digest_of
from kedge.domain.lineage import Edge, Link, NodeKind
from kedge.domain.registry import AliasMove, ModelVersion
from kedge.domain.rollout import Deployment
from kedge.domain.tracking import Run, RunStatus


def verdict_link(version: ModelVersion, kept: Verdict | None, *, digest: Digest | None) -> Link:
    """Tell what the gate said. `kept` is the verdict that the registration's event names, `digest` its blob."""
    verdict = version.verdict
    passed = sum(finding.outcome is Outcome.PASSED for finding in verdict.findings)
    if digest is None:
        verified, check = None, "The registration's event names no verdict to compare with."
    elif kept != verdict or conclude(verdict.findings).outcome is not verdict.outcome:
        verified, check = False, "The verdict of the version is not the one that its registration's event names."
    else:
        verified, check = True, "The verdict is the one that the registration's event names, and follows from its findings."
    return Link(
        title="gate verdict",
        summary=f"The gate said {verdict.outcome.value}: {passed} of {len(verdict.findings)} findings passed.",
        verified=verified,
        check=check,
        digest=digest or digest_of(verdict),
        facts={_named(finding.check, finding.group): finding.reason for finding in verdict.findings},
    )


def approver_link(version: int, deployment: Deployment | None, *, moves: Sequence[AliasMove]) -> Link:
    """Tell who let a version answer: who started its trial, or who made it champion. `moves` are the alias's, oldest
    first, up to the answer."""
    move = next((one for one in reversed(moves) if one.number == version), None)
    on_trial = deployment is not None and deployment.challenger == version
    if deployment is not None and (on_trial or move is None):
        known = on_trial or deployment.champion == version
        return Link(
            title="approver",
            summary=f"{deployment.actor} let version {version} answer: {deployment.reason}.",
            verified=known,
            check=f"Deployment revision {deployment.revision} {'names' if known else 'does not name'} this version.",
            facts={"actor": deployment.actor, "reason": deployment.reason, "at": deployment.since.isoformat()},
        )
    if move is None:
        return Link(
            title="approver",
            summary=f"Nobody is known to have let version {version} answer.",
            verified=False,
            check="Neither a deployment nor a move of the champion alias names this version.",
        )
    unbroken = all(after.previous == before.number for before, after in pairwise(moves))
    return Link(
        title="approver",
        summary=f"{move.actor} made version {version} champion: {move.reason}.",
        verified=unbroken,
        check=f"The history of the alias, {len(moves)} moves, is {'unbroken' if unbroken else 'broken'}.",
        facts={"actor": move.actor, "reason": move.reason, "at": move.moved_at.isoformat(), "serial": move.serial},
    )


def run_link(run: Run, version: ModelVersion) -> Link:
    """Tell which run made the model."""
    same = run.status is RunStatus.FINISHED and version.digest in run.artifacts.values()
    return Link(
        title="run",
        summary=f"Run {run.id} ({run.name}) trained it in {run.usage.cpu_seconds:.1f} CPU seconds.",
        verified=same,
        check=f"The run's model {'is' if same else 'is not'} the registered one.",
        digest=run.content_key or "",
        facts={
            "run": run.id,
            "name": run.name,
            "status": run.status.value,
            "started_at": run.started_at.isoformat(),
            "cpu_seconds": run.usage.cpu_seconds,
            "candidate_run": version.candidate_run,
            **run.metrics,
        },
    )


def code_link(run: Run, edges: Sequence[Edge]) -> Link:
    """Tell which code ran."""
    code = run.code
    if code is None:
        return _unknown("code", f"Run {run.id} says nothing of the code that ran.")
    where = f"commit {code.commit}" if code.commit else "files outside a git repository"
    changed = ", changed since" if code.dirty else ""
    return Link(
        title="code",
        summary=f"It ran the project's code of {where}{changed}.",
        verified=_in_event(edges, NodeKind.CODE, digest=code.digest),
        check=_event_check(edges, NodeKind.CODE, digest=code.digest),
        digest=code.digest,
        facts={"commit": code.commit, "dirty": code.dirty},
    )


def environment_link(run: Run, edges: Sequence[Edge]) -> Link:
    """Tell what the code ran in."""
    environment = run.environment
    if environment is None:
        return _unknown("environment", f"Run {run.id} says nothing of what its code ran in.")
    return Link(
        title="environment",
        summary=f"Python {environment.python} on {environment.platform} with {len(environment.packages)} distributions.",
        verified=_in_event(edges, NodeKind.ENVIRONMENT, digest=environment.digest),
        check=_event_check(edges, NodeKind.ENVIRONMENT, digest=environment.digest),
        digest=environment.digest,
        facts={
            "python": environment.python,
            "platform": environment.platform,
            "packages": "\n".join(environment.packages),
        },
    )


def _unknown(title: str, summary: str) -> Link:
    return Link(title=title, summary=summary, verified=False, check="It was logged by a client that did not say.")


def params_link(run: Run, edges: Sequence[Edge]) -> Link:
    """Tell with which params it ran."""
    digest = digest_of(run.params)
    listed = ", ".join(f"{name} = {value}" for name, value in sorted(run.params.items()))
    return Link(
        title="params",
        summary=f"Params: {listed or 'none'}.",
        verified=_in_event(edges, NodeKind.PARAMS, digest=digest),
        check=_event_check(edges, NodeKind.PARAMS, digest=digest),
        digest=digest,
        facts=dict(run.params),
    )


def read_verdict(data: bytes) -> Verdict:
    """Read a verdict's blob. Raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=Verdict)


def _named(check: str, group: str) -> str:
    return f"{check} [{group}]" if group else check


def _in_event(edges: Sequence[Edge], kind: NodeKind, *, digest: Digest) -> bool | None:
    named = {edge.source.id for edge in edges if edge.source.kind is kind}
    return digest in named if named else None


def _event_check(edges: Sequence[Edge], kind: NodeKind, *, digest: Digest) -> str:
    match _in_event(edges, kind, digest=digest):
        case None:
            return f"The lineage graph has no {kind.value} of this run."
        case True:
            return "The event that the run wrote when it finished names the same digest."
        case _:
            return "The event that the run wrote when it finished names another digest."

"""Why this version answered: the deployment's revision, the entity's place in the split, and what followed."""

from kedge.domain.lineage import Link
from kedge.domain.rollout import Deployment, Strategy, position, takes_challenger
from kedge.lineage.prediction import Logged

TITLE = "route"


def route_link(logged: Logged, deployment: Deployment | None) -> Link:
    """Explain the choice of the version, the split computed again."""
    batch, row = logged.batch, logged.row
    version = batch.versions[row]
    if deployment is None:
        return Link(
            title=TITLE,
            summary=f"Version {version} answered under deployment revision {batch.revision}.",
            verified=False,
            check=f"Revision {batch.revision} of {batch.model} is not in the store.",
        )
    entity = batch.entity(row)
    expected, why = expect(deployment, entity)
    verified: bool | None
    verified, check = _compare(version, expected, errors=batch.errors, deployment=deployment)
    if not verified and batch.hidden:
        verified, check = None, "Personal columns are hidden in the log, perhaps the one that traffic is split by."
    return Link(
        title=TITLE,
        summary=f"Revision {deployment.revision} gave this row to version {expected}: {why}.",
        verified=verified,
        check=check,
        facts={
            "revision": deployment.revision,
            "strategy": deployment.strategy.value,
            "variant": "challenger" if version == deployment.challenger else "champion",
            "champion": deployment.champion,
            "challenger": deployment.challenger,
            "share": deployment.share,
            "position": position(deployment.salt, entity),
            "entity": entity,
            "since": deployment.since.isoformat(),
        },
    )


def expect(deployment: Deployment, entity: str) -> tuple[int, str]:
    """Compute which version answers an entity, and say why."""
    challenger = deployment.challenger
    if challenger is None:
        return deployment.champion, "nothing was on trial"
    if deployment.strategy is Strategy.SHADOW:
        return deployment.champion, f"challenger {challenger} only ran in its shadow"
    place, share = position(deployment.salt, entity), deployment.share
    if takes_challenger(deployment, entity):
        return challenger, f"the entity's place {place:.4f} is within the challenger's share {share:g}"
    return deployment.champion, f"the entity's place {place:.4f} is outside the challenger's share {share:g}"


def _compare(version: int, expected: int, *, errors: dict[int, str], deployment: Deployment) -> tuple[bool, str]:
    if version == expected:
        return True, "The split was computed again and gives the same version."
    if version == deployment.champion and expected in errors:
        return True, f"Version {expected} failed ({errors[expected]}), so the champion answered in its place."
    return False, f"The split computed again gives version {expected}, but version {version} answered."

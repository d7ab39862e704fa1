"""What is deployed now, as measuring needs it: the trial that runs, and with which revision it began."""

from kedge.domain.ids import ModelName
from kedge.domain.rollout import Deployment
from kedge.ports import Deployments


def trial_of(deployments: Deployments, model: ModelName) -> Deployment | None:
    """Find the deployment where a version is on trial now."""
    deployment = deployments.find(model)
    return deployment if deployment is not None and deployment.challenger is not None else None


def rollout_began(deployments: Deployments, model: ModelName) -> int:
    """Find the first revision of the running rollout: same champion, challenger and salt as the newest one."""
    deployment = deployments.find(model)
    while deployment is not None:
        before = deployments.find(model, deployment.revision - 1)
        same = before is not None and (before.champion, before.challenger, before.salt) == (
            deployment.champion,
            deployment.challenger,
            deployment.salt,
        )
        if not same:
            return deployment.revision
        deployment = before
    return 0

"""What routes are given, and the errors that each of them may answer.

A protocol cannot be checked at run time, so the house is taken as it comes.
"""

from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import SkipValidation

from kedge.domain.ids import ModelName
from kedge.registry.known import require_model
from kedge.server.comparing import Comparisons
from kedge.server.diffing import Diffs
from kedge.server.guard import Guard
from kedge.server.house import House
from kedge.server.problems import ErrorBody
from kedge.server.reading.scene import Scenes
from kedge.server.stream import Pulse
from kedge.web.render import Pages

TheHouse = NamedDependency[SkipValidation[House]]
TheScenes = NamedDependency[SkipValidation[Scenes]]
ThePages = NamedDependency[SkipValidation[Pages]]
ThePulse = NamedDependency[SkipValidation[Pulse]]
TheDiffs = NamedDependency[SkipValidation[Diffs]]
TheComparisons = NamedDependency[SkipValidation[Comparisons]]
TheGuard = NamedDependency[SkipValidation[Guard]]

ANSWERS = {
    status: ResponseSpec(ErrorBody, description=told)
    for status, told in {
        400: "The request does not fit.",
        401: "A token is asked for.",
        403: "The token's right does not reach that far.",
        404: "There is no such thing.",
        409: "Someone else was first.",
        500: "Kedge failed; its log tells why.",
    }.items()
}


def known(house: House, model: str) -> ModelName:
    """Give the name of a model there is. Raises NotFound, which names those there are."""
    return require_model(house.meta, ModelName(model), own=house.spec.name)

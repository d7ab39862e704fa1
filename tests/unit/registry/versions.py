"""A model version made of a candidate."""

from tests.unit.evaluation.toys import UPTO

from kedge.domain.evaluation import Finding, Outcome, conclude
from kedge.domain.ids import Digest, ModelName, RunId
from kedge.domain.registry import Candidate, ModelVersion

PASSED = conclude((Finding(check="beats baseline", outcome=Outcome.PASSED, reason="it does"),))


def version_of(candidate: Candidate, *, number=1, trained_upto=None) -> ModelVersion:
    return ModelVersion(
        model=ModelName("flights"),
        number=number,
        digest=candidate.digest,
        format=candidate.format,
        run=candidate.run,
        candidate_run=RunId(f"tested-{number}"),
        signature=candidate.signature,
        service="delay",
        verdict=PASSED,
        datasets=(Digest("d1"),),
        example=Digest("none"),
        trained_upto=trained_upto or candidate.trained_upto,
        registered_at=UPTO,
    )

"""The refit's agreement with the candidate that was tested: is the model that goes out the one that the gate let pass?

After the gate the pipeline trains again, with the newest rows. That refit has seen the rows it is compared on, so an
honest one cannot be worse on them, beyond noise: refused where its mean loss is more than 1 % *and* more than 1.645
standard errors (of the days) above the candidate's. And it should answer much like it: refused where the answers lie
farther apart (root mean square) than the candidate's own lie from the truth. That limit needs no scale, holds for
probabilities and numbers alike, and leaves room for a refit that learnt a sudden change; a fixed limit such as .1 in
probability would refuse right refits where concepts move fast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kedge.domain.evaluation import Finding, Outcome, Task
from kedge.evaluation.compare import compare
from kedge.evaluation.gate import CERTAINTY, Evidence, check_answers
from kedge.evaluation.metrics import Vector, loss_rows

AGREEMENT = "agreement"
MOST_WORSE = 0.01


def agreement(
    task: Task, y: Vector, *, refit: Vector, candidate: Vector, blocks: NDArray[np.int64], metric: str, threshold: float
) -> Finding:
    """Judge a refit's answers against the tested candidate's on the same rows: arrays (n,)."""
    usable = check_answers(Evidence(task=task, y=y, answers=refit, blocks=blocks))
    if usable.outcome is not Outcome.PASSED:
        return Finding(check=AGREEMENT, outcome=usable.outcome, reason=f"of the refit, {usable.reason}", rows=len(y))
    apart = float(np.sqrt(np.mean(np.square(refit - candidate))))
    limit = float(np.sqrt(np.mean(np.square(candidate - y))))
    found = compare(
        loss_rows(metric, y, p=refit, threshold=threshold),
        loss_rows(metric, y, p=candidate, threshold=threshold),
        blocks=blocks,
    )
    worse = found.relative > MOST_WORSE and not found.difference <= CERTAINTY * found.error
    side = "above" if found.relative > 0 else "below"
    reason = (
        f"the refit's {metric} is {abs(found.relative):.1%} {side} the tested candidate's {found.reference:.4g} on rows it "
        f"has seen (at most {MOST_WORSE:.0%} above), and its answers lie {apart:.3g} apart (at most {limit:.3g}, the "
        "candidate's error)"
    )
    outcome = Outcome.REFUSED if worse or apart > limit else Outcome.PASSED
    return Finding(check=AGREEMENT, outcome=outcome, reason=reason, measured=apart, limit=limit, rows=len(y))

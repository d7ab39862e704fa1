"""What a run records by itself of the script: code, command line, environment; secrets taken out. In a thread beside it."""

import random
import sys
from typing import TYPE_CHECKING

from kedge.client.life import FORKS
from kedge.client.values import LONGEST_TAG, text
from kedge.scripts import facts_of_script
from kedge.security.redact import redact

if TYPE_CHECKING:
    from kedge.client.run import ActiveRun


def describe(run: "ActiveRun") -> None:
    """Record commit, branch, the diff where files differ, command, host, Python and packages."""
    with FORKS.kept_off():
        facts = facts_of_script()
    run.set_tags({key: text(redact(value), longest=LONGEST_TAG) for key, value in facts.tags.items() if value})
    if facts.packages:
        run.keep_text("environment/packages.txt", "\n".join(facts.packages) + "\n")
    if facts.diff:
        run.keep_text("source/diff.patch", redact(facts.diff))


def seeded(seed: int) -> None:
    """Seed Python's generator, and NumPy's and PyTorch's where they are loaded."""
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)

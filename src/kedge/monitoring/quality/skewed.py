"""The bet that more than 1 % of the sampled rows are skewed: an e-detector over the windows that were sampled."""

import math

import msgspec
import numpy as np

TOLERANCE = 0.01
BETS = (0.1, 0.3, 0.9)


class SkewState(msgspec.Struct):
    """The logs of the evidence, a bet each; the step in which a sample was replayed last, and whether a row was skewed."""

    logs: list[float] = []
    step: int | None = None
    seen: bool = False

    @property
    def evidence(self) -> float:
        """Give the mean over the bets."""
        if len(self.logs) != len(BETS):
            return 0.0
        return float(math.exp(min(np.logaddexp.reduce(self.logs) - math.log(len(BETS)), 700.0)))

    def due(self, step: int) -> bool:
        """Say whether a sample is due: once a step, and in each window once a row was skewed, until none is."""
        return self.step != step or self.seen

    def bet(self, share: float) -> float:
        """Take a window's share in (M <- (M + 1) x (1 + bet x (share / tolerance - 1))); give the evidence.

        A window without a skewed row starts no new bet (no + 1), so that evidence never rises by it; less evidence keeps
        the run length that was declared.
        """
        self.seen = share > 0
        if not self.seen and not self.logs:
            return 0.0
        grown = np.log1p(np.array(BETS) * (share / TOLERANCE - 1))
        logs = np.array(self.logs) if len(self.logs) == len(BETS) else np.full(len(BETS), -np.inf)
        self.logs = ((np.logaddexp(logs, 0.0) if self.seen else logs) + grown).tolist()
        return self.evidence

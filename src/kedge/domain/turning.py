"""What came of a turn of the loop, or of a watch over it."""

import msgspec

from kedge.domain.evaluation import Verdict


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """Just one is set: steady (nothing to do, and why), released (the version now on trial or live), refused (the gate's
    verdict), failed (what stopped the turn)."""

    steady: str = ""
    released: int | None = None
    refused: Verdict | None = None
    failed: str = ""

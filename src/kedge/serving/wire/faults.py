"""What an error is on the wire of the data plane: one table for both doors.

    4xx is the caller's to mend, 422 the model's refusal of these rows, 503 is to be asked again, 500 is ours.
Any other KedgeError, and any other exception, is a fault of ours: the caller learns an incident's id, the log the rest.
"""

from typing import NamedTuple

from kedge.errors import (
    DeadlineExceeded,
    KedgeError,
    ModelRefused,
    NotFound,
    NothingDeployed,
    Overloaded,
    RequestInvalid,
)


class Fault(NamedTuple):
    """An error as HTTP and gRPC (the name of a `grpc.StatusCode`) say it."""

    status: int
    grpc: str


OURS = Fault(500, "INTERNAL")
FAULTS: dict[type[KedgeError], Fault] = {
    RequestInvalid: Fault(400, "INVALID_ARGUMENT"),
    NothingDeployed: Fault(503, "UNAVAILABLE"),  # before its parent
    NotFound: Fault(404, "NOT_FOUND"),
    ModelRefused: Fault(422, "FAILED_PRECONDITION"),
    Overloaded: Fault(503, "UNAVAILABLE"),
    DeadlineExceeded: Fault(504, "DEADLINE_EXCEEDED"),
}


def fault_of(error: BaseException) -> Fault:
    """Find what an error is on the wire."""
    return next((fault for kind, fault in FAULTS.items() if isinstance(error, kind)), OURS)


def retry_seconds(error: BaseException) -> int:
    """Tell after how many seconds it is worth to ask again what failed with a 503."""
    return error.seconds if isinstance(error, Overloaded) else 1

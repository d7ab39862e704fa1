"""The data plane's door for gRPC: the Open Inference Protocol v2 as its clients speak it. Needs the extra `grpc`."""

from typing import TYPE_CHECKING

from kedge.errors import ConfigError
from kedge.serving.wire.questions import ServingHost

if TYPE_CHECKING:
    from kedge.serving.grpc.door import GrpcDoor
    from kedge.serving.tracing import Traces


def open_door(
    host: ServingHost,
    *,
    token: str | None,
    version: str,
    body_limit: int,
    shared: bool = False,
    traces: "Traces | None" = None,
) -> "GrpcDoor":
    """Make the gRPC door over what answers; `shared` with other processes on its port; `traces` is told of inferences.

    Raises ConfigError where the extra is not installed.
    """
    try:
        from kedge.serving.grpc.door import GrpcDoor
    except ImportError as error:
        raise ConfigError(f"gRPC needs grpcio and protobuf ({error}): pip install 'kedge[grpc]'") from error
    return GrpcDoor(host, token=token, version=version, body_limit=body_limit, shared=shared, traces=traces)

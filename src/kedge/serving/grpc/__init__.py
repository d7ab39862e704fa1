"""The data plane's door for gRPC: the Open Inference Protocol v2 as its clients speak it. Needs the extra `grpc`."""

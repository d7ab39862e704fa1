"""OpenTelemetry: traces of requests."""

"""What the data plane counted, as Prometheus reads it (text format 0.0.4)."""

from collections.abc import Iterator

from kedge.prometheus import Labels, Sample, family, head, line
from kedge.serving.metrics import BOUNDS, Histogram
from kedge.serving.plane import Plane


def prometheus(plane: Plane) -> str:
    """Write all metrics of a plane."""
    return "\n".join(_lines(plane, {"model": plane.model})) + "\n"


def _lines(plane: Plane, model: Labels) -> Iterator[str]:
    metrics, log, active = plane.metrics, plane.log, plane.active
    for name, text, samples in (
        ("requests", "Inference requests by HTTP status.", _by(model, "code", counts=metrics.requests)),
        ("errors", "Inference requests answered with an error.", _by(model, "code", counts=_errors(metrics.requests))),
        ("rows", "Rows answered, by model version.", _by(model, "version", counts=metrics.rows)),
    ):
        yield from family(f"kedge_{name}_total", "counter", told=text, samples=samples)
    for name, text, count in (
        ("challenger_errors", "Rows that the version on trial failed on.", metrics.challenger_errors),
        ("repeated_requests", "Requests sent again, answered as before and counted once.", metrics.repeated),
        ("load_failures", "Attempts to load a revision that failed; the one before went on serving.", metrics.load_failures),
        ("log_gap_rows", "Rows answered that could not be logged.", log.gap_rows),
        ("log_sync_failures", "Syncs of the prediction log that failed.", log.sync_failures),
    ):
        yield from family(f"kedge_{name}_total", "counter", told=text, samples=[(model, count)])
    for name, text, value in (
        ("revision", "The deployment's revision that answers; 0 for none.", active.deployment.revision if active else 0),
        ("revision_wanted", "The newest revision that was tried.", plane.wanted),
        ("trial_share", "The share of traffic on trial.", active.deployment.share if active else 0.0),
        ("log_lag_rows", "Rows logged that are not yet synced.", log.lag_rows),
        ("log_lag_seconds", "How long the oldest of them has been waiting.", log.lag_seconds),
    ):
        yield from family(f"kedge_{name}", "gauge", told=text, samples=[(model, value)])
    yield from head("kedge_request_seconds", "histogram", told="Seconds of answered requests, by stage.")
    for stage, histogram in metrics.stages.items():
        yield from _histogram("kedge_request_seconds", {**model, "stage": stage}, histogram=histogram)


def _by(model: Labels, label: str, *, counts: dict[int, int]) -> list[Sample]:
    return [({**model, label: str(key)}, count) for key, count in sorted(counts.items())]


def _errors(requests: dict[int, int]) -> dict[int, int]:
    return {code: count for code, count in requests.items() if code >= 400}


def _histogram(name: str, labels: Labels, *, histogram: Histogram) -> Iterator[str]:
    seen = 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), histogram.counts, strict=True):
        seen += count
        yield line(f"{name}_bucket", {**labels, "le": bound}, value=seen)
    yield line(f"{name}_sum", labels, value=histogram.sum)
    yield line(f"{name}_count", labels, value=seen)

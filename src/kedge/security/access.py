"""The one policy table: which right a request needs. A write without a row is refused, and fails a test.

Rights include one another: admin may write, write may read. The first row that fits decides. In a pattern `*` stands
for one part of a path, `**` at the end for any number of them. The MLflow protocol's paths under `/ajax-api/` are read as
those under `/api/`.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class Right(IntEnum):
    """What a token may do. OPEN is what anyone may, without a token."""

    OPEN = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Grant(NamedTuple):
    """One row of the table: a method, a pattern of paths, the right they need."""

    method: str
    pattern: str
    right: Right


POLICY: tuple[Grant, ...] = (
    # what shows no data: the pages' own files, and whether a process lives
    Grant("GET", "/static/**", Right.OPEN),
    Grant("GET", "/api/v1/health", Right.OPEN),
    Grant("GET", "/login", Right.OPEN),
    Grant("POST", "/login", Right.OPEN),
    Grant("GET", "/v2", Right.OPEN),
    Grant("GET", "/v2/health/*", Right.OPEN),
    Grant("GET", "/health", Right.OPEN),
    Grant("GET", "/ping", Right.OPEN),
    # its signature says who sent it
    Grant("POST", "/api/v1/hooks/*", Right.OPEN),
    # whatever else can be read
    Grant("GET", "/**", Right.READ),
    # what adds facts
    Grant("POST", "/v2/models/*/infer", Right.WRITE),
    Grant("POST", "/v2/models/*/versions/*/infer", Right.WRITE),
    Grant("POST", "/v1/models/*", Right.WRITE),
    Grant("POST", "/v1/models/*/versions/*", Right.WRITE),
    Grant("POST", "/invocations", Right.WRITE),
    Grant("POST", "/api/v1/ground-truth", Right.WRITE),
    # the MLflow protocol: searches are reads, whatever their method
    Grant("POST", "/api/2.0/mlflow/experiments/search", Right.READ),
    Grant("POST", "/api/2.0/mlflow/runs/search", Right.READ),
    Grant("POST", "/api/2.0/mlflow/logged-models/search", Right.READ),
    # what people do about alerts
    Grant("POST", "/api/v1/alerts/*/acknowledge", Right.WRITE),
    Grant("POST", "/api/v1/alerts/*/snooze", Right.WRITE),
    Grant("POST", "/api/v1/alerts/*/resolve", Right.WRITE),
    Grant("POST", "/api/v1/alerts/*/reopen", Right.WRITE),
    Grant("POST", "/api/v1/alert-channels/*/test", Right.WRITE),
    Grant("PUT", "/api/v1/models/*/mute", Right.WRITE),
    Grant("DELETE", "/api/v1/models/*/mute", Right.WRITE),
    Grant("POST", "/monitoring/compare", Right.READ),
    Grant("POST", "/monitoring/alerts/*/*", Right.WRITE),
    Grant("POST", "/monitoring/mutes/*", Right.WRITE),
    Grant("POST", "/monitoring/channels/*/test", Right.WRITE),
    # what describes datasets and tags their versions; profiles are found, not told
    Grant("PATCH", "/api/v1/datasets/*", Right.WRITE),
    Grant("PUT", "/api/v1/datasets/*/tags/*", Right.WRITE),
    Grant("DELETE", "/api/v1/datasets/*/tags/*", Right.WRITE),
    Grant("POST", "/api/v1/datasets/*/versions/*/profile", Right.WRITE),
    Grant("POST", "/data/*/edit", Right.WRITE),
    Grant("POST", "/data/*/columns/*/edit", Right.WRITE),
    Grant("POST", "/data/*/versions/*/tag", Right.WRITE),
    Grant("POST", "/data/*/versions/*/profile", Right.WRITE),
    Grant("POST", "/api/v1/runs/*/begin", Right.WRITE),
    Grant("POST", "/api/v1/runs/*/log", Right.WRITE),
    Grant("POST", "/api/v1/runs/*/end", Right.WRITE),
    Grant("POST", "/api/v1/runs/*/models", Right.WRITE),
    # files of runs and logged models
    Grant("PUT", "/api/v1/runs/*/artifacts/**", Right.WRITE),
    Grant("DELETE", "/api/v1/runs/*/artifacts/**", Right.WRITE),
    Grant("PUT", "/api/v1/logged-models/*/artifacts/**", Right.WRITE),
    Grant("DELETE", "/api/v1/logged-models/*/artifacts/**", Right.WRITE),
    Grant("PUT", "/api/2.0/mlflow-artifacts/artifacts/**", Right.WRITE),
    Grant("DELETE", "/api/2.0/mlflow-artifacts/artifacts/**", Right.WRITE),
    Grant("PUT", "/api/2.0/mlflow-artifacts/mpu/parts/*/*", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow-artifacts/mpu/create/**", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow-artifacts/mpu/complete/**", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow-artifacts/mpu/abort/**", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/upload-artifact", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/artifacts/presigned-download-url", Right.READ),
    # what clients log
    Grant("POST", "/api/2.0/mlflow/experiments/create", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/experiments/update", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/experiments/delete", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/experiments/restore", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/experiments/set-experiment-tag", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/experiments/delete-experiment-tag", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/create", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/update", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/delete", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/restore", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/log-metric", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/log-batch", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/log-parameter", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/set-tag", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/delete-tag", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/log-inputs", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/outputs", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/runs/log-model", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/logged-models", Right.WRITE),
    Grant("PATCH", "/api/2.0/mlflow/logged-models/*", Right.WRITE),
    Grant("DELETE", "/api/2.0/mlflow/logged-models/*", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/logged-models/*/params", Right.WRITE),
    Grant("PATCH", "/api/2.0/mlflow/logged-models/*/tags", Right.WRITE),
    Grant("DELETE", "/api/2.0/mlflow/logged-models/*/tags/**", Right.WRITE),
    # what names, describes, deletes and restores what was tracked, in a browser
    Grant("POST", "/experiments/new", Right.WRITE),
    Grant("POST", "/experiments/*/edit", Right.WRITE),
    Grant("POST", "/experiments/*/delete", Right.WRITE),
    Grant("POST", "/experiments/*/restore", Right.WRITE),
    Grant("POST", "/runs/delete", Right.WRITE),
    Grant("POST", "/runs/*/edit", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/registered-models/get-latest-versions", Right.READ),
    Grant("POST", "/api/2.0/mlflow/registered-models/create", Right.WRITE),
    Grant("PATCH", "/api/2.0/mlflow/registered-models/update", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/registered-models/set-tag", Right.WRITE),
    Grant("DELETE", "/api/2.0/mlflow/registered-models/delete-tag", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/model-versions/create", Right.WRITE),
    Grant("PATCH", "/api/2.0/mlflow/model-versions/update", Right.WRITE),
    Grant("POST", "/api/2.0/mlflow/model-versions/set-tag", Right.WRITE),
    Grant("DELETE", "/api/2.0/mlflow/model-versions/delete-tag", Right.WRITE),
    # what changes which version an alias or a stage means, or takes one away
    Grant("POST", "/api/2.0/mlflow/registered-models/rename", Right.ADMIN),
    Grant("DELETE", "/api/2.0/mlflow/registered-models/delete", Right.ADMIN),
    Grant("POST", "/api/2.0/mlflow/registered-models/alias", Right.ADMIN),
    Grant("DELETE", "/api/2.0/mlflow/registered-models/alias", Right.ADMIN),
    Grant("POST", "/api/2.0/mlflow/model-versions/transition-stage", Right.ADMIN),
    Grant("DELETE", "/api/2.0/mlflow/model-versions/delete", Right.ADMIN),
    Grant("POST", "/api/v1/models", Right.WRITE),
    Grant("PATCH", "/api/v1/models/*", Right.WRITE),
    Grant("POST", "/api/v1/models/*/versions", Right.WRITE),
    Grant("POST", "/api/v1/models/*/versions/*/servable", Right.WRITE),
    Grant("PATCH", "/api/v1/models/*/versions/*", Right.WRITE),
    # what describes a registered model, in a browser
    Grant("POST", "/models/new", Right.WRITE),
    Grant("POST", "/models/*/edit", Right.WRITE),
    Grant("POST", "/models/*/versions/*/edit", Right.WRITE),
    # what changes which version a name, an alias or a stage means, in a browser
    Grant("POST", "/models/*/delete", Right.ADMIN),
    Grant("POST", "/models/*/alias", Right.ADMIN),
    Grant("POST", "/models/*/versions/*/stage", Right.ADMIN),
    Grant("POST", "/models/*/versions/*/archive", Right.ADMIN),
    # what changes who answers
    Grant("DELETE", "/api/v1/models/*", Right.ADMIN),
    Grant("DELETE", "/api/v1/models/*/versions/*", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/versions/*/stage", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/versions/*/archive", Right.ADMIN),
    Grant("PUT", "/api/v1/models/*/aliases/*", Right.ADMIN),
    Grant("DELETE", "/api/v1/models/*/aliases/*", Right.ADMIN),
    Grant("POST", "/v2/models/*/refresh", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/retrain", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/deploy", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/pause", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/resume", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/approve", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/abort", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/promote", Right.ADMIN),
    Grant("POST", "/api/v1/models/*/roll-back", Right.ADMIN),
    Grant("POST", "/models/*/retraining/ask", Right.ADMIN),
    Grant("POST", "/models/*/deploy", Right.ADMIN),
    Grant("POST", "/models/*/trial/*", Right.ADMIN),
    Grant("POST", "/models/*/promote", Right.ADMIN),
    Grant("POST", "/models/*/roll-back", Right.ADMIN),
)


def needed(method: str, path: str, *, policy: Sequence[Grant] = POLICY) -> Right | None:
    """Say which right a request needs; None for one that no row names. HEAD is read as GET."""
    wanted = "GET" if method == "HEAD" else method
    return next((rule.right for rule in policy if rule.method == wanted and fits(rule.pattern, path)), None)


def allowed(right: Right, method: str, *, path: str, policy: Sequence[Grant] = POLICY) -> bool:
    """Say whether a holder of `right` may send this request. A request that no row names is refused to everyone."""
    wanted = needed(method, path, policy=policy)
    return wanted is not None and right >= wanted


def fits(pattern: str, path: str) -> bool:
    """Say whether a decoded path fits a pattern. One with an empty, `.` or `..` part fits only `/**` and itself."""
    if pattern in (path, "/**"):
        return True
    wanted, parts = pattern.split("/"), path.split("/")
    if wanted[-1] == "**" and parts[-1] == "" and len(parts) > len(wanted):  # a folder, as clients write it
        parts.pop()
    if any(part in ("", ".", "..") for part in parts[1:]):
        return False
    if wanted[-1] == "**":
        wanted, parts = wanted[:-1], parts[: len(wanted) - 1]
    return len(wanted) == len(parts) and all(want in ("*", part) for want, part in zip(wanted, parts, strict=True))

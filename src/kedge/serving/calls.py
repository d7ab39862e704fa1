"""From waiting requests to model calls and back: the rows of many requests go through a model in one call.

    requests -> parts by version (the split) -> one matrix a version -> one call -> each request's own answers
A challenger that fails harms nobody: its rows go to the champion with the champion's own, and the failure is kept. Where a
call of several requests fails, each is asked alone, so that only the one that the model cannot bear fails.
A request notes the call that it was part of, its place and how many there were: `kedge why --replay` builds it again.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from time import monotonic

import numpy as np

from kedge.domain.rollout import Strategy, takes_challenger
from kedge.errors import FAILURES, KedgeError, ModelRefused
from kedge.serving.loader import Loaded
from kedge.serving.waiting import Numbers, Waiting

Part = tuple[Waiting, list[int] | None]
"""A request and which of its rows, None for all."""


def answer(group: Sequence[Waiting], *, new_id: Callable[[], str]) -> None:
    """Answer requests of one revision: fill in what has become of each. Nothing is raised but faults of ours."""
    if len(group) == 1 and not _splits(group[0]):
        _one(group[0])
    elif not any(map(_splits, group)):
        parts: dict[int, list[Part]] = {}
        for asked in group:
            parts.setdefault(asked.deployment.champion, []).append((asked, None))
        for version, own in parts.items():
            _own(own, version, new_id=new_id)
    else:
        _parted(group, new_id=new_id)


def copied(group: Sequence[Waiting], *, new_id: Callable[[], str]) -> None:
    """Let the challenger answer a copy of requests of one revision that are answered: what it said, or why it failed."""
    version = group[0].deployment.challenger
    parts: list[Part] = [(asked, None) for asked in group]
    for (asked, _), outputs in zip(parts, _call(parts, version, new_id=new_id) if version else (), strict=True):
        rows = list(range(asked.count))
        if failed := _failures(rows, outputs, version=version or 0):
            asked.errors = failed
        if version and not isinstance(outputs, BaseException):
            asked.shadow = {version: outputs.tolist()}
            asked.batches = [(version, rows)]


def _splits(asked: Waiting) -> bool:
    """Say whether the challenger may answer rows of a request; one in shadow answers later, and nobody."""
    deployment = asked.deployment
    return deployment.challenger is not None and deployment.strategy is not Strategy.SHADOW


def _parted(group: Sequence[Waiting], *, new_id: Callable[[], str]) -> None:
    """Answer requests of a revision that has a version on trial."""
    tried: dict[int, list[Part]] = {}
    own: dict[int, list[Part]] = {}
    for asked in group:
        deployment = asked.deployment
        challenger = deployment.challenger
        if challenger is None or not _splits(asked):
            own.setdefault(deployment.champion, []).append((asked, None))
        else:
            rows = [row for row, entity in enumerate(asked.entities) if takes_challenger(deployment, entity)]
            if rows:
                tried.setdefault(challenger, []).append((asked, rows if len(rows) < asked.count else None))
            else:
                own.setdefault(deployment.champion, []).append((asked, None))
    for version, parts in tried.items():
        for part in _tried(parts, version, new_id=new_id):
            own.setdefault(part[0].deployment.champion, []).append(part)
    for version, parts in own.items():
        _own(parts, version, new_id=new_id)


def _tried(parts: list[Part], version: int, *, new_id: Callable[[], str]) -> list[Part]:
    """Let the challenger answer its rows; give what is left to the champion: rows not tried, and rows that failed."""
    left: list[Part] = []
    for (asked, rows), outputs in zip(parts, _call(parts, version, new_id=new_id), strict=True):
        mine = list(range(asked.count)) if rows is None else rows
        asked.versions, asked.outputs = [asked.deployment.champion] * asked.count, np.full(asked.count, np.nan)
        asked.batches = []
        failed = _failures(mine, outputs, version=version)
        if not isinstance(outputs, BaseException):
            asked.batches.append((version, mine))
            _take(asked, version, rows=mine, outputs=outputs)
        if failed:
            asked.errors = failed
        rest = sorted({*range(asked.count)} - {*mine} | {*failed})
        if rest:
            left.append((asked, rest if len(rest) < asked.count else None))
    return left


def _one(asked: Waiting) -> None:
    """Answer a request that is alone, with nothing on trial: what `_own` does, without lists of one."""
    version = asked.deployment.champion
    asked.began = began = monotonic()
    outputs = _alone((asked, None), asked.active.versions[version])
    asked.predict_seconds = monotonic() - began
    _settle(asked, None, version=version, outputs=outputs)


def _own(parts: list[Part], version: int, *, new_id: Callable[[], str]) -> None:
    """Let the champion answer. Its failure is the request's."""
    for (asked, rows), outputs in zip(parts, _call(parts, version, new_id=new_id), strict=True):
        _settle(asked, rows, version=version, outputs=outputs)


def _settle(asked: Waiting, rows: list[int] | None, *, version: int, outputs: Numbers | BaseException) -> None:
    """Fill in what the champion answered to some rows of a request, or to all."""
    if isinstance(outputs, BaseException):
        asked.error = refused("the model failed on these rows", outputs)
    elif not _finite(outputs):
        row = int((~np.isfinite(outputs)).argmax())
        row = row if rows is None else rows[row]
        asked.error = ModelRefused(f"the model's answer to row {row} is not a finite number")
    elif rows is None and not asked.versions:
        asked.version, asked.outputs = version, outputs
    else:
        mine = list(range(asked.count)) if rows is None else rows
        asked.batches.append((version, mine))
        _take(asked, version, rows=mine, outputs=outputs)


def _failures(rows: list[int], outputs: Numbers | BaseException, *, version: int) -> dict[int, str]:
    """Say by row why a challenger failed on it."""
    if isinstance(outputs, BaseException):
        return dict.fromkeys(rows, f"version {version} failed: {type(outputs).__name__}: {outputs}")
    if _finite(outputs):
        return {}
    bad = [row for row, good in zip(rows, np.isfinite(outputs).tolist(), strict=True) if not good]
    return dict.fromkeys(bad, f"version {version} answered a value that is not finite")


def _finite(outputs: Numbers) -> bool:
    if len(outputs) == 1:
        return isfinite(outputs.item())
    return b"\x00" not in np.isfinite(outputs).tobytes()  # on few rows four times as fast as all()


def _take(asked: Waiting, version: int, *, rows: list[int], outputs: Numbers) -> None:
    asked.outputs[rows] = outputs
    for row in rows:
        asked.versions[row] = version


def _call(parts: list[Part], version: int, *, new_id: Callable[[], str]) -> list[Numbers | BaseException]:
    """Call a version once for all parts, or where that fails once for each; give answers or the failure by part.

    Each request notes what this version's call took, and that alone: whose other rows another version answers waits for
    that one, too, but is not to blame for it.
    """
    loaded = parts[0][0].active.versions[version]
    began = monotonic()
    answers = [_alone(parts[0], loaded)] if len(parts) == 1 else _joint(parts, loaded, version=version, new_id=new_id)
    seconds = monotonic() - began
    for asked, _ in parts:
        asked.began = asked.began or began
        if version == asked.deployment.champion:
            asked.predict_seconds += seconds
        else:
            asked.trial_seconds = seconds
            if asked.deployment.strategy is not Strategy.SHADOW:
                asked.predict_seconds += seconds
    return answers


def _joint(parts: list[Part], loaded: Loaded, *, version: int, new_id: Callable[[], str]) -> list[Numbers | BaseException]:
    try:
        matrices = [_matrix(part, loaded) for part in parts]
        outputs = loaded.answer(np.concatenate(matrices))
    except FAILURES:
        return [_alone(part, loaded) for part in parts]
    call, of = new_id(), len(parts)
    answers: list[Numbers | BaseException] = []
    first = 0
    for place, ((asked, _), matrix) in enumerate(zip(parts, matrices, strict=True)):
        asked.calls = {**asked.calls, version: (call, place, of)} if asked.calls else {version: (call, place, of)}
        last = first + len(matrix)
        answers.append(outputs[first:last])
        first = last
    return answers


def _alone(part: Part, loaded: Loaded) -> Numbers | BaseException:
    try:
        return loaded.answer(_matrix(part, loaded))
    except FAILURES as error:
        return error


def _matrix(part: Part, loaded: Loaded) -> Numbers:
    asked, rows = part
    if asked.matrix is None:
        return loaded.encoded(asked.columns(rows))
    return asked.matrix if rows is None else asked.matrix[rows]


def refused(message: str, error: BaseException) -> KedgeError:
    """Say what failed; an error that already says what to do is passed on."""
    if isinstance(error, KedgeError):
        return error
    return ModelRefused(f"{message}: {type(error).__name__}: {error}")

"""Writes that happen once: an `Idempotency-Key` names a call, and the same call again gets the same answer.

The key is noted with what it is for before anything is done, and the answer after it. A process that was killed between
the two left a newer revision of the deployment behind, by the same actor for the same reason: that is the answer then.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from kedge.domain.ids import Digest, ModelName, digest_of
from kedge.domain.rollout import Deployment
from kedge.errors import Conflict
from kedge.ports import MetaStore

T = TypeVar("T")

_lock = threading.Lock()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call under a key: the digest of what was asked, the revision it found, and its answer once there is one."""

    asked: Digest
    revision: int
    answer: Deployment | None = None


def once(
    meta: MetaStore, key: str, *, model: ModelName, asked: tuple[str, ...], act: Callable[[], Deployment]
) -> Deployment:
    """Act, unless this key has acted before: then give that answer. Raises Conflict where the key was for something else."""
    if not key:
        return act()
    name, digest = f"idempotency:{digest_of(key)}", digest_of(*asked)
    with _lock:
        raw = meta.notes.get(name)
        newest = meta.deployments.find(model)
        call = (
            Call(asked=digest, revision=newest.revision if newest else 0)
            if raw is None
            else _noted(raw, Call, key=key, asked=digest)
        )
        if call.answer is not None:
            return call.answer
        if raw is None:
            meta.notes.put(name, msgspec.json.encode(call))
        elif newest is not None and newest.revision > call.revision:
            return _keep(meta, name, call=call, answer=newest)
        return _keep(meta, name, call=call, answer=act())


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What every noted call begins with, whatever its answer is."""

    asked: Digest


def _noted(raw: bytes, kind: type[T], *, key: str, asked: Digest) -> T:
    """Read the call that a key was used for. Raises Conflict where that was another one."""
    if msgspec.json.decode(raw, type=_Asked).asked != asked:
        raise Conflict(f"the Idempotency-Key {key!r} was used for another request; take a new key for this one")
    return msgspec.json.decode(raw, type=kind)


def _keep(meta: MetaStore, name: str, *, call: Call, answer: Deployment) -> Deployment:
    meta.notes.put(name, msgspec.json.encode(msgspec.structs.replace(call, answer=answer)))
    return answer


class AnsweredCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call under a key that was answered: the digest of what was asked, and the answer."""

    asked: Digest
    answer: msgspec.Raw


def once_set(meta: MetaStore, key: str, *, asked: object, answer: type[T], act: Callable[[], T]) -> T:
    """Act, unless this key has acted before: then give that answer. For acts that set what they are given: one that was
    killed before its answer was kept is done again, and nothing is doubled. Raises Conflict as `once` does."""
    if not key:
        return act()
    name, digest = f"idempotency:{digest_of(key)}", digest_of(asked)
    with _lock:
        raw = meta.notes.get(name)
        if raw is not None:
            return msgspec.json.decode(_noted(raw, AnsweredCall, key=key, asked=digest).answer, type=answer)
        found = act()
        kept = AnsweredCall(asked=digest, answer=msgspec.Raw(msgspec.json.encode(found)))
        meta.notes.put(name, msgspec.json.encode(kept))
        return found

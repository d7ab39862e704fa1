"""The other side of `jobs.py`: a process that runs one function after another and dies with its parent.

    parent -> worker   parcel of (function, arguments)
    worker -> parent   pickle of Report, then the pickled result if the report has no reason

What the function prints goes to stderr; the pipe is a descriptor of its own. Standard library only: it starts in 30 ms.
"""

import contextlib
import importlib
import os
import pickle
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from kedge.adapters.parcel import Received

_PEAK = "VmHWM:"


class Report(NamedTuple):
    """What a call came to: why it failed ("" where it did not), CPU seconds of it and of the process, peak bytes."""

    reason: str
    traceback: str
    cpu_seconds: float
    cpu_so_far: float
    peak_bytes: int


def serve(pipe: int, life: int, preload: Sequence[str]) -> None:
    """Run what comes through the pipe until it closes. `life` is readable only once the parent is gone."""
    for descriptor in (pipe, life):
        os.set_inheritable(descriptor, False)
    threading.Thread(target=_die_with_parent, args=(life,), daemon=True).start()
    for module in preload:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    connection = Connection(pipe)
    connection.send(Report("", "", 0.0, _cpu(), 0))
    with contextlib.suppress(EOFError):
        while True:
            for message in _run(Received(connection)):
                connection.send_bytes(message)


def _die_with_parent(life: int) -> None:
    os.read(life, 1)
    os.killpg(0, signal.SIGKILL)


def _run(request: Received) -> list[bytes]:
    """Call, and give the messages to send back."""
    cpu = _cpu()
    _forget_peak()
    reason, trace, result = _call(request)
    _tell_what_was_printed()
    report = Report(reason, trace, _cpu() - cpu, _cpu(), _peak())
    return [pickle.dumps(report)] if reason else [pickle.dumps(report), result]


def _call(request: Received) -> tuple[str, str, bytes]:
    try:
        function, arguments = request.open()
        result = function(*arguments)
    except BaseException as error:  # the job runner: whatever the function raises is its result, SystemExit too
        return (*describe(error), b"")
    return _packed(result)


def _tell_what_was_printed() -> None:
    """Let go of what is buffered: this process ends by a kill. The job may have closed or replaced the stream."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()


def _packed(result: Any) -> tuple[str, str, bytes]:
    try:
        return "", "", pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # the job runner: a value's own pickling may raise anything
        reason, trace = describe(error)
        return f"the function returned a {type(result).__name__}, which cannot be sent back: {reason}", trace, b""


def describe(error: BaseException) -> tuple[str, str]:
    """Put an error into a sentence and a traceback that begins below the caller's own frame."""
    inner = error.__traceback__.tb_next if error.__traceback__ is not None else None
    reason = traceback.format_exception_only(error)[-1].strip()
    return reason, "".join(traceback.format_exception(type(error), error, inner))


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _forget_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _peak() -> int:
    """Read the peak resident bytes since they were forgotten; where /proc is missing, since the start."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(_PEAK):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

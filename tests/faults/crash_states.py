"""Every state in which a power cut can leave a folder: trace a routine's system calls, keep or drop what was not synced.

A write becomes safe by fsync of its file, a name by fsync of its folder. For each prefix of the trace, each subset of
what was not yet safe may have reached the disk, and of a write also its first half. No order is assumed, unless a log
asks for the one that file systems with ordered data (ext4's default) keep: appends to one file arrive in order.
"""

import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from kedge.storage import durable

DROP, KEEP, HALF = 0, 1, 2
CALLS = ("open", "write", "fsync", "fdatasync", "mkdir", "replace", "rename", "ftruncate", "unlink", "pwrite")


def trace(routine: Callable[[Callable[[object], None]], None], folder: Path) -> list[tuple]:
    """Run a routine and list what it asked of the disk below the folder; `acknowledge(value)` marks what it promised."""
    calls: list[tuple] = []
    files: dict[int, tuple[int, Path]] = {}  # descriptor -> (the file's number, path)
    numbers: dict[int, int] = {}  # inode's number -> ours: the system gives a removed file's to the next one made
    real = {name: getattr(os, name) for name in CALLS}

    def opened(path, flags, mode=0o777, **rest):
        created = flags & os.O_CREAT and not os.path.exists(path)
        descriptor = real["open"](path, flags, mode, **rest)
        again = str(path).removeprefix("/proc/self/fd/")  # a file that is open is opened once more
        if again.isdecimal() and int(again) in files:
            files[descriptor] = files[int(again)]
        elif Path(path).is_relative_to(folder):
            inode = os.fstat(descriptor).st_ino
            if created:
                numbers[inode] = len(calls) + 1
            files[descriptor] = (numbers.get(inode, -inode), Path(path).relative_to(folder))
            if created:
                calls.append(("create", *files[descriptor]))
        return descriptor

    def written(descriptor, data):
        start = os.fstat(descriptor).st_size if descriptor in files else 0  # all our files are append-only
        done = real["write"](descriptor, data)
        if descriptor in files:
            calls.append(("write", files[descriptor][0], start, bytes(data[:done])))
        return done

    def written_at(descriptor, data, start):
        done = real["pwrite"](descriptor, data, start)
        if descriptor in files:
            calls.append(("write", files[descriptor][0], start, bytes(data[:done])))
        return done

    def unlinked(path, **rest):
        real["unlink"](path, **rest)
        if Path(path).is_relative_to(folder):
            calls.append(("unlink", Path(path).relative_to(folder)))

    def punched(descriptor, start, length):
        done = durable.punch(descriptor, start, length=length)
        if done and descriptor in files:
            calls.append(("punch", files[descriptor][0], start, length))
        return done

    def synced(name):
        def sync(descriptor):
            real[name](descriptor)
            if descriptor in files:
                calls.append(("sync", *files[descriptor]))

        return sync

    def cut(descriptor, size):
        real["ftruncate"](descriptor, size)
        calls.append(("cut", files[descriptor][0], size))

    def folder_made(path, *rest, **more):
        real["mkdir"](path, *rest, **more)
        calls.append(("folder", Path(path).relative_to(folder)))

    def renamed(name):
        def rename(source, target, **rest):
            real[name](source, target, **rest)
            calls.append(("rename", Path(source).relative_to(folder), Path(target).relative_to(folder)))

        return rename

    fakes = {
        "open": opened,
        "write": written,
        "fsync": synced("fsync"),
        "fdatasync": synced("fdatasync"),
        "ftruncate": cut,
        "mkdir": folder_made,
        "replace": renamed("replace"),
        "rename": renamed("rename"),
        "unlink": unlinked,
        "pwrite": written_at,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, fake in fakes.items():
            patch.setattr(os, name, fake)
        patch.setattr("kedge.storage.blobs.removing.punch", punched)
        routine(lambda value: calls.append(("acknowledge", value)))
    return calls


def crash_states(calls: list[tuple], target: Path, *, appends_in_order: bool = False) -> Iterator[tuple[Path, list[object]]]:
    """Build each state in a folder of its own below the target; give it with what had been acknowledged by then."""
    seen: set[object] = set()
    for stop in range(len(calls) + 1):
        done = calls[:stop]
        acknowledged = [call[1] for call in done if call[0] == "acknowledge"]
        for choice in product(*(_choices(done, place) for place in range(stop))):
            if appends_in_order and _is_reordered(done, choice):
                continue
            state = _build(done, choice)
            key = (tuple(sorted(state.items(), key=str)), len(acknowledged))
            if key not in seen:
                seen.add(key)
                yield _lay_out(state, target / str(len(seen))), acknowledged


def _choices(done: list[tuple], place: int) -> tuple[int, ...]:
    """Say what may have become of one call, by whether a later sync made it safe."""
    kind, *about = done[place]
    if kind in ("sync", "acknowledge"):
        return (KEEP,)
    if kind in ("write", "cut", "punch"):
        safe = any(call[0] == "sync" and call[1] == about[0] for call in done[place:])
        return (KEEP,) if safe else (DROP, KEEP, HALF) if kind == "write" else (DROP, KEEP)
    parents = {path.parent for path in about if isinstance(path, Path)}
    return (KEEP,) if parents <= {call[2] for call in done[place:] if call[0] == "sync"} else (DROP, KEEP)


def _is_reordered(done: list[tuple], choice: tuple[int, ...]) -> bool:
    short = set()
    for call, fate in zip(done, choice, strict=True):
        if call[0] == "write":
            if fate != DROP and call[1] in short:
                return True
            if fate != KEEP:
                short.add(call[1])
    return False


def _build(done: list[tuple], choice: tuple[int, ...]) -> dict[Path, bytes | None]:
    """Replay what reached the disk: path to content, None for a folder. A lost write leaves zeros before a later one."""
    names: dict[Path, int | None] = {}
    contents: dict[int, bytearray] = {}
    for (kind, *about), fate in zip(done, choice, strict=True):
        if kind == "create":
            contents.setdefault(about[0], bytearray())
        if fate == DROP or kind in ("sync", "acknowledge"):
            continue
        if kind == "create":
            names[about[1]] = about[0]
        elif kind == "folder":
            names[about[0]] = None
        elif kind == "rename" and about[0] in names:
            names[about[1]] = names.pop(about[0])
        elif kind == "unlink":
            names.pop(about[0], None)
        elif kind == "punch":
            inode, start, length = about
            contents[inode][start : start + length] = bytes(length)
        elif kind == "cut":
            del contents[about[0]][about[1] :]
        elif kind == "write":
            inode, start, data = about
            content = contents[inode]
            content.extend(bytes(max(0, start - len(content))))
            content[start : start + len(data)] = data if fate == KEEP else data[: len(data) // 2]
    whole = {path: inode for path, inode in names.items() if all(up in names for up in path.parents if up != Path())}
    return {path: None if inode is None else bytes(contents[inode]) for path, inode in whole.items()}


def _lay_out(state: dict[Path, bytes | None], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for path, content in sorted(state.items()):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
    return folder

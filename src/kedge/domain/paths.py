"""Paths of artifacts as people and clients write them: one rule for every door.

A path is relative and POSIX: parts joined by "/". It names a row in the store, never a file of the server, and it must
stay below the folder that a client may one day write it to. What an address carried was decoded once by the server; what
still holds an encoded dot, slash or percent sign after that was encoded twice, to slip past a check. It is refused.
"""

import re
import unicodedata

from kedge.errors import RequestInvalid

LONGEST = 1024  # bytes of a whole path, as UTF-8
LONGEST_PART = 255  # bytes of one part: what file systems take

_ENCODED = re.compile(r"%(?:2e|2f|5c|25|00|3b)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they make a name look like another
_BROKEN = "\ufffd"  # stands where bytes were no UTF-8


def clean_path(text: str) -> str:
    """Take the path of a file: what was given, where it holds to the rule. Raises RequestInvalid saying what does not."""
    if not text:
        raise _refused(text, "it is empty")
    if len(text.encode("utf-8", "replace")) > LONGEST:
        raise _refused(text, f"it is longer than {LONGEST} bytes")
    if "\\" in text:
        raise _refused(text, "it has a backslash")
    if any(_is_hidden(letter) for letter in text):
        raise _refused(text, "it has a letter that cannot be seen, or bytes that are no UTF-8")
    if _ENCODED.search(text):
        raise _refused(text, "it is encoded twice")
    if _DRIVE.match(text):
        raise _refused(text, "it begins with a drive")
    for part in text.split("/"):
        _check_part(part, text)
    return text


def clean_folder(text: str) -> str:
    """Take the path of a folder: as `clean_path`, but empty is the root, and one slash may stand at the end."""
    return clean_path(text.removesuffix("/")) if text not in ("", "/") else ""


def is_within(path: str, folder: str) -> bool:
    """Say whether a path lies below a folder; everything lies below the root, ""."""
    return not folder or path.startswith(f"{folder}/")


def _check_part(part: str, text: str) -> None:
    if part.split(";", maxsplit=1)[0].strip() in ("", ".", ".."):  # some servers cut a part off at its first ";"
        raise _refused(text, 'it has an empty, "." or ".." part')
    if _DRIVE.fullmatch(part):
        raise _refused(text, "it has a drive in it")
    if len(part.encode("utf-8", "replace")) > LONGEST_PART:
        raise _refused(text, f"it has a part of over {LONGEST_PART} bytes")


def _is_hidden(letter: str) -> bool:
    return letter == _BROKEN or letter in _TURNING or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def _refused(text: str, why: str) -> RequestInvalid:
    shown = text if len(text) <= 80 else f"{text[:80]}..."
    return RequestInvalid(f"{shown!r} cannot be the path of an artifact: {why}; use a relative path such as 'plots/roc.png'")

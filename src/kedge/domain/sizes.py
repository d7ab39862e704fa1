"""Numbers of bytes as people write them: "500 MB", "10GiB"."""

import re

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}


def bytes_of(text: str) -> int:
    """Read a number of bytes above 0. ValueError says what would be right."""
    match = re.fullmatch(r"\s*([0-9]{1,15})\s*([A-Za-z]{0,3})\s*", text)
    if match is None or match[2].upper() not in _UNITS or not int(match[1]):
        raise ValueError(f"{text!r} is not a number of bytes; write one such as 500MB or 10GiB")
    return int(match[1]) * _UNITS[match[2].upper()]

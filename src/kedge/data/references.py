"""How people name a version: `flights`, `flights@12`, `flights@v12`, `flights@TAG`, `flights@0f3a9c` (digest)."""

import difflib
import re

from kedge.domain.data import DatasetVersion
from kedge.domain.ids import DatasetName
from kedge.errors import NotFound, RequestInvalid
from kedge.ports import Versions

_SHORTEST = 6
_NAME = re.compile(r"\w[\w.\-]*")
_LONGEST = 200


def check_name(name: str) -> DatasetName:
    """Give the name of a dataset to be made: letters, digits, `_ . -` (one part of an address). Raises RequestInvalid."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise RequestInvalid(
            f"{name!r} cannot name a dataset; use letters, digits, '_', '.' and '-', at most {_LONGEST} characters"
        )
    return DatasetName(name)


def named_after(place: str) -> DatasetName:
    """Name a dataset after the path that it lies at: what a name may not hold becomes `-`, of a long path the end counts."""
    return check_name(re.sub(r"[^\w.\-]+", "-", place).lstrip("-.")[-_LONGEST:].strip("-.") or "data")


def checked_tag(tag: str) -> str:
    """Take a version's tag. Raises RequestInvalid for one that cannot stand after `@`, or reads as a number."""
    plain = tag.removeprefix("v")
    if not tag or len(tag) > 100 or not all(letter.isalnum() or letter in "._-" for letter in tag) or tag[0] in "._-":
        raise RequestInvalid(f"{tag!r} cannot be a tag: letters, digits, '.', '_' and '-', beginning with a letter or digit")
    if plain.isdecimal():
        raise RequestInvalid(f"{tag!r} cannot be a tag: it reads as the number of a version; write such as 'r{plain}'")
    return tag


def split(reference: str) -> tuple[DatasetName, str]:
    """Take a reference apart: the dataset, and what names the version ("" for the newest)."""
    name, _, which = reference.partition("@")
    return DatasetName(name), which


def resolve(datasets: Versions, reference: str) -> DatasetVersion:
    """Find the version that a reference names. A tag wins over a number, a number over a digest. Raises NotFound."""
    name, which = split(reference)
    newest = datasets.find(name)
    if newest is None:
        raise _unknown(datasets, name)
    if not which:
        return newest
    tags = datasets.tags(name)
    number = tags.get(which, int(which.removeprefix("v")) if re.fullmatch(r"v?[0-9]{1,9}", which) else None)
    found = None
    if number is not None:
        found = datasets.find(name, number)
    elif len(which) >= _SHORTEST:
        found = next((one for one in reversed(datasets.list(name)) if one.digest.startswith(which)), None)
    if found is None:
        known = ", ".join([f"v{newest.number}", *tags])
        raise NotFound(f"dataset {name!r} has no version or tag {which!r}; it has, among others: {known}")
    return found


def _unknown(datasets: Versions, name: str) -> NotFound:
    names = datasets.names()
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else "; list them with `kedge data list`"
    return NotFound(f"there is no dataset {name!r}{hint}")

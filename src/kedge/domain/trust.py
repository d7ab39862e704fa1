"""Whose code may run here: trusted keys, and by name the classes and pickles that they may sign."""

import msgspec


class Trust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `trust.toml` says. `keys` are public keys by the name of who signs with them (Ed25519, base64); `classes` the
    "PACKAGE/MODULE:CLASS" that may run, `pickles` the packages whose pickle may be loaded."""

    keys: dict[str, str] = {}
    classes: tuple[str, ...] = ()
    pickles: tuple[str, ...] = ()


class Package(msgspec.Struct, frozen=True, kw_only=True, rename={"runs": "class"}):
    """What is signed: a name, the SHA-256 of each file, and what answers: a class ("MODULE:CLASS") or a pickle's file."""

    name: str
    files: dict[str, str]
    runs: str = ""
    pickle: str = ""

"""Signed packages of code: who signed which files, checked before any of them is looked at.

    signature.json = DSSE envelope { payloadType, payload (base64), signatures: [{ keyid, sig }] }
    payload        = { name, class or pickle, files: { path: SHA-256 } }
    signed bytes   = "DSSEv1" SP length(type) SP type SP length(payload) SP payload       Ed25519
A file that the payload does not name is not of the package. Keys are told apart by the digest of their public half.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import msgspec

from kedge.domain.trust import Package, Trust
from kedge.errors import ConfigError, ModelRefused

SIGNATURE = "signature.json"
TYPE = "application/vnd.kedge.package+json"
_LARGEST = 4 << 20


class _Signed(msgspec.Struct, frozen=True):
    keyid: str
    sig: str


class _Envelope(msgspec.Struct, frozen=True, rename={"kind": "payloadType"}):
    kind: str
    payload: str
    signatures: list[_Signed]


def make_key() -> tuple[bytes, str]:
    """Make a key pair: the private key as PEM, to be kept secret, and the public key as one line of base64."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    return private, base64.b64encode(public).decode()


def sign(files: Mapping[str, bytes], private: bytes, *, name: str, runs: str = "", pickle: str = "") -> bytes:
    """Sign files: give the envelope to keep beside them. `runs` is the "MODULE:CLASS" that answers, or `pickle` the file.

    Raises ConfigError for a key that is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(private, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the private key cannot be read: {error}; make one with `kedge models key`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("the private key is not an Ed25519 key; make one with `kedge models key`")
    digests = {path: _sha256(data) for path, data in sorted(files.items()) if path != SIGNATURE}
    payload = msgspec.json.encode(Package(name=name, files=digests, runs=runs, pickle=pickle))
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signed = _Signed(_id_of(public), base64.b64encode(key.sign(_signed_bytes(payload))).decode())
    return msgspec.json.format(msgspec.json.encode(_Envelope(TYPE, base64.b64encode(payload).decode(), [signed])))


def verify(files: Mapping[str, bytes], trust: Trust) -> tuple[Package, str]:
    """Check who signed a package, then that every file it names is as it was: the package, and the name of the key.

    Raises ModelRefused saying what does not hold, and what to do.
    """
    envelope = _read(files)
    payload = _decoded(envelope.payload)
    signer = _signer(envelope, payload, trust=trust)
    try:
        package = msgspec.json.decode(payload, type=Package)
    except msgspec.DecodeError as error:
        raise ModelRefused(f"{SIGNATURE} signs no package: {error}") from error
    _require_own(package, signer)
    for path, digest in package.files.items():
        if path not in files:
            raise ModelRefused(f"the signed file {path!r} is missing; register the package as it was signed")
        if _sha256(files[path]) != digest:
            raise ModelRefused(f"the file {path!r} is not what {signer} signed; sign the package again")
    return package, signer


def _require_own(package: Package, signer: str) -> None:
    """Check that what would run is one of the signed files: anything else could be put beside them by whoever likes."""
    if package.pickle:
        if package.pickle not in package.files:
            raise ModelRefused(
                f"the pickle {package.pickle!r} is none of the files that {signer} signed; sign the package again"
            )
        return
    module = package.runs.partition(":")[0].replace(".", "/")
    if not {f"{module}.py", f"{module}/__init__.py"} & package.files.keys():
        raise ModelRefused(
            f"the module of class {package.runs!r} is none of the files that {signer} signed; sign the package again"
        )


def _read(files: Mapping[str, bytes]) -> _Envelope:
    if SIGNATURE not in files:
        raise ModelRefused(f"there is no {SIGNATURE}; sign the package: kedge models sign FOLDER --key FILE")
    try:
        if len(files[SIGNATURE]) > _LARGEST:
            raise ModelRefused(f"{SIGNATURE} has over {_LARGEST:,} bytes")
        envelope = msgspec.json.decode(files[SIGNATURE], type=_Envelope)
    except msgspec.DecodeError as error:
        raise ModelRefused(f"{SIGNATURE} is no DSSE envelope: {error}; sign the package again") from error
    if envelope.kind != TYPE:
        raise ModelRefused(f"{SIGNATURE} signs a {envelope.kind!r}, not a package of Kedge's")
    return envelope


def _signer(envelope: _Envelope, payload: bytes, *, trust: Trust) -> str:
    """Find a trusted key that signed the payload."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not trust.keys:
        raise ModelRefused("no key is trusted here; name the public keys of those who may sign in trust.toml, under [keys]")
    for name, text in trust.keys.items():
        public = _decoded(text)
        if not public:
            raise ModelRefused(f"the key of {name} in trust.toml is empty; write the public key, or take the name out")
        for signed in envelope.signatures:
            if signed.keyid != _id_of(public):
                continue
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(_decoded(signed.sig), _signed_bytes(payload))
            except (InvalidSignature, ValueError) as error:
                raise ModelRefused(
                    f"the signature of {name} does not hold: the package was changed; sign it again"
                ) from error
            return name
    raise ModelRefused(f"no trusted key signed this package; trusted are {', '.join(trust.keys)}")


def _signed_bytes(payload: bytes) -> bytes:
    """Put the type and the payload together as DSSE has it (pre-authentication encoding)."""
    return b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ModelRefused(f"{SIGNATURE} or a trusted key holds what is no base64: {error}") from error


def _id_of(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

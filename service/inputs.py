"""What callers sent, kept sealed where the operator gives keys, so that `replay` needs nothing of the caller.

Fernet (AES-128-CBC with HMAC-SHA256); the keys lie in a file, not in the store, so whoever has the store alone reads
nothing. The newest key, the first, seals; any of them opens, so that keys can be changed.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.deferred import Deferred
from service.json_body import MAX_BYTES, dump_json

if TYPE_CHECKING:
    from cryptography import fernet
else:
    fernet = Deferred("cryptography.fernet")


class KeyFileError(ValueError):
    """What is wrong with the file of keys, and what to do."""


class SealedInputs:
    """Seals and opens inputs of answers; the keys stay out of its repr."""

    def __init__(self, keys: fernet.MultiFernet) -> None:
        self._keys = keys

    def seal(self, body: Mapping[str, Any]) -> str:
        """The input as it decides the answer, without the token that fetches more of it."""
        told = dump_json({name: value for name, value in body.items() if name != "fhirAuthorization"})
        return self._keys.encrypt(zlib.compress(told)).decode()

    def opened(self, sealed: str) -> bytes:
        """What was sealed; KeyFileError where it was with another key, or was changed since."""
        try:
            packed = self._keys.decrypt(sealed)
        except fernet.InvalidToken:
            raise KeyFileError("the input was sealed with a key that is not in the file; add that key") from None
        return zlib.decompressobj().decompress(packed, 8 * MAX_BYTES)


def read_keys(path: Path) -> SealedInputs:
    """The keys of a file, one a line, the newest first; KeyFileError where it holds none or something else."""
    try:
        written = [line.strip() for line in path.read_text("ascii").splitlines() if line.strip()]
        keys = [fernet.Fernet(line) for line in written]
    except (OSError, ValueError):
        keys = []
    if not keys:
        raise KeyFileError(
            "the file holds no keys; write one a line, each 32 random bytes in URL-safe base64, such as `openssl rand "
            "-base64 32 | tr +/ -_` makes"
        )
    if path.stat().st_mode & 0o077:
        raise KeyFileError("others may read the file; let its owner alone (chmod 600)")
    return SealedInputs(fernet.MultiFernet(keys))

"""Base64 as Go's decoder takes it, and where it finds fault with it.

Pure. Called by `structs` for images.
"""

from __future__ import annotations

import base64
import re

_ALPHABET = re.compile(r"[A-Za-z0-9+/]*")
_SKIPPED = re.compile(r"[\r\n]")
_WHOLE = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class CorruptError(ValueError):
    """No base64; the text is Go's."""


def decode(text: str) -> bytes:
    """The bytes of a base64 text; line ends in it are skipped.

    Raises:
        CorruptError: with the offset that Go names.
    """
    bare = _SKIPPED.sub("", text)
    if _WHOLE.fullmatch(bare) is None:
        raise CorruptError(f"illegal base64 data at input byte {_corrupt_at(text)}")
    return base64.b64decode(bare)


def _corrupt_at(text: str) -> int:
    """The offset at which Go's decoder gives up, in a text that it does not take."""
    places = [at for at, character in enumerate(text) if character not in "\r\n"]
    bare = _SKIPPED.sub("", text)
    good = _ALPHABET.match(bare)
    read = good.end() if good else 0
    begun = read % 4
    if read == len(bare):
        return len(text) - begun  # the last group of four is not whole
    if bare[read] != "=" or begun < 2:
        return places[read]
    if begun == 3:
        return places[read + 1]  # something behind the end
    if read + 1 == len(bare):
        return len(text)
    return places[read] if bare[read + 1] != "=" else places[read + 2]

"""Turns Python values into what Redis understands, and what Redis answers into Python values.

Replies and keys reach scripts as str, and as bytearray where they are not UTF-8. The server writes the first as
marshalled str and the second as marshalled bytes, which is what `unpacked` undoes. The other way round is RedisGears'
table: what has no counterpart in Redis becomes the text PY RECORD.
"""

from __future__ import annotations

import re
from typing import Any, List, Pattern

NO_COUNTERPART = b"PY RECORD"

SMALLEST_INTEGER = -(1 << 63)
LARGEST_INTEGER = (1 << 63) - 1


def unpacked(value: Any) -> Any:
    """Returns a value of the server's with bytes, which are what was not UTF-8, as bytearray.

    Names of fields stay bytes, since a bytearray cannot be the key of a dict.
    """
    kind = value.__class__
    if kind is bytes:
        return bytearray(value)
    if kind is list:
        return [unpacked(item) for item in value]
    if kind is dict:
        return {name: unpacked(item) for name, item in value.items()}
    return value


def argument(value: Any) -> bytes:
    """Returns an argument of a command as bytes: bytes as they are, anything else as its text."""
    kind = value.__class__
    if kind is str:
        return encoded(value)
    if kind is bytes:
        return value  # type: ignore[no-any-return]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return encoded(str(value))


def encoded(text: str) -> bytes:
    """Returns a text as UTF-8; halves of surrogate pairs, which UTF-8 cannot say, as Python writes them."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def bulk(data: bytes) -> bytes:
    """Returns a bulk string in RESP."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def reply(value: Any, with_signs: bool = False) -> bytes:
    """Returns a value as a reply in RESP.

    `with_signs` is for answers to commands that scripts implement: there a str that begins with + is a simple string
    and one that begins with - an error.
    """
    if isinstance(value, str):
        if with_signs and len(value) > 1 and value[0] in "+-":
            return value[:1].encode() + encoded(_one_line(value[1:])) + b"\r\n"
        return bulk(encoded(value))
    if isinstance(value, bytes):
        return bulk(value)
    if isinstance(value, int):
        if SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            return b":%d\r\n" % int(value)
        return bulk(str(value).encode())
    if isinstance(value, float):
        return bulk(b"%f" % value)
    if isinstance(value, list):
        parts: List[bytes] = [b"*%d\r\n" % len(value)]
        parts.extend(reply(item, with_signs) for item in value)
        return b"".join(parts)
    return bulk(NO_COUNTERPART)


_LINE_ENDS: Pattern[str] = re.compile("[\r\n]")


def _one_line(text: str) -> str:
    """Returns a text that a simple string or an error can carry."""
    return _LINE_ENDS.sub(" ", text)

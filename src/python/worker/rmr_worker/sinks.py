"""Writes what a stage passes on into the columns of an answer.

Records that go to another shard are marshalled one by one, so that the server can send each where it belongs without
looking inside; those of a repartition have the key by whose slot it goes beside them. Results that a client gets are
replies in RESP, or, where all of them are bulk strings, as is most common, just their bytes.
"""

from __future__ import annotations

from array import array
from typing import Any, Callable, List, NamedTuple

from . import conversions
from .errors import GearsError
from .frames import dumps
from .steps import key_of

# What an entry counts in addition to its bytes, so that an answer has 4096 records at most.
ENTRY_BYTES = 64

ALWAYS_TRAVEL = frozenset({str, bytes, int, float, bool, type(None)})


class Columns(NamedTuple):
    """Says what the sections of an answer are: the lengths of the entries (four bytes each) and the entries."""

    # records, bulk or replies
    form: str
    size: int
    keys: bytes
    values: bytes

    def sections(self) -> List[bytes]:
        return [self.keys, self.values]


def column(entries: List[bytes]) -> bytes:
    """Returns a column: the lengths of all entries, then the entries."""
    return array("I", map(len, entries)).tobytes() + b"".join(entries)


def marshalled(record: Any) -> bytes:
    """Returns a record in the form in which it travels; raises gears.error if there is none."""
    try:
        return dumps(record)
    except ValueError as error:
        raise GearsError(f"Failed serializing record: {error}") from None


class RecordSink:
    """Marshals records."""

    form = "records"

    def __init__(self) -> None:
        self._values: List[bytes] = []

    def add(self, record: Any) -> int:
        """Takes a record; returns its size. Raises gears.error if it cannot travel."""
        data = marshalled(record)
        self._values.append(data)
        return len(data) + ENTRY_BYTES

    def take(self) -> Columns:
        """Returns what has been added since the last time."""
        values, self._values = self._values, []
        return Columns(self.form, len(values), b"", column(values))


class KeyedSink(RecordSink):
    """Marshals records and writes down by which key each of them is sent."""

    def __init__(self, extractor: Callable[[Any], Any]) -> None:
        super().__init__()
        self._extractor = extractor
        self._keys: List[bytes] = []

    def add(self, record: Any) -> int:
        key = conversions.encoded(key_of(self._extractor, record))
        size = super().add(record) + len(key)
        self._keys.append(key)
        return size

    def take(self) -> Columns:
        keys, self._keys = self._keys, []
        columns = super().take()
        return columns._replace(keys=column(keys))


class ReplySink:
    """Turns records into replies.

    Where they come from several shards, a record that could not travel is an error here too.
    """

    def __init__(self, is_local: bool) -> None:
        self._is_local = is_local
        self._texts: List[bytes] = []
        self._replies: List[bytes] = []
        self._is_bulk = True

    def add(self, record: Any) -> int:
        if self._is_bulk:
            if record.__class__ is str:
                data = conversions.encoded(record)
                self._texts.append(data)
                return len(data) + ENTRY_BYTES
            if record.__class__ is bytes:
                self._texts.append(record)
                return len(record) + ENTRY_BYTES
            self._is_bulk = False
            self._replies = [conversions.bulk(text) for text in self._texts]
        if not self._is_local and record.__class__ not in ALWAYS_TRAVEL:
            marshalled(record)
        data = conversions.reply(record)
        self._replies.append(data)
        return len(data) + ENTRY_BYTES

    def take(self) -> Columns:
        form, entries = ("bulk", self._texts) if self._is_bulk else ("replies", self._replies)
        self._texts, self._replies, self._is_bulk = [], [], True
        return Columns(form, len(entries), b"", column(entries))


def split_column(data: Any, count: int) -> List[bytes]:
    """Returns the entries of a column."""
    lengths = array("I")
    lengths.frombytes(bytes(data[: 4 * count]))
    entries = []
    start = 4 * count
    for length in lengths:
        entries.append(bytes(data[start : start + length]))
        start += length
    return entries

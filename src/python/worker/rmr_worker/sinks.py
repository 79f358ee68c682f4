"""Writes what a stage passes on into the columns of an answer.

Records that go to another shard are marshalled one by one, so that the server can send each where it belongs without
looking inside; those of a repartition have the key by whose slot it goes beside them. Results that a client gets are
replies in RESP, or, where all of them are bulk strings, as is most common, just their bytes.
"""

from __future__ import annotations

from array import array
from typing import Any, Callable, Iterable, List, NamedTuple

from . import conversions
from .errors import GearsError
from .frames import dumps
from .steps import key_of

# What an entry counts in addition to its bytes, so that an answer has 4096 records at most.
ENTRY_BYTES = 64

ALWAYS_TRAVEL = frozenset({str, bytes, int, float, bool, type(None)})

Fail = Callable[[BaseException], None]


class Columns(NamedTuple):
    """Says what the sections of an answer are: the lengths of the entries (four bytes each) and the entries."""

    # records, bulk or replies
    form: str
    size: int
    keys: bytes
    values: bytes

    def sections(self) -> List[bytes]:
        return [self.keys, self.values]


class Column:
    """Collects entries."""

    def __init__(self) -> None:
        self.lengths = array("I")
        self._pieces: List[bytes] = []

    def add(self, entry: bytes) -> int:
        """Adds an entry; returns what it counts."""
        self.lengths.append(len(entry))
        self._pieces.append(entry)
        return len(entry) + ENTRY_BYTES

    def add_all(self, entries: List[bytes]) -> int:
        self.lengths.extend(map(len, entries))
        self._pieces += entries
        return sum(map(len, entries)) + ENTRY_BYTES * len(entries)

    def add_joined(self, lengths: Iterable[int], entries: bytes, count: int) -> int:
        """Adds entries that stand one after the other already."""
        self.lengths.extend(lengths)
        self._pieces.append(entries)
        return len(entries) + ENTRY_BYTES * count

    def entries(self) -> List[bytes]:
        return split_column(self.bytes(), len(self.lengths))

    def bytes(self) -> bytes:
        return b"".join((self.lengths.tobytes(), *self._pieces))


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
        self._values = Column()

    def add_all(self, records: List[Any], fail: Fail) -> int:
        """Takes records, and gives `fail` what it cannot take; returns what the others count."""
        try:
            return self._values.add_all([dumps(record) for record in records])
        except ValueError:
            return sum(self._added(record, fail) for record in records)

    def take(self) -> Columns:
        """Returns what has been added since the last time."""
        values, self._values = self._values, Column()
        return Columns(self.form, len(values.lengths), b"", values.bytes())

    def _added(self, record: Any, fail: Fail) -> int:
        try:
            return self._values.add(marshalled(record))
        except GearsError as error:
            fail(error)
            return 0


class KeyedSink(RecordSink):
    """Marshals records and writes down by which key each of them is sent."""

    def __init__(self, extractor: Callable[[Any], Any]) -> None:
        super().__init__()
        self._extractor = extractor
        self._keys = Column()

    def add_all(self, records: List[Any], fail: Fail) -> int:
        size = 0
        for record in records:
            try:
                key = conversions.encoded(key_of(self._extractor, record))
                data = marshalled(record)
            except BaseException as error:
                fail(error)
                continue
            size += self._keys.add(key) + self._values.add(data)
        return size

    def take(self) -> Columns:
        keys, self._keys = self._keys, Column()
        return super().take()._replace(keys=keys.bytes())


class ReplySink:
    """Turns records into replies.

    Where they come from several shards, a record that could not travel is an error here too. `with_signs` is for what
    answers a command that a script implements.
    """

    def __init__(self, is_local: bool, with_signs: bool = False) -> None:
        self._is_local = is_local
        self._with_signs = with_signs
        self._column = Column()
        self._is_bulk = not with_signs

    def add_all(self, records: List[Any], fail: Fail) -> int:
        if self._is_bulk:
            try:
                text = "".join(records)
            except TypeError:  # not all of them are str
                pass
            else:
                if text.isascii():
                    return self._column.add_joined(map(len, records), text.encode(), len(records))
                return self._column.add_all([conversions.encoded(record) for record in records])
        return sum(self._added(record, fail) for record in records)

    def take(self) -> Columns:
        column, form = self._column, "bulk" if self._is_bulk else "replies"
        self._column, self._is_bulk = Column(), not self._with_signs
        return Columns(form, len(column.lengths), b"", column.bytes())

    def _added(self, record: Any, fail: Fail) -> int:
        if self._is_bulk:
            if isinstance(record, str):
                return self._column.add(conversions.encoded(record))
            if isinstance(record, bytes):
                return self._column.add(record)
            self._is_bulk = False
            replies = Column()
            replies.add_all([conversions.bulk(text) for text in self._column.entries()])
            self._column = replies
        if not self._is_local and record.__class__ not in ALWAYS_TRAVEL:
            try:
                marshalled(record)
            except GearsError as error:
                fail(error)
                return 0
        return self._column.add(conversions.reply(record, self._with_signs))


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

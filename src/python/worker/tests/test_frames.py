"""Frames, columns and conversions, without any process."""

from __future__ import annotations

import os
import socket
import unittest

from rmr_worker import conversions, frames, sinks, steps
from rmr_worker.errors import GearsError

from . import vectors
from .batches import hash_slot

VECTORS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "vectors.txt")


class Frames(unittest.TestCase):
    def test_vectors(self) -> None:
        with open(VECTORS, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertEqual(lines, [vector.line() for vector in vectors.vectors()], "python3 -m tests.vectors makes them")

    def test_there_and_back(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        for vector in vectors.vectors():
            frames.FrameWriter(ours).write(vector.kind, vector.id, vector.head, vector.sections)
            frame = frames.read_frame(theirs)
            self.assertEqual((frame.kind, frame.id, frame.head), (vector.kind, vector.id, vector.head))
            self.assertEqual(bytes(frame.sections), b"".join(vector.sections))

    def test_the_end_of_the_other_side(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        ours.sendall(frames.encode(frames.Kind.NEXT, 1, (1, 0))[:-1])
        ours.close()
        with self.assertRaises(frames.Closed):
            frames.read_frame(theirs)

    def test_values_strung_together(self) -> None:
        records = [1, "x", None, {"a": [1.5]}, (b"y",), {1, 2}, 1 << 70]
        entries = b"".join(map(frames.dumps, records))
        self.assertEqual(frames.strung_together(len(records), entries), records)
        self.assertEqual(frames.strung_together(0, b""), [])


class Columns(unittest.TestCase):
    def fail(self, error: BaseException) -> None:  # type: ignore[override]
        self.failures.append(error)

    def setUp(self) -> None:
        self.failures = []  # type: ignore[var-annotated]

    def test_there_and_back(self) -> None:
        entries = [b"", b"x", b"\x00" * 300]
        self.assertEqual(sinks.split_column(vectors.column(*entries), 3), entries)

    def test_results_of_one_kind_and_of_several(self) -> None:
        sink = sinks.ReplySink(is_local=True)
        sink.add_all(["a", "ü"], self.fail)
        sink.add_all(["b"], self.fail)
        columns = sink.take()
        self.assertEqual((columns.form, sinks.split_column(columns.values, 3)), ("bulk", [b"a", "ü".encode(), b"b"]))
        sink.add_all(["a", b"\xff", 5], self.fail)
        columns = sink.take()
        self.assertEqual(
            (columns.form, sinks.split_column(columns.values, 3)),
            ("replies", [b"$1\r\na\r\n", b"$1\r\n\xff\r\n", b":5\r\n"]),
        )
        self.assertEqual(sink.take().form, "bulk")

    def test_records_that_cannot_travel(self) -> None:
        for sink in (sinks.RecordSink(), sinks.KeyedSink(lambda record: "k"), sinks.ReplySink(is_local=False)):
            self.failures = []
            sink.add_all([1, object(), 2], self.fail)
            self.assertEqual(sink.take().size, 2)
            (failure,) = self.failures
            self.assertIsInstance(failure, GearsError)

    def test_keys_are_texts(self) -> None:
        sink = sinks.KeyedSink(lambda record: record)
        sink.add_all(["k", 3, None], self.fail)
        self.assertEqual(sinks.split_column(sink.take().keys, 3), [b"k", b"3", b"None"])


class Conversions(unittest.TestCase):
    def test_signs(self) -> None:
        for value, reply in (
            ("+OK", b"+OK\r\n"),
            ("-ERR no\r\nluck", b"-ERR no  luck\r\n"),
            ("+", b"$1\r\n+\r\n"),
            (["-x", "y"], b"*2\r\n-x\r\n$1\r\ny\r\n"),
        ):
            self.assertEqual(conversions.reply(value, with_signs=True), reply)
        self.assertEqual(conversions.reply("-5"), b"$2\r\n-5\r\n")

    def test_halves_of_surrogate_pairs(self) -> None:
        self.assertEqual(conversions.reply("\ud800"), b"$3\r\n\xed\xa0\x80\r\n")

    def test_slots_of_the_introduction(self) -> None:
        # By what the workers' keys are sorted to shards.
        slots = {"Smith": 14205, "Sanchez": 9503, "Pibbles": 169, "foo": 12182, "person:1": 1603, "person:2": 13856}
        slots.update({"person:3": 9729, "person:5": 1735, "{foo}bar": 12182, "06S": 0})
        for key, slot in slots.items():
            self.assertEqual(hash_slot(key.encode()), slot)

    def test_group_keys(self) -> None:
        class Text(str):
            pass

        for value, key in (("a", "a"), (3, "3"), (None, "None"), (b"x", "b'x'"), (Text("t"), "t"), (("a",), "('a',)")):
            self.assertEqual(steps.key_of(lambda record: record, value), key)

    def test_zero_values(self) -> None:
        from rmr_worker.reducers import fresh_zero

        fresh = fresh_zero([[1]])
        first, second = fresh(), fresh()
        self.assertEqual((first, second), ([[1]], [[1]]))
        self.assertIsNot(first[0], second[0])

"""The records that readers make."""

from __future__ import annotations

from .batches import Failed, parsed, strings
from .case import WorkerCase
from .server import Kind


class Keys(WorkerCase):
    def test_types(self) -> None:
        data = {
            "s": ("s", "text"),
            "h": ("h", {"f": "v"}),
            "l": ("l", ["a", "b"]),
            "t": ("t", None),
            "z": ("z", None),
            "m": ("m", None),
            "x": ("x", None),
            "e": ("e", None),
        }
        self.assertEqual(
            self.results("GB().run()", data),
            [
                "{'key': 's', 'value': 'text', 'type': 'string', 'event': None}",
                "{'key': 'h', 'value': {'f': 'v'}, 'type': 'hash', 'event': None}",
                "{'key': 'l', 'value': ['a', 'b'], 'type': 'list', 'event': None}",
                "{'key': 't', 'value': None, 'type': 'set', 'event': None}",
                "{'key': 'z', 'value': None, 'type': 'zset', 'event': None}",
                "{'key': 'm', 'value': None, 'type': 'module', 'event': None}",
                "{'key': 'x', 'value': None, 'type': 'unknown', 'event': None}",
                "{'key': 'e', 'value': None, 'type': 'empty', 'event': None}",
            ],
        )

    def test_texts_are_those_of_the_dicts(self) -> None:
        odd = {"it's": ("s", 'a "quoted" \\ \n'), "ü": ("s", "\u20ac"), "b": ("s", b"\xff")}
        self.assertEqual(self.results("GB().run()", odd), self.results("GB().map(lambda r: str(r)).run()", odd))
        self.assertEqual(
            self.results("GB().run()", strings(a="it's")),
            self.results("GB().map(lambda r: str(r)).run()", strings(a="it's")),
        )

    def test_what_is_not_utf8_is_a_bytearray(self) -> None:
        script = "GB().map(lambda r: (type(r['key']).__name__, r['value'])).run()"
        data = {"k": ("s", b"\xff"), "h": ("h", {"f": b"\xfe"}), "l": ("l", ["a", b"\xfe"])}
        data[b"\xff"] = ("s", "x")  # type: ignore[index]
        self.assertEqual(
            self.results(script, data),
            [
                "('str', bytearray(b'\\xff'))",
                "('str', {'f': bytearray(b'\\xfe')})",
                "('str', ['a', bytearray(b'\\xfe')])",
                "('bytearray', 'x')",
            ],
        )

    def test_short_forms_that_the_server_may_write(self) -> None:
        # Short ASCII strings with one byte of length, and names of fields that are written once.
        fields = [
            b"{\xf5\x01\x00\x00\x00fz\x01a\xfa\x01gz\x01b0",
            b"{r\x00\x00\x00\x00z\x01cr\x01\x00\x00\x00z\x01d0",
        ]
        sections = [b"z\x02k1z\x02k2", b"hh", b"".join(fields)]
        self.worker.open(self.worker.load("GB().map(lambda r: (r['key'], r['value'])).run()")["run"], 1)
        batch = (1, 0, "keys", 2, False, tuple(map(len, sections)))
        output = self.worker.run_stage(Kind.RUN, batch, sections)
        self.assertEqual(
            [parsed(entry) for entry in output.entries],
            ["('k1', {'f': 'a', 'g': 'b'})", "('k2', {'f': 'c', 'g': 'd'})"],
        )

    def test_what_the_server_is_to_read(self) -> None:
        keys = {"kind": "keys", "pattern": "*", "is_exact": False, "with_values": True, "needs": "all"}
        for number, (script, reading) in enumerate(
            [
                ("GB().run()", keys),
                ("GB().run('')", keys),
                ("GB('KeysReader', 'p:*').run()", dict(keys, pattern="p:*")),
                ("GearsBuilder(reader='KeysReader').run('x', noScan=True)", dict(keys, pattern="x", is_exact=True)),
                ("GB().run(readValue=False)", dict(keys, with_values=False)),
                ("GB().count().run()", dict(keys, needs="count")),
                ("GB('KeysOnlyReader').run('a*')", dict(keys, kind="names", pattern="a*", with_values=False)),
                (
                    "GB('KeysOnlyReader').run(patternGenerator=lambda: ('g', True))",
                    dict(keys, kind="names", pattern="g", is_exact=True, with_values=False),
                ),
                ("GB('PythonReader').run(lambda: 1)", {"kind": "own"}),
                ("GB('ShardsIDReader').run()", {"kind": "own"}),
                ("GB('StreamReader').run('s')", {"kind": "own"}),
            ]
        ):
            self.assertEqual(self.worker.open(self.worker.load(script)["run"], number)["reader"], reading, script)

    def test_a_pattern_generator_that_raises(self) -> None:
        key = self.worker.load("GB('KeysOnlyReader').run(patternGenerator=lambda: 1/0)")["run"]
        with self.assertRaisesRegex(Failed, "ZeroDivisionError"):
            self.worker.open(key, 1)

    def test_names_only(self) -> None:
        self.assertEqual(self.results("GB('KeysOnlyReader').run()", strings(a="1", b="2")), ["a", "b"])
        self.assertEqual(self.results("GB().run(readValue=False)", strings(a="1")), ["{'key': 'a', 'event': None}"])


class Own(WorkerCase):
    def test_generators(self) -> None:
        self.assertEqual(self.results("def f():\n  yield 1\n  yield 2\nGB('PythonReader').run(f)"), ["1", "2"])
        self.assertEqual(self.results("GB('PythonReader').run(lambda: (x for x in [[3, 1, 2]]))"), ["[3, 1, 2]"])

    def test_anything_else_is_one_record(self) -> None:
        self.assertEqual(self.results("GB('PythonReader').run(lambda: [1, 2])"), ["[1, 2]"])

    def test_a_slow_generator_is_answered_bit_by_bit(self) -> None:
        script = (
            "import time\ndef f():\n  for i in range(4):\n    time.sleep(0.06)\n    yield i\nGB('PythonReader').run(f)"
        )
        self.worker.open(self.worker.load(script)["run"], 1)
        output = self.worker.run_stage(Kind.END, (1, 0))
        self.assertEqual(len(output.entries), 4)
        self.assertGreater(output.answers, 1)

    def test_accumulating_over_several_answers(self) -> None:
        script = "import time\ndef f():\n  for i in range(4):\n    time.sleep(0.06)\n    yield i\n"
        self.assertEqual(self.results(script + "GB('PythonReader').count().run(f)"), ["4"])

    def test_generators_that_are_not_read_to_their_end(self) -> None:
        script = """
def f():
    try:
        for i in range(100): yield i
    finally:
        execute('SET', 'left', 'yes')
GB('PythonReader').limit(1).run(f)
"""
        self.assertEqual(self.results(script), ["0"])
        self.assertEqual(self.database.data, {"left": "yes"})

    def test_generators_run_commands(self) -> None:
        self.database.data["k"] = "v"
        self.assertEqual(
            self.results("GB('PythonReader').run(lambda: (execute('GET', k) for k in ['k', 'n']))"), ["v", "None"]
        )

    def test_shards(self) -> None:
        self.assertEqual(self.results("GB('ShardsIDReader').run()"), ["1"])
        self.assertEqual(self.results("GB('ShardsIDReader').count().run()"), ["1"])

    def test_streams(self) -> None:
        self.database.data["s"] = [["%d-0" % i, ["f", "v%d" % i, "b", b"\xff"]] for i in range(1, 4)]
        self.assertEqual(
            self.results("GB('StreamReader').run('s', fromId='1-0')"),
            ["{'id': '%d-0', 'value': {'f': 'v%d', 'b': bytearray(b'\\xff')}, 'key': 's'}" % (i, i) for i in (2, 3)],
        )
        self.database.data["long"] = [["%05d" % i, ["f", "v"]] for i in range(1200)]
        self.assertEqual(self.results("GB('StreamReader').count().run('long')"), ["1200"])
        self.assertEqual(self.results("GB('StreamReader').run('none')"), [])

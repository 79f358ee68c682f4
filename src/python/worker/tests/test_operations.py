"""Every operation of the builder, on one shard and on three."""

from __future__ import annotations

from .batches import strings
from .case import WorkerCase, from_python

PEOPLE = {
    "person:1": ("h", {"name": "Rick Sanchez", "age": "70"}),
    "person:2": ("h", {"name": "Morty Smith", "age": "14"}),
    "person:3": ("h", {"name": "Summer Smith", "age": "17"}),
    "person:4": ("h", {"name": "Beth Smith", "age": "35"}),
    "person:5": ("h", {"name": "Shrimply Pibbles", "age": "87"}),
}
# As the introduction has them: on three shards, after their slots.
ON_SHARDS = [
    {"person:1": PEOPLE["person:1"], "person:5": PEOPLE["person:5"]},
    {"person:3": PEOPLE["person:3"], "person:4": PEOPLE["person:4"]},
    {"person:2": PEOPLE["person:2"]},
]
AGE = "GB().map(lambda x: int(x['value']['age']))"
NAME = "def fname(x):\n  return x['value']['name'].split(' ')[1]\n"
MAXIMUM = "def maximum(a, x):\n  a = a if a else 0\n  return max(a, x)\n"
FAMILIES = ["{'key': 'Pibbles', 'value': 1}", "{'key': 'Sanchez', 'value': 1}", "{'key': 'Smith', 'value': 3}"]


class OneShard(WorkerCase):
    def of(self, records: str, steps: str, run: str = "") -> list:
        return self.results(from_python(records, steps, run))

    def test_nothing(self) -> None:
        self.assertEqual(self.results("GB().run()"), [])
        for operation in ("count()", "avg()", "accumulate(lambda a, r: 1)", "distinct()", "countby()"):
            self.assertEqual(self.results(f"GB().{operation}.run()"), [], operation)
        # sorting nothing is as much as accumulating nothing
        self.assertEqual(self.results("GB().sort().run()"), [])

    def test_map(self) -> None:
        self.assertEqual(self.of("[1, 2]", ".map(lambda x: x + 1)"), ["2", "3"])
        self.assertEqual(self.of("[1]", ".map(lambda x: None)"), ["None"])
        self.assertEqual(self.of("[14]", ".map(lambda x: (84, 2))"), ["(84, 2)"])

    def test_foreach_passes_the_record_on(self) -> None:
        self.assertEqual(self.of("[[1]]", ".foreach(lambda x: x.append(2))"), ["[1, 2]"])
        self.assertEqual(self.of("[1]", ".foreach(lambda x: 5)"), ["1"])

    def test_filter(self) -> None:
        self.assertEqual(self.of("range(5)", ".filter(lambda x: x % 2)"), ["1", "3"])

    def test_flatmap_takes_lists_from_their_end(self) -> None:
        self.assertEqual(self.of("[[3, 1, 2]]", ".flatmap(lambda x: x)"), ["2", "1", "3"])
        self.assertEqual(self.of("[1, 2]", ".flatmap(lambda x: [] if x == 1 else (x,))"), ["(2,)"])

    def test_accumulate(self) -> None:
        self.assertEqual(self.of("[1, 2, 3]", ".accumulate(lambda a, x: x + (a or 0))"), ["6"])
        self.assertEqual(self.of("[1]", ".accumulate(lambda a, x: a)"), ["None"])

    def test_limit(self) -> None:
        self.assertEqual(self.of("range(10)", ".limit(3)"), ["0", "1", "2"])
        self.assertEqual(self.of("range(10)", ".limit(3, 2)"), ["2", "3", "4"])
        self.assertEqual(self.of("range(10)", ".limit(0)"), [])
        self.assertEqual(self.of("range(10)", ".limit(5).limit(2, 1)"), ["1", "2"])

    def test_limit_reads_no_further(self) -> None:
        script = "seen = []\ndef f():\n  for i in range(100):\n    seen.append(i)\n    yield i\n"
        self.assertEqual(
            self.results(script + "GB('PythonReader').limit(2).map(lambda x: (x, len(seen))).run(f)"),
            ["(0, 1)", "(1, 2)"],
        )

    def test_groups(self) -> None:
        words = "['a', 'b', 'a', 3, 3]"
        for name in ("localgroupby", "groupby"):
            steps = f".{name}(lambda x: x, lambda k, a, r: (a or 0) + 1)"
            self.assertEqual(
                self.of(words, steps),
                ["{'key': 'a', 'value': 2}", "{'key': 'b', 'value': 1}", "{'key': '3', 'value': 2}"],
            )
        steps = ".batchgroupby(lambda x: x, lambda k, records: (k, len(records)))"
        self.assertEqual(
            self.of(words, steps),
            ["{'key': 'a', 'value': ('a', 2)}", "{'key': 'b', 'value': ('b', 1)}", "{'key': '3', 'value': ('3', 2)}"],
        )

    def test_aggregate(self) -> None:
        self.assertEqual(self.of("[1, 2]", ".aggregate(0, lambda a, x: a + x, lambda a, x: a + x)"), ["3"])
        # anything that can be called will do here
        self.assertEqual(self.of("[1, 5, 2]", ".aggregate(0, max, max)"), ["5"])

    def test_aggregate_begins_again_where_the_accumulator_is_false(self) -> None:
        self.assertEqual(self.of("[-5, 1]", ".aggregate(5, lambda a, x: a + x, lambda a, x: x)"), ["6"])

    def test_aggregateby(self) -> None:
        steps = ".aggregateby(lambda x: x % 2, 0, lambda k, a, x: a + x, lambda k, a, x: a + x)"
        self.assertEqual(self.of("range(5)", steps), ["{'key': '0', 'value': 6}", "{'key': '1', 'value': 4}"])

    def test_count(self) -> None:
        self.assertEqual(self.of("range(7)", ".count()"), ["7"])
        self.assertEqual(self.of("range(7)", ".filter(lambda x: x > 2).count()"), ["4"])
        self.assertEqual(self.results("GB().count().run()", strings(a="1", b="2")), ["2"])

    def test_countby(self) -> None:
        self.assertEqual(self.of("[1, 1, 'x']", ".countby()"), ["{'key': '1', 'value': 2}", "{'key': 'x', 'value': 1}"])
        self.assertEqual(self.of("[1, 1, 'x']", ".countby(str)"), self.of("[1, 1, 'x']", ".countby()"))

    def test_avg(self) -> None:
        self.assertEqual(self.of("['1', '2']", ".avg()"), ["1.5"])
        self.assertEqual(self.of("[(1, 4), (2, 6)]", ".avg(lambda x: x[1])"), ["5.0"])

    def test_distinct(self) -> None:
        self.assertEqual(sorted(self.of("[2, 1, 2]", ".distinct()")), ["1", "2"])

    def test_sort(self) -> None:
        self.assertEqual(self.of("[2, 1, 3]", ".sort()"), ["1", "2", "3"])
        self.assertEqual(self.of("[2, 1, 3]", ".sort(False)"), ["3", "2", "1"])

    def test_collect_and_repartition_move_nothing_here(self) -> None:
        self.assertEqual(self.of("[1]", ".collect().repartition(lambda x: 'k').collect()"), ["1"])

    def test_objects_of_a_script_stay_what_they_are_on_one_shard(self) -> None:
        script = "class C:\n  n = 5\n" + from_python("[C()]", ".collect().map(lambda c: c.n)")
        self.assertEqual(self.results(script), ["5"])

    def test_results_without_str(self) -> None:
        for value, reply in (
            ("5", 5),
            ("True", 1),
            ("'x'", "x"),
            ("b'\\xff'", "\udcff"),
            ("1.5", "1.500000"),
            ("(5,)", "PY RECORD"),
            ("None", "PY RECORD"),
            ("{}", "PY RECORD"),
            ("[1, ['a', None]]", [1, ["a", "PY RECORD"]]),
            ("'-5'", "-5"),
            ("'+1'", "+1"),
            ("1 << 70", str(1 << 70)),
        ):
            self.assertEqual(self.of(f"[{value}]", "", ", convertToStr=False"), [reply], value)
        self.assertEqual(self.of("['a', 1, b'b']", "", ", convertToStr=False"), ["a", 1, "b"])

    def test_the_builder_is_changed_and_returned(self) -> None:
        self.assertEqual(self.results("gb = GB()\ngb.map(lambda r: 1)\ngb.run()", strings(a="1")), ["1"])

    def test_introduction(self) -> None:
        self.assertEqual(self.results(AGE + ".run('person:*')", PEOPLE), ["70", "14", "17", "35", "87"])
        self.assertEqual(self.results(MAXIMUM + AGE + ".accumulate(maximum).run('person:*')", PEOPLE), ["87"])
        mean = ".accumulate(lambda a, x: (a[0] + x, a[1] + 1) if a else (x, 1))"
        self.assertEqual(self.results(AGE + mean + ".run()", PEOPLE), ["(223, 5)"])
        self.assertEqual(self.results(AGE + mean + ".map(lambda x: x[0]/x[1]).run()", PEOPLE), ["44.6"])
        self.assertEqual(sorted(self.results(NAME + "GB().countby(fname).run('person:*')", PEOPLE)), FAMILIES)

    def test_many_records_come_in_several_answers(self) -> None:
        script = from_python("range(20000)", "")
        opened = self.worker.load(script)
        self.worker.open(opened["run"], 5)
        from .server import Kind

        output = self.worker.run_stage(Kind.END, (5, 0))
        self.assertEqual(len(output.entries), 20000)
        self.assertGreater(output.answers, 4)
        self.assertEqual(self.results(from_python("[0]", ".flatmap(lambda x: list(range(9000)))"))[0], "8999")


class ThreeShards(WorkerCase):
    def test_accumulate_is_local_and_collect_is_not(self) -> None:
        self.assertEqual(
            self.on_shards(MAXIMUM + AGE + ".accumulate(maximum).run('person:*')", ON_SHARDS), ["14", "35", "87"]
        )
        script = MAXIMUM + AGE + ".accumulate(maximum).collect().accumulate(maximum).run('person:*')"
        self.assertEqual(self.on_shards(script, ON_SHARDS), ["87"])

    def test_aggregates(self) -> None:
        self.assertEqual(self.on_shards(AGE + ".aggregate(0, max, max).run('person:*')", ON_SHARDS), ["87"])
        self.assertEqual(self.on_shards(AGE + ".avg().run('person:*')", ON_SHARDS), ["44.6"])
        self.assertEqual(self.on_shards("GB().count().run()", ON_SHARDS), ["5"])
        self.assertEqual(self.on_shards(AGE + ".sort().run()", ON_SHARDS), ["14", "17", "35", "70", "87"])
        self.assertEqual(self.on_shards("GB().map(lambda r: r['type']).distinct().run()", ON_SHARDS), ["hash"])

    def test_families(self) -> None:
        self.assertEqual(self.on_shards(NAME + "GB().countby(fname).run('person:*')", ON_SHARDS), FAMILIES)
        more = """
def key(x):
  return x['key']
def counter(k, a, r):
  return (a if a else 0) + 1
def summer(k, a, r):
  return (a if a else 0) + r['value']
"""
        for flow in (
            "GB().localgroupby(fname, counter).groupby(key, summer)",
            "GB().groupby(fname, counter)",
            "GB().localgroupby(fname, counter).repartition(key).localgroupby(key, summer)",
            "GB().aggregateby(fname, 0, lambda k, a, r: a + 1, lambda k, a, r: a + r)",
            "GB().batchgroupby(fname, lambda k, records: len(records))",
        ):
            self.assertEqual(self.on_shards(NAME + more + flow + ".run('person:*')", ON_SHARDS), FAMILIES, flow)

    def test_repartition_sends_records_to_the_shard_of_their_key(self) -> None:
        script = "GB().repartition(lambda r: r['value']['name'].split(' ')[1]).map(lambda r: hashtag()).run()"
        self.assertEqual(len(self.on_shards(script, ON_SHARDS)), 5)

    def test_collect_false_gives_the_local_records(self) -> None:
        self.assertEqual(self.on_shards(AGE + ".run(collect=False)", ON_SHARDS), ["70", "87"])
        self.assertEqual(len(self.on_shards(AGE + ".collect().run(collect=False)", ON_SHARDS)), 5)

    def test_shards(self) -> None:
        self.assertEqual(self.on_shards("GB('ShardsIDReader').run()", [{}, {}, {}]), ["shard-0", "shard-1", "shard-2"])
        self.assertEqual(self.on_shards("GB('ShardsIDReader').count().run()", [{}, {}, {}]), ["3"])

    def test_objects_of_a_script_cannot_travel(self) -> None:
        script = "class C:\n  pass\n" + from_python("[C()]", ".collect()", ", convertToStr=False")
        result = self.shards(2).run(script, [{}, {}])
        self.assertEqual(result.results, [])
        self.assertEqual(len(result.errors), 2)
        self.assertIn("Failed serializing record", result.errors[0])

    def test_all_errors_are_collected(self) -> None:
        result = self.shards(2).run("GB().map(lambda r: 1/0).run()", [strings(a="1", b="2"), strings(c="3")])
        self.assertEqual(result.results, [])
        self.assertEqual(len(result.errors), 3)

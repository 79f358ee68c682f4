"""The examples of the introduction to RedisGears, as they stand there.

The text describes release 0.9: where 1.2.13 differs, as in what a record of KeysReader has, 1.2.13 holds.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .batches import hash_slot, keys_batch
from .case import WorkerCase
from .cluster import Cluster, Result
from .server import Database, Kind

FOO = {"foo": ("s", "bar")}
RICK_AND_MORTY = {
    "person:1": ("h", {"name": "Rick Sanchez", "age": "70"}),
    "person:2": ("h", {"name": "Morty Smith", "age": "14"}),
}
DATA: Dict[str, Tuple[str, Any]] = {
    **FOO,
    **RICK_AND_MORTY,
    "person:3": ("h", {"name": "Summer Smith", "age": "17"}),
    "person:4": ("h", {"name": "Beth Smith", "age": "35"}),
    "person:5": ("h", {"name": "Shrimply Pibbles", "age": "87"}),
}

MAXIMUM = """
def maximum(a, x):
  ''' Returns the maximum '''
  a = a if a else 0  # initialize the accumulator
  return max(a, x)
"""
MEAN = """
def prepare_avg(a, x):
  ''' Accumulates sum and count of records '''
  a = a if a else (0, 0)  # accumulator is a tuple of sum and count
  a = (a[0] + x, a[1] + 1)
  return a

def compute_avg(x):
  ''' Returns the average '''
  # average is quotient of sum and count
  return x[0]/x[1]
"""
FAMILIES = """
def fname(x):
  ''' Extracts the family name from a person's record '''
  return x['value']['name'].split(' ')[1]

def key(x):
  ''' Extracts the key of a record '''
  return x['key']

def counter(k, a, r):
  ''' Counts records '''
  return (a if a else 0) + 1

def summer(k, a, r):
  ''' Sums record values '''
  return (a if a else 0) + r['value']
"""
COUNTS = ["{'key': 'Pibbles', 'value': 1}", "{'key': 'Sanchez', 'value': 1}", "{'key': 'Smith', 'value': 3}"]


def shard_of(key: str) -> int:
    """Returns which of three shards has a key."""
    return hash_slot(key.encode()) * 3 // 16384


class StandAlone(WorkerCase):
    def given(self, script: str, data: Dict[str, Tuple[str, Any]]) -> List[Any]:
        return self.results(script, data)

    def test_the_simplest_function(self) -> None:
        self.assertEqual(self.run_script("GearsBuilder().run()"), Result([], []))

    def test_three_ways_for_achieving_the_same(self) -> None:
        for builder in ("GearsBuilder()", "GearsBuilder('KeysReader')", "GearsBuilder(reader='KeysReader')"):
            self.assertEqual(
                self.given(builder + ".run()", FOO),
                ["{'key': 'foo', 'value': 'bar', 'type': 'string', 'event': None}"],
            )
        self.worker.load("assert GB is GearsBuilder")

    def test_a_filter_in_place_of_a_pattern(self) -> None:
        data = {**FOO, **RICK_AND_MORTY}
        persons = [
            "{'key': 'person:1', 'value': {'name': 'Rick Sanchez', 'age': '70'}, 'type': 'hash', 'event': None}",
            "{'key': 'person:2', 'value': {'name': 'Morty Smith', 'age': '14'}, 'type': 'hash', 'event': None}",
        ]
        self.assertEqual(self.given("GB().filter(lambda x: x['key'].startswith('person:')).run()", data), persons)
        script = """
# A utility function
def isperson(x):
    ''' Checks if the record's key looks like a person '''
    return x['key'].startswith('person:')

# A RedisGears function
gb = GB()
gb.filter(isperson)
gb.run()
"""
        self.assertEqual(self.given(script, data), persons)

    def test_mapping_records(self) -> None:
        script = """
gb = GearsBuilder()                       # declare a function builder
gb.map(lambda x: int(x['value']['age']))  # map each record to just an age
gb.run('person:*')                        # run it
"""
        self.assertEqual(self.given(script, RICK_AND_MORTY), ["70", "14"])

    def test_accumulating_data(self) -> None:
        script = """
gb = GearsBuilder()
gb.map(lambda x: int(x['value']['age']))
gb.accumulate({})
{}
gb.run('person:*')
"""
        self.assertEqual(self.given(MAXIMUM + script.format("maximum", ""), RICK_AND_MORTY), ["70"])
        self.assertEqual(self.given(MEAN + script.format("prepare_avg", ""), RICK_AND_MORTY), ["(84, 2)"])
        mean = script.format("prepare_avg", "gb.map(compute_avg)")
        self.assertEqual(self.given(MEAN + mean, RICK_AND_MORTY), ["42.0"])
        count = "def count(a, _):\n    ''' Accumulates a count of records '''\n    return 1 + (a if a else 0)\n"
        self.assertEqual(self.given(count + script.format("count", ""), RICK_AND_MORTY), ["2"])

    def test_writing_data(self) -> None:
        script = """
def age(x):
  ''' Extracts the age from a person's record '''
  return int(x['value']['age'])

def cas(x):
  ''' Checks and sets the current maximum '''
  k = 'age:maximum'
  v = execute('GET', k)   # read key's current value
  v = int(v) if v else 0  # initialize to 0 if None
  if x > v:               # if a new maximum found
    execute('SET', k, x)  # set key to new value

gb = GearsBuilder()
gb.map(age)
gb.foreach(cas)
gb.run('person:*')
"""
        self.assertEqual(self.given(script, {"person:4": DATA["person:4"]}), ["35"])
        self.assertEqual(self.database.data["age:maximum"], "35")
        self.given(script, {"person:5": DATA["person:5"], "person:1": DATA["person:1"]})
        self.assertEqual(self.database.data["age:maximum"], "87")


class OnThreeShards(WorkerCase):
    def setUp(self) -> None:
        self.databases = [Database() for _ in range(3)]
        workers = [self.fork(database) for database in self.databases]
        self.worker = workers[0]
        self.server = Cluster(workers)
        self.data: List[Dict[str, Tuple[str, Any]]] = [{}, {}, {}]
        for key, value in DATA.items():
            self.data[shard_of(key)][key] = value
        self.persons = [
            {key: value for key, value in shard.items() if key.startswith("person:")} for shard in self.data
        ]

    def given(self, script: str, data: Any = None) -> List[Any]:
        """Returns the results, sorted, since their order is not fixed."""
        result = self.server.run(script, data or self.persons)
        self.assertEqual(result.errors, [])
        return sorted(result.results)

    def test_where_the_data_is(self) -> None:
        self.assertEqual(
            [sorted(shard) for shard in self.data],
            [["person:1", "person:5"], ["person:3", "person:4"], ["foo", "person:2"]],
        )

    def test_distributed_processing(self) -> None:
        keys = "GB().map(lambda x: x['key'])"
        self.assertEqual(self.given(keys + ".run()", self.data), sorted(DATA))
        self.assertEqual(self.given(keys + ".run(collect=False)", self.data), ["person:1", "person:5"])
        self.assertEqual(self.given(keys + ".collect().run(collect=False)", self.data), sorted(DATA))

    def test_map_and_reduce(self) -> None:
        flow = "gb = GearsBuilder()\ngb.map(lambda x: int(x['value']['age']))\n{}\ngb.run('person:*')"
        local = "gb.accumulate(maximum)"
        self.assertEqual(self.given(MAXIMUM + flow.format(local)), ["14", "35", "87"])
        self.assertEqual(self.given(MAXIMUM + flow.format(local + "\ngb.collect()\n" + local)), ["87"])
        aggregate = "gb.aggregate(0,\n             lambda a, x: max(a, x),\n             lambda a, x: max(a, x))"
        self.assertEqual(self.given(flow.format(aggregate)), ["87"])
        mean = """gb.aggregate((0, 0),
             lambda a, x: (a[0] + x, a[1] + 1),
             lambda a, x: (a[0] + x[0], a[1] + x[1]))
gb.map(lambda x: x[0]/x[1])"""
        self.assertEqual(self.given(flow.format(mean)), ["44.6"])

    def test_families(self) -> None:
        for steps in (
            "gb.countby(fname)",
            "gb.localgroupby(fname, counter)\ngb.groupby(key, summer)",
            "gb.groupby(fname, counter)",
            "gb.aggregateby(fname, 0, lambda k, a, r: a + 1, lambda k, a, r: a + r)",
        ):
            self.assertEqual(self.given(FAMILIES + "gb = GearsBuilder()\n" + steps + "\ngb.run('person:*')"), COUNTS)

    def test_repartition_for_storing_counts(self) -> None:
        script = """
# Repartition for storing counts
gb = GearsBuilder()
gb.localgroupby(fname, counter)
gb.repartition(key)
gb.localgroupby(key, summer)
gb.foreach(lambda x: execute('SET', x['key'], x['value']))
gb.run('person:*')
"""
        self.assertEqual(self.given(FAMILIES + script), COUNTS)
        for family, count in (("Smith", "3"), ("Sanchez", "1"), ("Pibbles", "1")):
            for shard, database in enumerate(self.databases):
                self.assertEqual(database.data.get(family), count if shard == shard_of(family) else None)

    def test_stages_of_the_pictures(self) -> None:
        script = FAMILIES + "gb = GearsBuilder()\ngb.localgroupby(fname, counter)\ngb.groupby(key, summer)\ngb.run()"
        key = self.worker.load(script)["run"]
        self.worker.open(key, 5)
        head, sections = keys_batch(self.persons[0])
        self.assertEqual(self.worker.run_stage(Kind.RUN, (5, 0, *head), sections).entries, [])
        local = self.worker.run_stage(Kind.END, (5, 0))
        self.assertEqual((local.form, sorted(local.keys)), ("records", [b"Pibbles", b"Sanchez"]))

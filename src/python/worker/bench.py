"""Measures what the worker itself takes, on records that are in memory: no server, no network.

    python3 bench.py [records]

For each flow: the processor time of the worker and the time that passes, the least of several runs; then calls.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Dict, List, Tuple

from tests.batches import key_events, keys_batch, list_events, marshalled, name_events
from tests.cluster import Cluster
from tests.server import Kind, Template, Worker

BATCH = 4096
ROUNDS = 5

FLOWS = [
    ("count", "GB().count().run()", "string"),
    ("count, with values read", "GB().map(lambda x: x).count().run()", "string"),
    (
        "sum of values",
        "GB().map(lambda x: int(x['value'])).aggregate(0, lambda a, x: a + x, lambda a, x: a + x).run()",
        "string",
    ),
    (
        "sum of values, accumulate",
        "GB().map(lambda x: int(x['value'])).accumulate(lambda a, x: x + (a or 0)).run()",
        "string",
    ),
    (
        "sum of a hash field",
        "GB().map(lambda x: int(x['value']['age'])).aggregate(0, lambda a, x: a + x, lambda a, x: a + x).run()",
        "hash",
    ),
    ("countby a hash field", "GB().countby(lambda x: x['value']['city']).run()", "hash"),
    ("avg of a hash field", "GB().avg(lambda x: int(x['value']['age'])).run()", "hash"),
    ("collect strings", "GB().run()", "string"),
    ("collect hashes", "GB().run()", "hash"),
    ("collect keys", "GB().map(lambda x: x['key']).run()", "string"),
    ("repartition", "GB().repartition(lambda x: x['key']).count().run()", "string"),
]

# How many events the server sends at once.
EVENTS = 256

FOUR = "GB().map(lambda r: r['value']).filter(lambda x: x).flatmap(lambda x: [x, x]).map(lambda x: int(x))"

EVENT_FLOWS = [
    ("foreach, names", "GB().foreach(f).register(readValue=False)", "names"),
    ("foreach, keys", "GB().foreach(f).register()", "keys"),
    ("filter, keys", "GB().filter(lambda r: r['value'] == 'x').register()", "keys"),
    ("map, filter, flatmap, keys", FOUR + ".register()", "keys"),
    ("map, a trigger", "GB('CommandReader').map(lambda r: r[1]).register(trigger='t')", "lists"),
    ("count, keys", "GB().count().register()", "keys"),
    ("coroutine", "async def g(r):\n  return 1\nGB().map(g).register()", "keys"),
]


def data(kind: str, count: int) -> Dict[str, Tuple[str, Any]]:
    if kind == "string":
        return {"key:%d" % number: ("s", str(number)) for number in range(count)}
    return {
        "person:%d" % number: (
            "h",
            {"name": "Person %d" % number, "age": str(number % 90), "city": "city%d" % (number % 50)},
        )
        for number in range(count)
    }


def batches(keys: Dict[str, Tuple[str, Any]], counted: bool) -> List[Any]:
    names = list(keys)
    pages = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    if counted:
        return [(("count", len(page), False, ()), []) for page in pages]
    return [batch({name: keys[name] for name in page}) for page in pages]


def batch(keys: Dict[str, Tuple[str, Any]]) -> Any:
    """Returns a batch with the names of fields written once, as a server in a hurry does."""
    seen: Dict[str, bytes] = {}
    head, sections = keys_batch(keys)
    values = [hashed(value, seen) if kind == "h" else marshalled(value) for kind, value in keys.values()]
    sections[2] = b"".join(values)
    return ("keys", head[1], False, tuple(map(len, sections))), sections


def hashed(value: Dict[str, str], seen: Dict[str, bytes]) -> bytes:
    parts = [b"{"]
    for name, field in value.items():
        if name not in seen:
            seen[name] = b"r" + len(seen).to_bytes(4, "little")
            parts.append(b"\xf5" + marshalled(name)[1:])
        else:
            parts.append(seen[name])
        parts.append(marshalled(field))
    return b"".join([*parts, b"0"])


def cpu_s(pid: int) -> float:
    """Returns the processor time of all threads of a process."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as numbers:
            total += int(numbers.read().split()[0])
    return total / 1e9


def flow(worker: Worker, script: str, pages: Dict[bool, List[Any]], number: int) -> Tuple[float, float, int]:
    """Runs a flow once; returns processor time, time and the number of results."""
    key = worker.load(script)["run"]
    opened = worker.open(key, number)
    start, before = time.perf_counter(), cpu_s(worker.pid)
    carried: List[bytes] = []
    for place in range(len(opened["stages"])):
        outputs = []
        if place == 0:
            for head, sections in pages[opened["reader"]["needs"] == "count"]:
                outputs.append(worker.run_stage(Kind.RUN, (number, place, *head), sections))
        elif carried:
            section = b"".join(carried)
            batch = (number, place, "records", len(carried), False, (len(section),))
            outputs.append(worker.run_stage(Kind.RUN, batch, [section]))
        outputs.append(worker.run_stage(Kind.END, (number, place)))
        assert not any(output.errors for output in outputs), outputs
        carried = [entry for output in outputs for entry in output.entries]
    took = cpu_s(worker.pid) - before, time.perf_counter() - start, len(carried)
    worker.ask(Kind.CLOSE, (number, True))
    return took


def calls(worker: Worker) -> None:
    """Measures execute() against a server that answers GET from a dict."""
    script = """
import time
def f(x):
    start = time.perf_counter()
    for i in range(20000):
        execute('GET', 'k')
    single = time.perf_counter() - start
    many = [('GET', 'k')] * 100
    start = time.perf_counter()
    for i in range(200):
        execute_many(many)
    return single, time.perf_counter() - start
GB('PythonReader').map(f).run(lambda: (x for x in [1]))
"""
    results = Cluster([worker]).run(script).results[0]
    single, many = (float(part) for part in results.strip("()").split(","))
    print(f"execute('GET', k)          {single / 20000 * 1e6:8.1f} us a call")
    print(f"execute_many, 100 at once  {many / 20000 * 1e6:8.1f} us a command")


def events(worker: Worker, count: int) -> None:
    """Measures events of registrations, in batches as the server sends them."""
    first = [("key:%d" % number, ("s", str(number)), "set") for number in range(EVENTS)]
    batches = {
        "keys": key_events(first),
        "names": name_events([(name, event) for name, _, event in first]),
        "lists": list_events([[["t", name]] for name, _, _ in first]),
    }
    for name, script, shape in EVENT_FLOWS:
        made = worker.load("seen = [0]\ndef f(r):\n  seen[0] += 1\n" + script)["registrations"][0]
        took = []
        execution = 0
        for _ in range(ROUNDS):
            before, done = cpu_s(worker.pid), 0
            while done < count:
                execution += 1
                done += len(worker.run_events(batches[shape], made["flow"]["key"], execution))
            took.append((cpu_s(worker.pid) - before) / done)
        print(f"event: {name:<26} {min(took) * 1e6:8.2f} us of the worker, {1 / min(took):>8.0f} a second")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    template = Template()
    try:
        start = time.perf_counter()
        workers = [template.fork() for _ in range(20)]
        print(f"fork                       {(time.perf_counter() - start) / 20 * 1000:8.2f} ms")
        start = time.perf_counter()
        workers[0].hello(cluster=True, shard="s")
        print(f"first answer               {(time.perf_counter() - start) * 1000:8.2f} ms")
        pages = {}
        for kind in ("string", "hash"):
            keys = data(kind, count)
            pages[kind] = {counted: batches(keys, counted) for counted in (False, True)}
        print("{:<26} {:>11} {:>11} {:>9}".format("%d records" % count, "worker", "passed", "results"))
        for number, (name, script, kind) in enumerate(FLOWS):
            took = [flow(workers[0], script, pages[kind], number * ROUNDS + i) for i in range(ROUNDS)]
            cpu, passed = min(t[0] for t in took), min(t[1] for t in took)
            print(f"{name:<26} {cpu * 1000:>8.1f} ms {passed * 1000:>8.1f} ms {took[0][2]:>9}")
        start = time.perf_counter()
        for number in range(300):
            workers[1].load("GB('ShardsIDReader').run()")
            workers[1].open(workers[1].load("GB('ShardsIDReader').run()")["run"], number)
            workers[1].run_stage(Kind.END, (number, 0))
            workers[1].ask(Kind.CLOSE, (number, True))
            workers[1].ask(Kind.FORGET, ("s",))
        print(f"a whole small script       {(time.perf_counter() - start) / 300 * 1000:8.2f} ms")
        calls(workers[0])
        events(workers[2], count)
    finally:
        template.close()


if __name__ == "__main__":
    main()

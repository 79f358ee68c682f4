"""Flows put together by chance: whatever waits, and wherever batches and shards end, the results are the same."""

from __future__ import annotations

import os
import random
from typing import Any, Dict, List, Tuple

from .case import WorkerCase
from .cluster import Cluster

FLOWS = int(os.environ.get("RMR_PYTHON_FLOWS", "40"))

# Ways to give a value: at once, by a coroutine, by a future that a thread continues, by chance one of these.
HELPERS = """
import random
def now(x):
    return x
async def later(x):
    await asyncio.sleep(random.random() / 1000)
    return x
def continued(x):
    future = gearsFuture()
    Thread(target=lambda: future.continueRun(x)).start()
    return future
def sometimes(x):
    return random.choice((now, later, continued))(x)
"""
WAYS = ("now", "later", "continued", "sometimes")

# Steps whose functions may wait, {} being the way to give the value.
STEPS = [
    ".map(lambda x: {}(x * 3 % 1000))",
    ".filter(lambda x: {}(x % 3 != 1))",
    ".foreach(lambda x: {}(None))",
    ".flatmap(lambda x: {}([x, x + 1] if x % 2 else []))",
    ".flatmap(lambda x: {}(x))",
]
ENDS = [
    "",
    ".accumulate(lambda a, x: {}((a or 0) + x))",
    ".aggregate(0, lambda a, x: {}(a + x), lambda a, x: {}(a + x))",
    ".groupby(lambda x: x % 5, lambda k, a, x: {}((a or 0) + x))",
    ".localgroupby(lambda x: x % 5, lambda k, a, x: {}((a or 0) + x)).map(lambda x: {}((x['key'], x['value'])))",
    ".countby(lambda x: x % 7)",
    ".count().map(lambda x: {}(x + 1))",
    ".distinct()",
    ".sort()",
    ".batchgroupby(lambda x: x % 3, lambda k, records: sorted(records))",
    ".repartition(lambda x: x % 11).map(lambda x: {}(x + 1))",
]


class Laws(WorkerCase):
    def outcome(self, flow: str, ways: List[str], server: Cluster, data: Any, size: int) -> List[Any]:
        for way in ways:
            flow = flow.replace("{}", way, 1)
        result = server.run(HELPERS + "GB().map(lambda r: int(r['value']))" + flow + ".run()", data, size)
        self.assertEqual(result.errors, [], flow)
        return result.results

    def test_what_waits_makes_no_difference(self) -> None:
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        servers = [self.server, self.shards(3)]
        for _ in range(FLOWS):
            flow = "".join(chance.choice(STEPS) for _ in range(chance.randrange(4))) + chance.choice(ENDS)
            holes = flow.count("{}")
            count, size = chance.choice((0, 1, 7, 60, 1100)), chance.choice((1, 10, 1000))
            if count == 1100:
                size = 1000
            for server in servers:
                data: List[Dict[str, Tuple[str, Any]]] = [{} for _ in server.workers]
                for number in range(count):
                    data[number % len(data)][f"k{number}"] = ("s", str(number))
                ways = [chance.choice(WAYS) for _ in range(holes)]
                with self.subTest(seed=seed, flow=flow, ways=ways, count=count, size=size, shards=len(data)):
                    expected = self.outcome(flow, ["now"] * holes, server, data, 1000)
                    found = self.outcome(flow, ways, server, data, size)
                    if len(data) == 1:
                        self.assertEqual(found, expected)
                    else:
                        self.assertEqual(sorted(found), sorted(expected))

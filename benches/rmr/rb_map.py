"""10,000 commands by the map of the Python library rb, as often as it is asked to.

Arguments: the ports of the hosts, in the order of their ids. Each line of the input is SET or GET; the answer is the
number of seconds that it took, from the first call to the last value.
"""

import sys
import time

from rb import Cluster

COUNT = 10_000

cluster = Cluster(
    hosts={number: {"port": int(port)} for number, port in enumerate(sys.argv[1:])},
    host_defaults={"host": "127.0.0.1"},
)


def set_all():
    with cluster.map() as client:
        for number in range(COUNT):
            client.set(f"foo:{number}", number)


def get_all():
    with cluster.map() as client:
        promises = [client.get(f"foo:{number}") for number in range(COUNT)]
    total = sum(int(promise.value) for promise in promises)
    assert total == COUNT * (COUNT - 1) // 2, total


for line in sys.stdin:
    began = time.perf_counter()
    {"SET": set_all, "GET": get_all}[line.strip()]()
    print(time.perf_counter() - began, flush=True)

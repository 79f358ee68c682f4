"""What a program in Python does without functions on the servers: it reads names and values of all shards, one after the other.

Arguments: the ports of the shards. Each line of the input is the name of a job; the answer is a line with the number of seconds
that it took and its outcome.
"""

import sys
import time
from collections import Counter

import redis

PAGE = 1000

shards = [redis.Redis(port=int(port)) for port in sys.argv[1:]]


def pages(shard):
    cursor = 0
    while True:
        cursor, names = shard.scan(cursor, count=PAGE)
        yield names
        if cursor == 0:
            return


def replies(command, *field):
    """Returns the names and replies of all keys: a pipeline for each page of names."""
    for shard in shards:
        for names in pages(shard):
            pipeline = shard.pipeline(transaction=False)
            for name in names:
                pipeline.execute_command(command, name, *field)
            yield from zip(names, pipeline.execute())


def count():
    return sum(len(names) for shard in shards for names in pages(shard))


def sum_of_values():
    return sum(int(value) for _, value in replies("GET"))


def sum_of_a_field():
    return sum(int(value) for _, value in replies("HGET", "n"))


def count_by_a_field():
    counts = Counter(value for _, value in replies("HGET", "group"))
    return "%d,%d" % (len(counts), sum(counts.values()))


def collect():
    return len([{"key": name.decode(), "value": value.decode()} for name, value in replies("GET")])


for line in sys.stdin:
    job = globals()[line.strip()]
    began = time.perf_counter()
    outcome = job()
    print(time.perf_counter() - began, outcome, flush=True)

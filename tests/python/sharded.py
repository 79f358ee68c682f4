"""A program that shards its keys with rb over plain Redis servers: it writes them, reads them back, or says where they go.

sharded.py write|read|empty partition|ketama HOSTS [HOST_DEFAULTS], both in JSON as rb takes them.
"""

import json
import sys

import rb
from rb.router import ConsistentHashingRouter, PartitionRouter

ROUTERS = {"partition": PartitionRouter, "ketama": ConsistentHashingRouter}

# Text, letters of several bytes, bytes that are no text, numbers: as many as the test has.
KEYS = [
    key
    for number in range(50)
    for key in (f"key:{number}", f"clé:{number}", b"\xff\x00%d" % number, number)
]


def main():
    action, router, hosts, *defaults = sys.argv[1:]
    hosts = {int(host_id): host for host_id, host in json.loads(hosts).items()}
    host_defaults = json.loads(defaults[0]) if defaults else None
    cluster = rb.Cluster(hosts, host_defaults=host_defaults, router_cls=ROUTERS[router])
    if action == "empty":
        with cluster.all() as client:
            client.flushdb()
    elif action == "write":
        with cluster.map() as client:
            for index, key in enumerate(KEYS):
                client.set(key, f"value {index}")
    elif action == "read":
        with cluster.map() as client:
            promises = [client.get(key) for key in KEYS]
        for index, (key, promise) in enumerate(zip(KEYS, promises)):
            assert promise.value == b"value %d" % index, f"{key!r} holds {promise.value!r}"
    print(f"{len(KEYS)} keys on {len(cluster.hosts)} hosts")


main()

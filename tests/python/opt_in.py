"""A program that asks for proxy mode itself: as each connection of its pool is made."""

import sys

import redis


def connect(connection):
    connection.on_connect()
    connection.send_command("RMR.PROXY", "ON")
    assert connection.read_response() in (b"OK", "OK")


port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=protocol, decode_responses=True, redis_connect_func=connect)
keys = [f"key:{number}" for number in range(50)]
for key in keys:
    r.set(key, key)
assert r.mget(keys) == keys
assert r.dbsize() == 50

# Others on the same node are told where to go.
other, moved = redis.Redis(port=port, protocol=protocol), 0
for key in keys:
    try:
        other.get(key)
    except redis.exceptions.MovedError:
        moved += 1
assert 10 < moved < 50, moved

# One connection more, after all of the pool have been cut.
other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
assert r.mget(keys) == keys
r.flushall()
print("done")

"""The commands of the module, as an ordinary client sends them: one connection, RESP2 or RESP3, replies as they come."""

import sys

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=protocol, decode_responses=True)


def run(*words):
    return r.execute_command("RMR.EXEC", *words)


def check(value, expected):
    assert value == expected, f"{value!r}, not {expected!r}"


def scan(*options):
    """All keys, by a cursor that is handed on from call to call."""
    cursor, keys = "0", []
    while True:
        cursor, found = r.execute_command("RMR.SCAN", cursor, *options)
        keys += found
        if int(cursor) == 0:
            return keys


def write_and_read():
    keys = [f"key:{number}" for number in range(100)]
    for number, key in enumerate(keys):
        check(run("SET", key, number), "OK")
    check(run("MGET", *reversed(keys)), [str(number) for number in reversed(range(100))])
    check(run("MGET", "key:1", "missing", "key:1"), ["1", None, "1"])
    check(run("EXISTS", *keys, "missing"), 100)
    check(run("DBSIZE"), 100)
    check(sorted(run("KEYS", "key:1*")), sorted(key for key in keys if key.startswith("key:1")))
    check(run("DEL", *keys[:40], "missing"), 40)
    check(run("INCRBY", "key:50", 50), 100)
    check(r.execute_command("RMR.SUM", *keys), sum(range(40, 100)) + 50)


def types_of_the_protocol():
    check(run("HSET", "hash", "a", 1, "b", 2), 2)
    check(run("HGETALL", "hash"), {"a": "1", "b": "2"} if protocol == 3 else ["a", "1", "b", "2"])
    check(run("ZADD", "rank", 1.5, "x"), 1)
    check(run("ZSCORE", "rank", "x"), 1.5 if protocol == 3 else "1.5")
    check(run("SADD", "set", "one"), 1)
    check(set(run("SMEMBERS", "set")), {"one"})
    check(run("GET", "missing"), None)
    check(run("BITCOUNT", "missing"), 0)
    check(run("EVAL", "return {KEYS[1], 7}", 1, "any"), ["any", 7])


def scans():
    found = scan("COUNT", 30)
    check(len(found), run("DBSIZE"))
    check(sorted(found), sorted(run("KEYS", "*")))
    check(sorted(scan("MATCH", "key:9*", "TYPE", "string")), sorted(f"key:9{number}" for number in range(10)))


def errors():
    for words, kind, text in [
        (("INCR", "hash"), redis.ResponseError, "WRONGTYPE"),
        (("GET",), redis.ResponseError, "wrong number of arguments"),
        (("NOSUCH", "a"), redis.ResponseError, "unknown command"),
        (("MSET", "a", 1, "b", 2), redis.ResponseError, "NONATOMIC"),
        (("SUBSCRIBE", "channel"), redis.ResponseError, "cannot be sent to other nodes"),
    ]:
        try:
            raise AssertionError(f"{words} gave {run(*words)!r}")
        except kind as error:
            assert text in str(error), f"{words}: {error}"


def pipelines():
    pipe = r.pipeline(transaction=False)
    for number in range(200):
        pipe.execute_command("RMR.EXEC", "SET", f"pipe:{number}", number)
        pipe.execute_command("RMR.EXEC", "GET", f"pipe:{number}")
        pipe.echo(number)
    check(pipe.execute(), [word for number in range(200) for word in ("OK", str(number), str(number))])
    check(run("FLUSHALL"), "OK")
    check(run("DBSIZE"), 0)


for part in (write_and_read, types_of_the_protocol, scans, errors, pipelines):
    part()
print("done")

"""A program as it is written for a single server: it knows host, port and protocol, and nothing of clusters.

It prints what it has seen, so that two runs can be compared; what has no order is sorted first. Every answer that it
can know beforehand is checked as well.
"""

import sys

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=protocol, decode_responses=True, health_check_interval=1)


def see(what, value, expected=None):
    print(f"{what}: {value!r}")
    assert expected is None or value == expected, f"{what}: {value!r}, not {expected!r}"


def refused(what, work, kind=redis.ResponseError):
    try:
        value = work()
    except kind as error:
        print(f"{what}: {error}")
    else:
        raise AssertionError(f"{what} was not refused, but gave {value!r}")


def strings():
    see("set", r.set("greeting", "hello"), True)
    see("get", r.get("greeting"), "hello")
    see("nothing", r.get("nothing"))
    see("nx", r.set("greeting", "again", nx=True))
    see("get and set", r.set("greeting", "bye", get=True), "hello")
    for number in range(50):
        r.set(f"key:{number}", number)
    see("mget", r.mget([f"key:{number}" for number in range(50)]), [str(number) for number in range(50)])
    see("incr", r.incr("key:7", 35), 42)
    see("expire", (r.expire("key:8", 100), 0 < r.ttl("key:8") <= 100), (True, True))
    see("exists", r.exists("key:1", "key:2", "nothing"), 2)
    see("delete", r.delete("key:1", "key:2", "key:3", "nothing"), 3)
    see("binary", (r.set("bytes", b"\x00\r\n"), r.get("bytes")), (True, "\x00\r\n"))
    see("size", r.dbsize(), 49)


def containers():
    for cart in "abc":
        r.hset(f"cart:{cart}", mapping={"price": 12.5, "user": cart})
        r.rpush(f"log:{cart}", "one", "two", "three")
        r.zadd(f"rank:{cart}", {"x": 1, "y": 2.5})
        r.sadd(f"tags:{cart}", "t1", "t2")
    see("hash", r.hgetall("cart:b"), {"price": "12.5", "user": "b"})
    see("list", r.lrange("log:c", 0, -1), ["one", "two", "three"])
    see("pop", r.lpop("log:a", 2), ["one", "two"])
    see("ranks", r.zrange("rank:a", 0, -1, withscores=True))
    see("set", sorted(r.smembers("tags:b")), ["t1", "t2"])
    see("stream", r.xadd("events", {"kind": "start"}, id="5-1"), "5-1")
    see("read", r.xread({"events": "0"}))
    see("sorted", r.sort("log:b", alpha=True))
    refused("wrong type", lambda: r.incr("cart:a"))
    refused("wrong words", lambda: r.execute_command("SET", "alone"))
    refused("unknown", lambda: r.execute_command("NOSUCH", "a"))


def all_keys():
    see("keys", sorted(r.keys("cart:*")), ["cart:a", "cart:b", "cart:c"])
    found = list(r.scan_iter(count=20))
    see("each key once", (len(found) == r.dbsize(), sorted(found)), (True, sorted(r.keys())))
    see("hashes", sorted(r.scan_iter(match="cart:*", _type="hash")), ["cart:a", "cart:b", "cart:c"])
    see("random", r.exists(r.randomkey()), 1)


def pipelines():
    with r.pipeline(transaction=False) as pipe:
        for number in range(100):
            pipe.set(f"pipe:{number}", number).get(f"pipe:{number}").incr("pipe:count")
        answers = pipe.execute()
    see("pipeline", answers[1::3] == [str(number) for number in range(100)] and answers[-1], 100)
    with r.pipeline(transaction=False) as pipe:
        pipe.get("pipe:1").lpush("pipe:1", "x").get("pipe:2")
        answers = pipe.execute(raise_on_error=False)
    see("with an error", [str(answer) for answer in answers])
    # A cluster has transactions within a slot: the part of the keys in braces decides.
    with r.pipeline() as pipe:
        pipe.set(f"{home}:a", 1).incr(f"{home}:a").get(f"{home}:a")
        see("transaction", pipe.execute(), [True, 2, "2"])
    see("optimistic", r.transaction(move, f"{home}:a"), [1, 1])
    see("after it", r.mget(f"{home}:a", f"{home}:b", "pipe:5"), ["1", "1", "5"])


def move(pipe):
    amount = int(pipe.get(f"{home}:a"))
    pipe.multi()
    pipe.decr(f"{home}:a", amount - 1).incr(f"{home}:b", amount - 1)


def scripts():
    add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    see("script", [add(keys=[f"pipe:{number}"], args=[10]) for number in range(2, 5)], [12, 13, 14])
    see("eval", r.eval("return {KEYS[1], ARGV[1]}", 1, "any", "word"), ["any", "word"])
    see("known", r.script_exists(add.sha), [True])
    refused("unknown script", lambda: r.evalsha("f" * 40, 0), redis.exceptions.NoScriptError)


def channels():
    with r.pubsub() as pubsub:
        pubsub.subscribe("news")
        see("subscribed", pubsub.get_message(timeout=5)["type"], "subscribe")
        r.publish("news", "hello")
        see("heard", pubsub.get_message(timeout=5)["data"], "hello")


def the_server():
    see("ping", r.ping(), True)
    see("echo", r.echo("x"), "x")
    see("info", "redis_version" in r.info(), True)
    see("setting", r.config_set("maxmemory-samples", 6), True)
    see("get setting", r.config_get("maxmemory-samples"), {"maxmemory-samples": "6"})
    see("name", (r.client_setname("program"), r.client_getname()), (True, "program"))
    see("type", r.type("cart:a"), "hash")
    see("renamed", r.rename(f"{home}:b", f"{home}:c"), True)


home = sys.argv[3] if len(sys.argv) > 3 else "{home}"
r.flushall()
for part in (strings, containers, all_keys, pipelines, scripts, channels, the_server):
    part()
see("flush", r.flushall(), True)
see("size", r.dbsize(), 0)
print("done")

"""Functions through redgrease, the client of RedisGears, as it comes from the package index.

Arguments: the port of a server on which the module rg is loaded besides, and the number of its shards.
"""

import sys

import redgrease
import redis

port, shards = int(sys.argv[1]), int(sys.argv[2])
client = redgrease.Redis(port=port)
gears = client.gears

# What the server is.
assert gears.gears_version() == (1, 2, 13), gears.gears_version()
assert gears.python_version()[:2] == sys.version_info[:2], gears.python_version()

# Scripts.
assert gears.pyexecute("x = 1").value is True
assert gears.pyexecute("GB('ShardsIDReader').count().run()") == str(shards).encode()
assert len(gears.pyexecute("GB('ShardsIDReader').run()")) == shards
failed = gears.pyexecute("GB('ShardsIDReader').map(lambda x: 1/0).run()")
assert len(failed.errors) == shards and b"ZeroDivisionError" in failed.errors[0], failed
try:
    gears.pyexecute("1/0")
except redis.exceptions.ResponseError as error:
    assert "ZeroDivisionError: division by zero" in error.args[-1], error.args
else:
    raise AssertionError("a script that raises is an error")

# Executions.
execution = gears.pyexecute("GB('ShardsIDReader').count().run()", unblocking=True)
assert gears.getresultsblocking(execution.value) == str(shards).encode()
assert gears.getresults(execution.value) == str(shards).encode()
(info,) = gears.dumpexecutions()
assert (info.executionId, info.registered) == (execution.value, False), info
assert info.status == redgrease.data.ExecutionStatus.done, info
plans = gears.getexecution(execution.value)
assert len(plans) == shards, plans
assert gears.abortexecution(execution.value)
assert gears.dropexecution(execution.value)
assert gears.dumpexecutions() == []

# Settings and the cluster.
assert gears.config.MaxExecutions == 1000
gears.config.MaxExecutions = 500
assert gears.config.get("MaxExecutions", "ExecutionThreads") == {"MaxExecutions": 500, "ExecutionThreads": 3}
assert gears.config.set(SomethingOwn="value")
assert gears.refreshcluster()
cluster = gears.infocluster()
assert (len(cluster.shards) if cluster else 1) == shards, cluster
assert gears.pystats().CurrAllocated > 0

# Function objects, whose results are pickled. redgrease is a requirement of theirs on the server, and newer versions of redis
# than this one are none that it can be imported with.
if len(sys.argv) > 3:
    numbers = redgrease.PythonReader().map(lambda x: {"n": x, "square": x * x})
    needs = ["redis==3.5.3"]
    found = numbers.run(lambda: (x for x in range(3)), requirements=needs, on=client)
    assert sorted(item["square"] for item in found) == sorted([0, 1, 4] * shards), found
    total = redgrease.ShardsIDReader().count().run(requirements=needs, on=client)
    assert total == shards, total

print("done")

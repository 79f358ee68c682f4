"""Coroutines, futures, and flows that scripts start while they run."""

from __future__ import annotations

from typing import Any, Dict

from .batches import Failed, bulk
from .case import WorkerCase, from_python
from .server import Kind

LATER = """
async def later(value):
    await asyncio.sleep(0.01)
    return value
"""
CONTINUED = """
def soon(future, value):
    def work():
        future.continueRun(value)
    Thread(target=work).start()
    return future
"""


class Coroutines(WorkerCase):
    def of(self, records: str, steps: str) -> list:
        return self.results(LATER + from_python(records, steps))

    def test_each_step_that_may_wait(self) -> None:
        self.assertEqual(self.of("[1, 2]", ".map(lambda x: later(x + 1))"), ["2", "3"])
        self.assertEqual(self.of("[1, 2]", ".filter(lambda x: later(x == 2))"), ["2"])
        self.assertEqual(self.of("[1, 2]", ".foreach(lambda x: later(None))"), ["1", "2"])
        self.assertEqual(self.of("[[1, 2]]", ".flatmap(lambda x: later(x))"), ["2", "1"])
        self.assertEqual(self.of("[1, 2]", ".accumulate(lambda a, x: later(x + (a or 0)))"), ["3"])
        self.assertEqual(self.of("[1, 2]", ".aggregate(0, lambda a, x: later(x + a), lambda a, x: a + x)"), ["3"])
        self.assertEqual(
            self.of("['a', 'b', 'a']", ".groupby(lambda x: x, lambda k, a, r: later((a or 0) + 1))"),
            ["{'key': 'a', 'value': 2}", "{'key': 'b', 'value': 1}"],
        )

    def test_async_functions(self) -> None:
        script = "async def f(x):\n  await asyncio.sleep(0)\n  return x * 2\n" + from_python("[1, 2]", ".map(f)")
        self.assertEqual(self.results(script), ["2", "4"])

    def test_order_is_kept(self) -> None:
        script = "async def f(x):\n  await asyncio.sleep(0.02 * (3 - x))\n  return x\n"
        self.assertEqual(
            self.results(script + from_python("range(3)", ".map(lambda x: f(x) if x != 1 else x)")), ["0", "1", "2"]
        )

    def test_steps_behind_each_other(self) -> None:
        steps = (
            ".map(lambda x: later(x)).flatmap(lambda x: [x, x]).map(lambda x: later(x)).count().map(lambda x: later(x))"
        )
        self.assertEqual(self.of("range(50)", steps), ["100"])
        steps = ".accumulate(lambda a, x: later((a or 0) + x)).map(later).filter(lambda x: later(True))"
        self.assertEqual(self.of("range(5)", steps), ["10"])
        steps = ".map(lambda x: later(x)).flatmap(lambda x: [x, x]).accumulate(lambda a, x: later((a or 0) + 1))"
        self.assertEqual(self.of("range(20)", steps), ["40"])

    def test_more_than_may_wait_at_once(self) -> None:
        script = """
here = most = 0
async def f(x):
    global here, most
    here += 1
    most = max(most, here)
    await asyncio.sleep(0.001)
    here -= 1
    return x
"""
        results = self.results(
            script + from_python("range(3000)", ".map(f).accumulate(lambda a, x: [x] + (a or [])[:1] + [most])")
        )
        self.assertLessEqual(int(results[0].rstrip("]").split(",")[-1]), 1001)

    def test_batches_of_the_server(self) -> None:
        keys = {"k%d" % i: ("s", str(i)) for i in range(30)}
        script = LATER + "GB().map(lambda r: later(r['value'])).run()"
        self.assertEqual(self.results(script, keys, size=7), [str(i) for i in range(30)])

    def test_errors_are_only_the_text(self) -> None:
        result = self.run_script(
            "async def f(x):\n  await asyncio.sleep(0)\n  raise Exception('no luck')\n" + from_python("[1]", ".map(f)")
        )
        self.assertEqual(result.errors, ["no luck"])

    def test_where_they_are_refused(self) -> None:
        for steps, text in (
            (".groupby(later, lambda k, a, r: 1)", "coroutine are not allow on extractor"),
            (".repartition(later)", "coroutine are not allow on extractor"),
            (".batchgroupby(lambda x: x, lambda k, r: later(1))", "coroutine are not allow on reduce"),
        ):
            result = self.run_script(LATER + from_python("['a']", steps))
            self.assertIn(text, result.errors[0])

    def test_commands_and_atomic_blocks_between_awaits(self) -> None:
        script = """
async def f(x):
    await asyncio.sleep(0)
    with atomic():
        execute('INCR', 'n')
    await asyncio.sleep(0)
    return execute('GET', 'n')
"""
        self.assertEqual(self.results(script + from_python("[1]", ".map(f)")), ["1"])
        self.assertEqual(self.database.events, ["enter", "INCR", "leave", "GET"])

    def test_no_await_inside_an_atomic_block(self) -> None:
        script = "async def f(x):\n  with atomic():\n    await asyncio.sleep(0.1)\n"
        result = self.run_script(script + from_python("[1]", ".map(f)"))
        self.assertEqual(result.errors, ["await is not allow inside atomic block"])
        self.assertEqual(self.database.events, ["enter", "leave"])

    def test_tasks_that_coroutines_start(self) -> None:
        script = """
async def part(x):
    await asyncio.sleep(0.001)
    return execute('ECHO', x)
async def f(x):
    return await asyncio.gather(*[part(i) for i in range(3)])
"""
        self.assertEqual(self.results(script + from_python("[1]", ".map(f)")), ["['0', '1', '2']"])
        script = """
async def part():
    with atomic():
        await asyncio.sleep(0.1)
async def f(x):
    await asyncio.gather(part())
"""
        result = self.run_script(script + from_python("[1]", ".map(f)"))
        self.assertEqual(result.errors, ["await is not allow inside atomic block"])

    def test_isasyncallow(self) -> None:
        script = "top = isAsyncAllow()\n" + from_python("[1]", ".map(lambda x: (top, isAsyncAllow()))")
        self.assertEqual(self.results(script), ["(False, True)"])


class Futures(WorkerCase):
    def test_each_step(self) -> None:
        for steps, results in (
            (".map(lambda x: soon(gearsFuture(), x + 1))", ["2", "3"]),
            (".filter(lambda x: soon(gearsFuture(), x == 2))", ["2"]),
            (".foreach(lambda x: soon(gearsFuture(), 5))", ["1", "2"]),
            (".flatmap(lambda x: soon(gearsFuture(), [x, x]))", ["1", "1", "2", "2"]),
            (".accumulate(lambda a, x: soon(gearsFuture(), x + (a or 0)))", ["3"]),
            (
                ".groupby(lambda x: 'k', lambda k, a, x: soon(gearsFuture(), x + (a or 0)))",
                ["{'key': 'k', 'value': 3}"],
            ),
        ):
            self.assertEqual(self.results(CONTINUED + from_python("[1, 2]", steps)), results, steps)

    def test_kept_in_a_global_and_continued_by_a_later_record(self) -> None:
        script = """
kept = []
def f(x):
    if x == 1:
        kept.append(gearsFuture())
        return kept[0]
    if x == 2:
        kept.pop().continueRun('first')
    return x
"""
        self.assertEqual(self.results(script + from_python("[1, 2]", ".map(f)")), ["first", "2"])

    def test_kept_and_continued_by_another_execution(self) -> None:
        script = """
kept = []
def f(x):
    future = gearsFuture()
    kept.append(future)
    return future
def g():
    kept.pop().continueRun('from elsewhere')
    yield 1
"""
        key = self.worker.load(script + from_python("[1]", ".map(f)"))["run"]
        self.worker.open(key, 1)
        number = self.worker.send(Kind.END, (1, 0))
        number = self.await_waiting(number)
        self.assertFalse(self.worker.has_answered(number))
        self.assertEqual(self.results("GB('PythonReader').run(g)"), ["1"])
        self.assertEqual(self.worker.take(number, (1, 0)).entries, [b"$14\r\nfrom elsewhere\r\n"])

    def test_failures(self) -> None:
        script = """
def f(x):
    future = gearsFuture()
    Thread(target=lambda: future.continueFailed(Exception('did not work'))).start()
    return future
"""
        self.assertEqual(self.run_script(script + from_python("[1]", ".map(f)")).errors, ["did not work"])

    def test_never_continued(self) -> None:
        result = self.run_script(from_python("[1]", ".map(lambda x: gearsFuture())"))
        self.assertEqual(result.errors, ["Async record did not called continue"])

    def test_refusals(self) -> None:
        for function, text in (
            ("  a = gearsFuture()\n  b = gearsFuture()", "Can not create async record twice on the same step"),
            ("  gearsFuture().continueRun(1)", "Can not handle future untill it returned from the callback"),
            ("  gearsFuture().continueRun()", "Continue function expect an object"),
        ):
            result = self.run_script(f"def f(x):\n{function}\n" + from_python("[1]", ".map(f)"))
            self.assertIn(text, result.errors[0])
        self.worker.load("found = []")
        script = """
def work(future):
    future.continueRun(1)
    try:
        future.continueRun(2)
    except Exception as error:
        found.append(str(error))
        registerGearsThread()
        execute('SET', 'twice', 1)
def f(x):
    future = gearsFuture()
    Thread(target=work, args=(future,)).start()
    return future
"""
        self.results(script + from_python("[1]", ".map(f)"))
        self.await_key("twice")
        self.assertEqual(
            self.results(from_python("[1]", ".map(lambda x: found)")),
            ["['Can not continue with the same future twice']"],
        )

    def test_a_future_that_was_not_needed_after_all(self) -> None:
        script = "def f(x):\n  future = gearsFuture()\n  return x\n"
        self.assertEqual(self.results(script + from_python("[1, 2]", ".map(f)")), ["1", "2"])

    def test_where_none_may_be(self) -> None:
        key = self.worker.load(from_python("[1]", ".map(lambda x: gearsFuture())"))["run"]
        options: Dict[str, Any] = {"async": False}
        self.worker.open(key, 1, **options)
        output = self.worker.run_stage(Kind.END, (1, 0))
        self.assertIn("Creating async record is not allowed", output.errors[0])

    def test_runcoroutine_continues_a_future(self) -> None:
        script = LATER + "def f(x):\n  future = gearsFuture()\n  runCoroutine(later(x), future)\n  return future\n"
        self.assertEqual(self.results(script + from_python("[1]", ".map(f)")), ["1"])

    def test_asyncio_futures(self) -> None:
        script = """
def f(x):
    future = createFuture()
    Thread(target=lambda: setFutureResults(future, x + 1)).start()
    return future
def g(x):
    future = createFuture()
    setFutureException(future, Exception('failed'))
    return future
"""
        self.assertEqual(self.results(script + from_python("[1]", ".map(f)")), ["2"])
        self.assertEqual(self.run_script(script + from_python("[1]", ".map(g)")).errors, ["failed"])


class Started(WorkerCase):
    SCRIPT = """
async def f(x):
    results, errors = await GB('ShardsIDReader').run()
    return results, errors
"""

    def test_awaiting_a_run(self) -> None:
        key = self.worker.load(self.SCRIPT + from_python("[1]", ".map(f)"))["run"]
        self.worker.open(key, 1)
        number = self.worker.send(Kind.END, (1, 0))
        frame = self.worker.await_start()
        self.assertEqual(frame.head["context"], 1)
        flow = frame.head["flow"]
        self.assertEqual(flow["reader"], "ShardsIDReader")
        self.worker.open(flow["key"], 2, results="records")
        output = self.worker.run_stage(Kind.END, (2, 0))
        self.assertEqual((output.form, output.entries), ("records", [b"u\x01\x00\x00\x001"]))
        self.worker.answer_start(frame.id, ["1", (2, None)], ["an error"])
        shown = b"(['1', (2, None)], ['an error'])"
        self.assertEqual(self.worker.take(number, (1, 0)).entries, [bulk(shown)])

    def test_a_run_that_fails(self) -> None:
        key = self.worker.load(self.SCRIPT + from_python("[1]", ".map(f)"))["run"]
        self.worker.open(key, 1)
        number = self.worker.send(Kind.END, (1, 0))
        self.worker.fail_start(self.worker.await_start().id, "too many executions")
        self.assertEqual(self.worker.take(number, (1, 0)).errors, ["too many executions"])

    def test_a_step_may_return_the_future_of_a_run(self) -> None:
        key = self.worker.load(from_python("[1]", ".map(lambda x: GB().run())"))["run"]
        self.worker.open(key, 1)
        number = self.worker.send(Kind.END, (1, 0))
        self.worker.answer_start(self.worker.await_start().id, [], [])
        self.assertEqual(self.worker.take(number, (1, 0)).entries, [b"$8\r\n([], [])\r\n"])

    def test_coroutines_of_the_top_level(self) -> None:
        self.worker.load(LATER + "async def f():\n  execute('SET', 'x', await later(5))\nrunCoroutine(f())")
        self.await_key("x")
        self.worker.load("async def f():\n  await GB().run()\nrunCoroutine(f())")
        self.assertEqual(self.worker.await_start().head["session"], "s")

    def test_a_second_run_at_the_top_level_is_refused_all_the_same(self) -> None:
        with self.assertRaisesRegex(Failed, "Can not run more then 1"):
            self.worker.load("GB().run()\nGB().run()")

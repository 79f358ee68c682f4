"""What scripts call: commands, atomic blocks, settings, the log, threads."""

from __future__ import annotations

import threading

from .batches import Failed
from .case import WorkerCase, await_true, from_python
from .server import Kind


class Commands(WorkerCase):
    def value(self, expression: str) -> str:
        """Returns the repr of an expression that is evaluated in a step."""
        return self.results(from_python("[1]", f".map(lambda x: repr({expression}))"))[0]

    def test_replies(self) -> None:
        self.database.data["k"] = "v"
        for expression, shown in (
            ("execute()", "[]"),
            ("execute('GET', 'k')", "'v'"),
            ("execute('GET', 'none')", "None"),
            ("execute('SET', 'a', 1)", "'OK'"),
            ("execute('INCR', 'n')", "1"),
            ("execute('RAW')", "bytearray(b'\\xff\\xfe')"),
            ("execute('NUMBERS')", "[1, 'a', None, bytearray(b'\\xff'), [2]]"),
            ("execute('ECHO', 1.5)", "'1.5'"),
            ("execute('ECHO', b'x')", "'x'"),
            ("execute('ECHO', None)", "'None'"),
            ("execute('ECHO', bytearray(b'x'))", "'x'"),
        ):
            self.assertEqual(self.value(expression), shown, expression)

    def test_errors(self) -> None:
        script = """
def f(x):
    try:
        execute(*x)
    except redisgears.GearsError as error:
        return str(error)
"""
        self.assertEqual(
            self.results(script + from_python("[('NOSUCH',), ('GET',)]", ".map(f)")),
            ["No such file or directory", "Invalid argument"],
        )

    def test_many(self) -> None:
        self.database.data["k"] = "v"
        self.assertEqual(
            self.value("execute_many([('GET', 'k'), ['NOSUCH'], ('INCR', 'n')])"),
            "['v', error('No such file or directory'), 1]",
        )

    def test_everywhere(self) -> None:
        script = """
execute('INCR', 'top')
def reader():
    execute('INCR', 'reader')
    yield 1
def extractor(r):
    execute('INCR', 'extractor')
    return 'k'
GB('PythonReader').groupby(extractor, lambda k, a, r: execute('INCR', 'reducer')).run(reader)
"""
        self.assertEqual(self.results(script), ["{'key': 'k', 'value': 1}"])
        self.assertEqual(sorted(self.database.data), ["extractor", "reader", "reducer", "top"])

    def test_calls_carry_the_context(self) -> None:
        key = self.worker.load("execute('PING')\n" + from_python("[1]", ".map(lambda x: execute('PING'))"), context=7)[
            "run"
        ]
        self.server.execute(key)
        self.assertEqual([number for number, _ in self.database.calls], [7, 101])

    def test_large_replies(self) -> None:
        self.database.data["big"] = "x" * 3_000_000
        self.assertEqual(self.value("len(execute('GET', 'big'))"), "3000000")
        self.assertEqual(self.value("execute('SET', 'b', 'y' * 3000000)"), "'OK'")
        self.assertEqual(len(self.database.data["b"]), 3_000_000)

    def test_the_old_module(self) -> None:
        script = """
from redisgears import executeCommand, atomicCtx, getMyHashTag, log, config_get
from __main__ import GB, GearsBuilder, configGet, gearsConfigGet
import redisgears
assert rg is redisgears
"""
        self.assertEqual(
            self.results(script + from_python("[1]", ".map(lambda x: executeCommand('PING') + getMyHashTag())")),
            ["PONG06S"],
        )

    def test_settings(self) -> None:
        self.database.config["name"] = "value"
        self.assertEqual(
            self.value("(configGet('name'), configGet('x'), gearsConfigGet('x', 5), ConfigGet('name'))"),
            "('value', None, 5, 'value')",
        )
        self.assertEqual(self.value("hashtag()"), "'06S'")

    def test_log_and_print(self) -> None:
        self.results(
            "log('top')\nprint('said')\n" + from_python("[1]", ".foreach(lambda x: log('step', level='warning'))")
        )
        self.assertEqual(self.database.log, [("notice", "s", "top"), ("warning", "s", "step")])
        await_true(lambda: self.worker.output == ["said"])

    def test_names(self) -> None:
        names = """GearsBuilder GB execute atomic hashtag log configGet gearsConfigGet gearsFuture gearsCtx call_next
            get_command override_reply isInAtomicBlock isAsyncAllow flat_error setGearsSession getGearsSession
            registerGearsThread createFuture setFutureResults setFutureException runCoroutine GearsSession GearsFuture
            registerTE redisgears rg copy asyncio io cProfile pstats Thread Future loop Log ConfigGet
            GearsConfigGet""".split()
        self.worker.load(f"for name in {names!r}: globals()[name]\nassert __name__ == 'not_main'")


class Nested(WorkerCase):
    """A command that a function runs sets off a function of the same worker, which runs commands itself."""

    SCRIPT = """
def inner():
    execute('INCR', 'inner')
    execute('ECHO', 'x' * 200000)
registerTE(1, inner)
"""

    def timer(self) -> str:
        self.worker.load(self.SCRIPT)
        return str(self.database.timers[0][2])

    def test_calls_inside_of_calls(self) -> None:
        timer = self.timer()
        self.assertEqual(
            self.results(from_python("range(3)", f".map(lambda x: execute('SETOFF', {timer!r}))")), ["done"] * 3
        )
        self.assertEqual(self.database.data["inner"], "3")

    def test_two_deep(self) -> None:
        timer = self.timer()
        self.worker.load(f"registerTE(1, lambda: execute('SETOFF', {timer!r}))")
        outer = self.database.timers[1][2]
        self.assertEqual(self.results(from_python("[1]", f".map(lambda x: execute('SETOFF', {outer!r}))")), ["done"])
        self.assertEqual(self.database.events.count("SETOFF"), 2)

    def test_beside_threads_that_call_all_the_time(self) -> None:
        timer = self.timer()
        script = """
def work(i):
    registerGearsThread()
    for n in range(200):
        assert execute('ECHO', n) == str(n)
    good.append(i)
def f(x):
    threads = [Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads: thread.start()
    for n in range(5): execute('SETOFF', timer)
    for thread in threads: thread.join()
    return len(good)
"""
        script += f"good, timer = [], {timer!r}\n"
        self.assertEqual(self.results(script + from_python("[1]", ".map(f)")), ["4"])


class Atomic(WorkerCase):
    def test_block(self) -> None:
        script = """
def f(x):
    with atomic():
        inside = isInAtomicBlock()
        execute('INCR', 'a')
        execute('INCR', 'a')
    return inside, isInAtomicBlock()
"""
        self.assertEqual(self.results(script + from_python("[1]", ".map(f)")), ["(True, False)"])
        self.assertEqual(self.database.events, ["enter", "INCR", "INCR", "leave"])

    def test_nested(self) -> None:
        script = "with atomic():\n  with atomic():\n    pass"
        with self.assertRaisesRegex(Failed, "gears.error: Already inside an atomic block"):
            self.worker.load(script)
        self.assertEqual(self.database.events, ["enter", "leave"])

    def test_an_exception_leaves_the_block(self) -> None:
        result = self.run_script("def f(x):\n  with atomic():\n    1/0\n" + from_python("[1]", ".map(f)"))
        self.assertEqual(len(result.errors), 1)
        self.assertEqual(self.database.events, ["enter", "leave"])

    def test_a_block_that_is_never_left_ends_with_the_step(self) -> None:
        self.results("def f(x):\n  atomic().__enter__()\n" + from_python("[1]", ".map(f)"))
        self.assertEqual(self.database.events, ["enter", "leave"])

    def test_other_threads_wait(self) -> None:
        script = """
import threading
def f(x):
    def other():
        registerGearsThread()
        begun.set()
        execute('ECHO', 'other')
    begun = threading.Event()
    thread = Thread(target=other)
    with atomic():
        thread.start()
        begun.wait()
        for i in range(20):
            execute('PING')
    thread.join()
"""
        self.results(script + from_python("[1]", ".foreach(f)"))
        self.assertEqual(self.database.events, ["enter"] + ["PING"] * 20 + ["leave", "ECHO"])


class Timers(WorkerCase):
    SCRIPT = "n = 0\ndef f():\n  global n\n  n += 1\n  execute('SET', 'n', n)\n"

    def test_without_a_key(self) -> None:
        self.worker.load(self.SCRIPT + "assert registerTE(5, f) is True")
        ((context, session, timer, seconds, key, blob),) = self.database.timers
        self.assertEqual((context, session, seconds, key, blob), (1, "s", 5, None, b""))
        for _ in range(2):
            self.worker.ask(Kind.FIRE, ("s", timer))
        self.assertEqual(self.database.data["n"], "2")
        self.worker.ask(Kind.DROP_TIMER, ("s", timer))
        with self.assertRaises(Failed):
            self.worker.ask(Kind.FIRE, ("s", timer))

    def test_with_a_key(self) -> None:
        self.worker.load(self.SCRIPT + "assert registerTE(5, f, 'k')\nassert registerTE(5, f, 'k') is False")
        ((_, _, timer, _, key, blob),) = self.database.timers
        self.assertEqual(key, "k")
        other = self.fork()
        other.ask(Kind.INSTALL, {"session": "s", "context": 1, "timer": timer}, [blob])
        other.ask(Kind.FIRE, ("s", timer))
        self.assertEqual(self.database.data["n"], "1")

    def test_a_function_that_raises(self) -> None:
        self.worker.load("registerTE(1, lambda: 1/0)")
        with self.assertRaisesRegex(Failed, "ZeroDivisionError"):
            self.worker.ask(Kind.FIRE, ("s", self.database.timers[0][2]))


class Threads(WorkerCase):
    def test_registered_threads(self) -> None:
        script = """
found = []
def work():
    registerGearsThread()
    found.append(execute('PING'))
    with atomic():
        pass
    GB()
thread = Thread(target=work)
thread.start()
thread.join()
"""
        self.assertEqual(self.results(script + from_python("[1]", ".map(lambda x: found)")), ["['PONG']"])

    def test_many_threads_call_at_once(self) -> None:
        script = """
def work(i, found):
    registerGearsThread()
    for n in range(50):
        found.append(execute('ECHO', '%d-%d' % (i, n)) == '%d-%d' % (i, n))
def f(x):
    found = []
    threads = [Thread(target=work, args=(i, found)) for i in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return len(found), all(found)
"""
        self.assertEqual(self.results(script + from_python("[1]", ".map(f)")), ["(400, True)"])

    def test_executions_at_once(self) -> None:
        script = "import time\ndef f(x):\n  time.sleep(0.3)\n  return x\n" + from_python("[1]", ".map(f)")
        key = self.worker.load(script)["run"]
        outcomes = []

        def run(number: int) -> None:
            self.worker.open(key, number)
            outcomes.append(self.worker.run_stage(Kind.END, (number, 0)).entries)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(outcomes, [[b"$1\r\n1\r\n"]] * 10)

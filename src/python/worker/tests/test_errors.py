"""Exceptions of the builder in RedisGears' words, and what becomes of exceptions in steps."""

from __future__ import annotations

from typing import Any

from rmr_worker import errors

from .batches import Failed
from .case import WorkerCase, from_python

# What a script does, and the text of the gears.error that it gets.
REFUSED = [
    ("GB(5)", "reader argument must be a string"),
    ("GB('KeysReader', '*', 5)", "desc argument must be a string"),
    ("GB().map()", "wrong number of args to map function"),
    ("GB().map(len)", "map argument must be a function"),
    ("GB().map(int)", "map argument must be a function"),
    ("import functools\nGB().map(functools.partial(lambda x: x))", "map argument must be a function"),
    ("GB().filter(1, 2)", "wrong number of args to filter function"),
    ("GB().filter(1)", "filter argument must be a function"),
    ("GB().foreach()", "wrong number of args to foreach function"),
    ("GB().foreach(None)", "foreach argument must be a function"),
    ("GB().flatmap()", "wrong number of args to flatmap function"),
    ("GB().flatmap(list)", "flatmap argument must be a function"),
    ("GB().accumulate()", "wrong number of args to accumulate function"),
    ("GB().accumulate('x')", "accumulate argument must be a function"),
    ("GB().limit()", "wrong number of args to limit function"),
    ("GB().limit('x')", "limit argument must be a number"),
    ("GB().collect(1)", "wrong number of args to collect function"),
    ("GB().groupby(1)", "wrong number of args to groupby function"),
    ("GB().groupby(1, 2)", "groupby extractor argument must be a function"),
    ("GB().groupby(lambda x: x, 2)", "groupby reducer argument must be a function"),
    ("GB().batchgroupby(1)", "wrong number of args to batchgroupby function"),
    ("GB().batchgroupby(1, 2)", "batchgroupby extractor argument must be a function"),
    ("GB().batchgroupby(lambda x: x, 2)", "batchgroupby reducer argument must be a function"),
    ("GB().repartition()", "wrong number of args to repartition function"),
    ("GB().repartition(1)", "repartition argument must be a function"),
    ("GB().run(mode=5)", "execution mode must be a string"),
    ("GB().run(mode='sync')", "unknown execution mode"),
    ("GB().run(5)", "regex argument must be a string"),
    ("GB().run(noScan=1)", "exactMatch value is not boolean"),
    ("GB().run(readValue=1)", "readValue value is not boolean"),
    ("GB('StreamReader').run('s', fromId=5)", "fromId argument must be a string"),
    ("GB('PythonReader', None).run()", "python reader function is not given"),
    ("GB('PythonReader').run()", "pyreader argument must be a function"),
    ("GB('PythonReader').run(range)", "pyreader argument must be a function"),
    ("GB('CommandReader').run()", "Given reader do not support run or not exists"),
    ("GB('NoReader').run()", "The given reader does not exists"),
    ("GB().run()\nGB().run()", "Can not run more then 1 executions in a single script"),
    ("execute(5)", "the given command must be a string"),
    ("log()", "log function must get a log message as input"),
    ("configGet()", "get_config function must get a single key input"),
    ("configGet(5)", "get_config key must be a string"),
    ("registerTE(1)", "not enough arguments for time event"),
    ("registerTE('1', lambda: 1)", "time argument must be a long"),
    ("registerTE(1, len)", "callback must be a function"),
    ("call_next()", "Can not get CommandHook ctx"),
    ("get_command()", "Can not get command ctx"),
    ("override_reply(1)", "Can not get command ctx"),
    ("gearsFuture()", "Future object can only be created inside certain execution steps"),
]


class Refusals(WorkerCase):
    def refusal(self, script: str) -> str:
        with self.assertRaises(Failed) as caught:
            self.worker.load(script)
        return str(caught.exception)

    def test_texts(self) -> None:
        for script, text in REFUSED:
            shown = self.refusal(script)
            self.assertIn("gears.error: " + text, shown, script)
            self.assertTrue(shown.startswith("['Traceback (most recent call last):\\n', "), shown)

    def test_a_script_that_raises(self) -> None:
        shown = self.refusal("x = 1\n1/0")
        self.assertIn("ZeroDivisionError: division by zero", shown)
        self.assertIn("line 2, in <module>", shown)
        self.assertNotIn("session.py", shown)

    def test_a_script_that_is_not_python(self) -> None:
        self.assertIn("SyntaxError", self.refusal("this is no python"))
        self.assertNotIn("session.py", self.refusal("this is no python"))
        self.assertIn("SystemExit", self.refusal("import sys\nsys.exit(3)"))

    def test_without_traceback(self) -> None:
        self.worker.hello(traceback=False)
        self.assertEqual(self.refusal("1/0"), "Error type: <class 'ZeroDivisionError'>, Value: division by zero")

    def test_functions_that_cannot_travel(self) -> None:
        self.worker.hello(cluster=True)
        shown = self.refusal("import threading\nlock = threading.Lock()\ndef f(x):\n  return lock\nGB().map(f).run()")
        self.assertIn("Error occured when serialized a python callback, callback=f", shown)

    def test_unregistered_threads(self) -> None:
        script = """
found = []
def work(f):
    try:
        f()
    except Exception as error:
        found.append(str(error))
for f in (GB, lambda: execute('PING')):
    thread = Thread(target=work, args=(f,))
    thread.start()
    thread.join()
raise Exception(found)
"""
        shown = self.refusal(script)
        self.assertIn("Can not create a gearsCtx on a python created thread", shown)
        self.assertIn("registerGearsThread", shown)


class InSteps(WorkerCase):
    def one_error(self, script: str, *data: Any) -> str:
        result = self.run_script(script, *data)
        self.assertEqual(len(result.errors), 1, result)
        return result.errors[0]

    def test_each_operation(self) -> None:
        for steps in (
            ".map(lambda x: 1/0)",
            ".filter(lambda x: 1/0)",
            ".foreach(lambda x: 1/0)",
            ".flatmap(lambda x: 1/0)",
            ".accumulate(lambda a, x: 1/0)",
            ".localgroupby(lambda x: 1/0, lambda k, a, r: 1)",
            ".groupby(lambda x: x, lambda k, a, r: 1/0)",
            ".repartition(lambda x: 1/0)",
            ".batchgroupby(lambda x: x, lambda k, r: 1/0)",
            ".aggregate(0, lambda a, x: 1/0, max)",
            ".countby(lambda x: 1/0)",
            ".avg(lambda x: 1/0)",
        ):
            error = self.one_error(from_python("[1]", steps))
            self.assertIn("ZeroDivisionError", error, steps)
            self.assertNotIn("steps.py", error, steps)

    def test_a_local_flow_stops_at_the_first_error_and_keeps_what_is_finished(self) -> None:
        result = self.run_script(from_python("range(100)", ".map(lambda x: 1/(x - 3))"))
        self.assertEqual((len(result.results), len(result.errors)), (3, 1))
        keys = {"k%d" % i: ("s", str(i)) for i in range(50)}
        result = self.run_script("GB().map(lambda r: 1/(int(r['value']) - 3)).count().run()", keys, size=10)
        self.assertEqual((result.results, len(result.errors)), (["3"], 1))

    def test_readers(self) -> None:
        self.assertIn("ZeroDivisionError", self.one_error("GB('PythonReader').run(lambda: 1/0)"))
        script = "def f():\n  yield 1\n  raise Exception('at the end')\nGB('PythonReader').run(f)"
        result = self.run_script(script)
        self.assertEqual(result.results, ["1"])
        self.assertIn("at the end", result.errors[0])

    def test_flat_errors(self) -> None:
        self.assertEqual(self.one_error(from_python("[1]", ".map(lambda x: flat_error('just this'))")), "just this")
        script = "from redisgears import GearsFlatError\ndef f(x):\n  raise GearsFlatError('this')\n"
        self.assertEqual(self.one_error(script + from_python("[1]", ".map(f)")), "this")

    def test_the_end_of_the_program_is_an_error_like_any_other(self) -> None:
        self.assertIn("SystemExit", self.one_error("import sys\n" + from_python("[1]", ".map(lambda x: sys.exit(1))")))
        self.assertIn("StopIteration", self.one_error(from_python("[1]", ".map(lambda x: next(iter(())))")))

    def test_str_of_a_record(self) -> None:
        script = "class C:\n  def __str__(self):\n    raise Exception('no text')\n" + from_python("[C()]", "")
        self.assertIn("no text", self.one_error(script))

    def test_commands(self) -> None:
        self.assertIn(
            "gears.error: No such file or directory",
            self.one_error(from_python("[1]", ".map(lambda x: execute('NOSUCH'))")),
        )


class Texts(WorkerCase):
    def setUp(self) -> None:
        pass

    def test_an_exception_without_text(self) -> None:
        class Silent(Exception):
            def __str__(self) -> str:
                raise ValueError

        self.assertIn("Silent", errors.error_text(Silent()))

    def test_names(self) -> None:
        self.assertEqual(
            [str(kind) for kind in (errors.GearsError, errors.GearsFlatError, errors.GearsForceStopped)],
            ["<class 'gears.error'>", "<class 'gears.flat_error'>", "<class 'gears.forcestopped'>"],
        )

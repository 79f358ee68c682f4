"""What the functions of a session share, on the shard of the script and elsewhere."""

from __future__ import annotations

import os
import tempfile

from .batches import Failed, strings
from .case import WorkerCase, from_python
from .cluster import Cluster
from .server import Kind


class Here(WorkerCase):
    def test_functions_share_their_globals(self) -> None:
        script = "n = 0\ndef f(x):\n  global n\n  n += 1\n  return n\n"
        self.assertEqual(
            self.results(script + from_python("[1, 1]", ".map(f).map(lambda x: (x, n))")), ["(1, 1)", "(2, 2)"]
        )
        self.assertEqual(self.results(from_python("[1]", ".map(lambda x: n)")), ["2"])

    def test_sessions_do_not_share_theirs(self) -> None:
        self.worker.load("x = 1", session="a")
        with self.assertRaisesRegex(Failed, "NameError"):
            self.worker.load("x", session="b")

    def test_what_a_load_says(self) -> None:
        loaded = self.worker.load(
            "gb = GB('KeysReader', desc='mine').map(lambda r: r)\ngb.groupby(lambda r: 1, lambda k, a, r: 1).run()"
        )
        (flow,) = loaded["flows"]
        self.assertEqual(loaded["run"], flow["key"])
        self.assertEqual(
            (flow["reader"], flow["description"], flow["mode"], flow["needs"], flow["blob"]),
            ("KeysReader", "mine", "async", "all", b""),
        )
        self.assertEqual(
            flow["stages"],
            [{"steps": ["map"], "then": "repartition"}, {"steps": ["group", "to_text"], "then": "collect"}],
        )
        self.assertEqual(
            [kind for kind, _, _ in flow["steps"]],
            ["map", "map", "extractkey", "repartition", "extractkey", "accumulatebykey", "map", "collect"],
        )
        self.assertEqual(loaded["builders"], 1)
        nothing = {"flows": [], "run": None, "aside": None, "registrations": [], "builders": 0}
        self.assertEqual(self.worker.load("x = 1"), nothing)

    def test_stages(self) -> None:
        for script, stages in (
            ("GB().run()", ["collect"]),
            ("GB().collect().run()", ["collect", "collect"]),
            ("GB().collect().run(convertToStr=False)", ["collect"]),
            ("GB().count().run()", ["collect", "collect"]),
            ("GB().run(collect=False)", ["stay"]),
            ("GB().collect().run(collect=False)", ["collect", "stay"]),
            ("GB().collect().run(convertToStr=False, collect=False)", ["collect"]),
            ("GB().count().run(convertToStr=False, collect=False)", ["collect", "stay"]),
            ("GB().repartition(lambda r: 1).run()", ["repartition", "collect"]),
            ("GB().collect().repartition(lambda r: 1).run()", ["collect", "repartition", "collect"]),
        ):
            (flow,) = self.worker.load(script)["flows"]
            self.assertEqual([stage["then"] for stage in flow["stages"]], stages, script)

    def test_a_forgotten_session(self) -> None:
        self.worker.load("import os, sys\nos.environ['X'] = '1'\nos.chdir('/tmp')")
        gone = self.worker.ask(Kind.FORGET, ("s",)).head
        self.assertEqual((gone["threads"], gone["tasks"], gone["reusable"]), (0, 0, True))
        with self.assertRaisesRegex(Failed, "NameError"):
            self.worker.load("sys")
        with self.assertRaisesRegex(Failed, "KeyError"):
            self.worker.load("import os\nos.environ['X']")
        with self.assertRaises(Failed) as caught:
            self.worker.ask(Kind.FORGET, ("none",))
        self.assertEqual(caught.exception.code, "unknown")

    def test_a_session_that_leaves_something_behind(self) -> None:
        self.worker.load("import threading\nstop = threading.Event()\nThread(target=stop.wait, daemon=True).start()")
        gone = self.worker.ask(Kind.FORGET, ("s",)).head
        self.assertEqual((gone["threads"], gone["reusable"]), (1, False))

    def test_reuse_takes_no_more_and_more_memory(self) -> None:
        def run(times: int) -> int:
            for _ in range(times):
                self.server.run(
                    "class C:\n  big = list(range(1000))\n" + from_python("[C.big]", ".map(lambda x: len(x))")
                )
                gone = self.worker.ask(Kind.FORGET, ("s",)).head
            return int(gone["rss"])

        before = run(30)
        self.assertLess(run(200) - before, 2 << 20)

    def test_folders_of_requirements(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            with open(os.path.join(folder, "required_by_test.py"), "w") as file:
                file.write("answer = 42\n")
            self.worker.load("import required_by_test\nassert required_by_test.answer == 42", path=[folder])
            self.assertFalse(self.worker.ask(Kind.FORGET, ("s",)).head["reusable"])

    def test_unknown_things(self) -> None:
        for kind, head in (
            (Kind.OPEN, {"session": "none", "key": "k", "execution": 1}),
            (Kind.CLOSE, (99,)),
            (Kind.END, (99, 0)),
            (Kind.ABORT, (99,)),
        ):
            with self.assertRaises(Failed) as caught:
                self.worker.ask(kind, head)
            self.assertEqual(caught.exception.code, "unknown")
        with self.assertRaises(Failed) as caught:
            self.worker.ask(200, ())
        self.assertEqual(caught.exception.code, "protocol")

    def test_profiles(self) -> None:
        with self.assertRaises(Failed):
            self.worker.ask(Kind.PROFILE, ("stats", "s", ""))
        self.worker.hello(profile=True)
        self.results("def slow_function(x):\n  return x\n" + from_python("[1]", ".map(slow_function)"))
        self.assertIn("slow_function", self.worker.ask(Kind.PROFILE, ("stats", "s", "")).head)
        self.assertIn("cumulative time", self.worker.ask(Kind.PROFILE, ("stats", "s", "cumulative")).head)
        self.worker.ask(Kind.PROFILE, ("reset", "s"))
        with self.assertRaises(Failed):
            self.worker.ask(Kind.PROFILE, ("stats", "s", ""))

    def test_times_of_steps(self) -> None:
        key = self.worker.load("import time\n" + from_python("[1]", ".map(lambda x: time.sleep(0.01))"))["run"]
        self.worker.open(key, 1, timed=True)
        self.worker.run_stage(Kind.END, (1, 0))
        # The mapper behind the reader, the step, its conversion to text, and the collect.
        took = self.worker.ask(Kind.CLOSE, (1, True)).head["timing"]
        self.assertEqual([spent > 10_000_000 for spent in took], [False, True, False, False])

    def test_time_of_the_reader(self) -> None:
        script = "import time\ndef numbers():\n  for x in range(3):\n    time.sleep(0.01)\n    yield x\n"
        run = "GB('PythonReader').map(lambda x: time.sleep(0.05)).run(numbers)"
        key = self.worker.load(script + run)["run"]
        self.worker.open(key, 1)
        self.worker.run_stage(Kind.END, (1, 0))
        read = self.worker.ask(Kind.CLOSE, (1, True)).head["read"]
        self.assertTrue(30_000_000 <= read < 150_000_000, f"{read} ns: the steps are not the reader's")

    def test_stacks(self) -> None:
        self.worker.load("def here():\n  stop.wait()\nimport threading\nstop = threading.Event()")
        self.worker.load("Thread(target=here, daemon=True, name='waiting').start()")
        text = self.worker.ask(Kind.STACKS, ()).head
        self.assertIn("thread waiting:", text)
        self.assertIn("in here", text)

    def test_requests_out_of_order(self) -> None:
        self.worker.open(self.worker.load(from_python("range(20000)", ""))["run"], 1)
        self.assertTrue(self.worker.ask(Kind.END, (1, 0)).head[2])
        with self.assertRaises(Failed) as caught:
            self.worker.ask(Kind.END, (1, 0))
        self.assertEqual(caught.exception.code, "protocol")

    def test_stats(self) -> None:
        self.worker.load("x = 1")
        stats = self.worker.ask(Kind.STATS, ()).head
        self.assertEqual((stats["sessions"], stats["executions"]), (1, 0))
        self.assertGreater(stats["rss"], 1 << 20)


class Elsewhere(WorkerCase):
    """A script runs on the first shard; its functions come to the second in pickles."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.fork()
        self.server = Cluster([self.worker, self.other])

    def on_the_other(self, script: str) -> list:
        """Returns what a flow gives on the shard where the script did not run."""
        result = self.server.run(script, [{}, {}])
        self.assertEqual(result.errors, [])
        return [value for value in result.results if value != "here"]

    def flow(self, expression: str) -> str:
        return f"\nGB('ShardsIDReader').map(lambda x: {expression} if x == 'shard-1' else 'here').run()"

    def test_functions_bring_what_they_need(self) -> None:
        script = """
import json
factor = 3
class Thing:
    def __init__(self, n): self.n = n * factor
def helper(n):
    return Thing(n).n
def outer():
    inner = 5
    return lambda: inner + helper(1)
"""
        self.assertEqual(
            self.on_the_other(script + "made = outer()" + self.flow("json.dumps([helper(2), made()])")), ["[6, 8]"]
        )

    def test_names_of_every_session_are_the_others_own(self) -> None:
        self.assertEqual(
            self.on_the_other(self.flow("(execute('PING'), hashtag(), loop is asyncio.get_event_loop_policy())")),
            ["('PONG', '06S', False)"],
        )

    def test_globals_are_shared_there_too(self) -> None:
        script = "n = 0\ndef f(x):\n  global n\n  n += 1\n  return n\ndef g(x):\n  return x, n\n"
        flow = "GB('ShardsIDReader').map(f).map(g).run()"
        self.assertEqual(self.server.run(script + flow, [{}, {}]).results, ["(1, 1)", "(1, 1)"])
        self.assertEqual(self.server.run(flow, [{}, {}]).results, ["(2, 2)", "(2, 2)"])

    def test_tracebacks_show_no_lines_of_a_forgotten_session(self) -> None:
        self.other.load("first = 'of the first script'", session="first")
        self.other.ask(Kind.FORGET, ("first",))
        (error,) = self.server.run(self.flow("1 / 0").lstrip(), [{}, {}]).errors
        self.assertIn("ZeroDivisionError", error)
        self.assertNotIn("first script", error)

    def test_code_is_the_newest(self) -> None:
        self.on_the_other("def f():\n  return 1" + self.flow("f()"))
        self.assertEqual(self.on_the_other("def f():\n  return 2" + self.flow("f()")), ["2"])

    def test_values_are_the_newest_unless_the_shard_has_bound_its_own(self) -> None:
        self.assertEqual(self.on_the_other("v = [1]" + self.flow("v")), ["[1]"])
        self.assertEqual(self.on_the_other("v = [2]" + self.flow("v")), ["[2]"])
        script = "def f():\n  global v\n  v = 'own'\n  return v"
        self.assertEqual(self.on_the_other(script + self.flow("f()")), ["own"])
        self.assertEqual(self.on_the_other("v = [3]" + self.flow("v")), ["own"])

    def test_readers_and_zero_values_travel(self) -> None:
        script = "def f():\n  yield from range(3)\n"
        script += "GB('PythonReader').aggregate([], lambda a, x: a + [x], lambda a, x: a + x).run(f)"
        self.assertEqual(self.server.run(script, [{}, {}]).results, ["[0, 1, 2, 0, 1, 2]"])

    def test_a_pickle_that_is_none(self) -> None:
        with self.assertRaises(Failed):
            self.other.ask(Kind.INSTALL, {"session": "s", "context": 1, "key": "k"}, [b"nonsense"])

    def test_keys_of_flows_differ_between_shards(self) -> None:
        keys = [worker.load("GB().run()")["run"] for worker in (self.worker, self.other)]
        self.assertNotEqual(*keys)

    def test_data(self) -> None:
        result = self.server.run(
            "GB().filter(lambda r: r['value'] > '1').run()", [strings(a="1", b="2"), strings(c="3")]
        )
        self.assertEqual(len(result.results), 2)

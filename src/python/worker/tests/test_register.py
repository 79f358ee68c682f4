"""register(): what it takes, what it refuses, what becomes of it on this shard and on others."""

from __future__ import annotations

from typing import Any, Dict, List

from .batches import Failed, list_events, name_events
from .case import WorkerCase
from .server import Kind, Worker

KEYS: Dict[str, Any] = {"prefix": "*", "event_types": None, "key_types": None, "read_value": True, "commands": None}
STREAM: Dict[str, Any] = {
    "prefix": "*",
    "batch": 1,
    "duration_ms": 0,
    "on_failed": "continue",
    "retry_interval_s": 1,
    "trim": True,
}
COMMAND: Dict[str, Any] = {"trigger": None, "hook": None, "key_prefix": None, "in_order": False}

ARGUMENTS = [
    ("GB().register()", KEYS),
    ("GB().register('a:*')", dict(KEYS, prefix="a:*")),
    ("GB().register(prefix='a:*')", dict(KEYS, prefix="a:*")),
    ("GB().register(regex='a:*')", dict(KEYS, prefix="a:*")),
    ("GB('KeysReader', defaultArg='p:*').register()", dict(KEYS, prefix="p:*")),
    ("GB('KeysReader', 'p:*').register('a')", dict(KEYS, prefix="a")),
    ("GB().register('a', eventTypes=['Set', 'del'])", dict(KEYS, prefix="a", event_types=["set", "del"])),
    ("GB().register(keyTypes=('String', 'module'))", dict(KEYS, key_types=["string", "module"])),
    ("GB().register(readValue=False, commands=['GET'])", dict(KEYS, read_value=False, commands=["get"])),
    ("GB().register(something='else')", KEYS),
    ("gearsCtx().register('a')", dict(KEYS, prefix="a")),
    ("GB('StreamReader').register()", STREAM),
    (
        "GB('StreamReader').register('s', batch=5, duration=100, onFailedPolicy='Retry', onFailedRetryInterval=3,"
        " trimStream=False)",
        {
            "prefix": "s",
            "batch": 5,
            "duration_ms": 100,
            "on_failed": "retry",
            "retry_interval_s": 3,
            "trim": False,
        },
    ),
    ("GB('StreamReader').register(mode='sync', onFailedPolicy='CONTINUE')", STREAM),
    ("GB('CommandReader').register(trigger='Do')", dict(COMMAND, trigger="Do")),
    ("GB('CommandReader').register(hook='GET')", dict(COMMAND, hook="get")),
    (
        "GB('CommandReader').register(hook='get', keyprefix='a*', inorder=True)",
        {"trigger": None, "hook": "get", "key_prefix": "a*", "in_order": True},
    ),
]

REFUSED = [
    ("GB().register(5)", "regex argument must be a string"),
    ("GB('StreamReader').register(5)", "regex argument must be a string"),
    ("GB().register(mode=1)", "execution mode must be a string"),
    ("GB().register(mode='x')", "unknown execution mode"),
    ("GB().run(mode='sync')", "unknown execution mode"),
    ("GB('PythonReader').register()", "given reader does not exists or does not support register"),
    ("GB('NoReader').register()", "given reader does not exists or does not support register"),
    ("GB().register(onRegistered=len)", "OnRegistered argument must be a function"),
    ("GB().register(eventTypes=1)", "given eventTypes is not iterable"),
    ("GB().register(eventTypes=[1])", "given event type is not string"),
    ("GB().register(keyTypes=1)", "given keyTypes is not iterable"),
    ("GB().register(keyTypes=[1])", "given key type is not string"),
    ("GB().register(keyTypes=['x'])", "unknown key type"),
    ("GB().register(readValue=1)", "readValue is not boolean"),
    ("GB().register(commands=1)", "given commands is not iterable"),
    ("GB().register(commands=[1])", "given command type is not string"),
    ("GB('StreamReader').register(batch='x')", "batch argument must be a number"),
    ("GB('StreamReader').register(duration='x')", "duration argument must be a number"),
    ("GB('StreamReader').register(onFailedRetryInterval='x')", "retryInterval argument must be a number"),
    ("GB('StreamReader').register(onFailedPolicy=1)", "onFailedPolicy must be a string (Continue/Abort/Retry)"),
    ("GB('StreamReader').register(onFailedPolicy='x')", "onFailedPolicy must be Continue/Abort/Retry"),
    (
        "GB('StreamReader').register(mode='sync', onFailedPolicy='retry')",
        "ExecutionMode sync can only be combined with OnFailedPolicy Continue",
    ),
    ("GB('StreamReader').register(trimStream=1)", "pyTrimmStream argument must be a boolean"),
    ("GB('CommandReader').register()", "no trigger or hook argument was given"),
    ("GB('CommandReader').register(keyprefix='a')", "no trigger or hook argument was given"),
    ("GB('CommandReader').register(trigger=1)", "trigger argument is not string"),
    ("GB('CommandReader').register(hook=1)", "hook argument is not string"),
    ("GB('CommandReader').register(hook='get', keyprefix=1)", "keyprefix argument is not string"),
    ("GB('CommandReader').register(trigger='a', inorder=1)", "inorder argument is be boolean"),
    (
        "GB('CommandReader').register(trigger='a', hook='b')",
        "trigger argument can not be given with keyprefix or hook",
    ),
    (
        "GB('CommandReader').register(trigger='a', keyprefix='b')",
        "trigger argument can not be given with keyprefix or hook",
    ),
]


class RegisterCase(WorkerCase):
    def registered(self, script: str, worker: Any = None) -> List[Dict[str, Any]]:
        found: List[Dict[str, Any]] = (worker or self.worker).load(script)["registrations"]
        return found

    def come_to_life(self, registration: Dict[str, Any], worker: Worker) -> None:
        """Does what the server does where a registration lives from now on."""
        head = {"session": "s", "context": 1, "key": registration["flow"]["key"]}
        worker.ask(Kind.INSTALL, head, [registration["flow"]["blob"]])
        worker.ask(Kind.REGISTERED, head)


class Arguments(RegisterCase):
    def test_what_each_reader_takes(self) -> None:
        for script, arguments in ARGUMENTS:
            with self.subTest(script):
                (found,) = self.registered(script)
                self.assertEqual(found["arguments"], arguments)
                self.assertIn(found["reader"], script + "KeysReader")

    def test_what_is_refused(self) -> None:
        for script, text in REFUSED:
            with self.subTest(script):
                with self.assertRaises(Failed) as raised:
                    self.worker.load(script)
                self.assertIn("gears.error: " + text, str(raised.exception))

    def test_all_that_is_said_of_one(self) -> None:
        script = "def f():\n  pass\nname = GB('StreamReader', desc='mine').map(lambda r: r)"
        script += ".register(mode='async_local', onRegistered=f)\nassert name == '0-1', name\nGB()"
        loaded = self.worker.load(script)
        (found,) = loaded["registrations"]
        self.assertEqual((loaded["run"], loaded["flows"], loaded["builders"]), (None, [], 1))
        said = [found[name] for name in ("id", "reader", "mode", "description", "on_registered")]
        self.assertEqual(said, ["0-1", "StreamReader", "async_local", "mine", True])
        flow = found["flow"]
        self.assertEqual([kind for kind, _, _ in flow["steps"]], ["map", "map", "map", "collect"])
        self.assertEqual(flow["stages"], [{"steps": ["map", "to_text"], "then": "collect"}])
        self.assertTrue(flow["blob"])

    def test_several_at_once(self) -> None:
        found = self.registered("".join(f"GB('CommandReader').register(trigger='{name}')\n" for name in "abc"))
        self.assertEqual([made["arguments"]["trigger"] for made in found], ["a", "b", "c"])
        self.assertEqual([made["id"] for made in found], ["0-1", "0-2", "0-3"])
        self.assertEqual(len({made["flow"]["key"] for made in found}), 3)
        self.assertEqual(self.registered("x = 1"), [])

    def test_run_beside_register(self) -> None:
        loaded = self.worker.load("GB().register()\nGB().run()")
        self.assertIsNone(loaded["run"])
        self.assertEqual([flow["key"] for flow in loaded["flows"]], [loaded["aside"]])

    def test_a_script_that_raises_registers_nothing(self) -> None:
        with self.assertRaisesRegex(Failed, "ZeroDivisionError"):
            self.worker.load("GB('CommandReader').register(trigger='a')\nGB().run()\n1/0")
        loaded = self.worker.load("x = 1")
        self.assertEqual((loaded["registrations"], loaded["run"]), ([], None))

    def test_what_cannot_travel(self) -> None:
        with self.assertRaisesRegex(Failed, "Error occured when serialized a python callback"):
            self.worker.load("lock = __import__('threading').Lock()\nGB().foreach(lambda r: lock).register()")

    def test_elsewhere_than_at_the_top_level(self) -> None:
        result = self.run_script("GB('PythonReader').map(lambda r: GB().register()).run(lambda: (x for x in [1]))")
        self.assertIn("register can only be called at the top level", result.errors[0])


class Life(RegisterCase):
    SCRIPT = """
n = 5
def begin():
    global n
    n = 100
    execute('SET', 'begun', n)
GB().map(lambda r: (r['key'], n)).register(onRegistered=begin)
"""

    def test_on_registered_where_it_was_made_and_elsewhere(self) -> None:
        (made,) = self.registered(self.SCRIPT)
        for worker in (self.worker, self.fork()):
            with self.subTest(worker=worker.pid):
                self.database.data.clear()
                self.come_to_life(made, worker)
                self.assertEqual(self.database.data, {"begun": "100"})
                events = name_events([("k", "set")])
                (outcome,) = worker.run_events(events, made["flow"]["key"], 7)
                self.assertEqual(outcome, ([b"$10\r\n('k', 100)\r\n"], []))

    def test_a_second_install_changes_nothing(self) -> None:
        (made,) = self.registered("n = [0]\ndef f(r):\n  n[0] += 1\n  return n[0]\nGB().map(f).register()")
        other = self.fork()
        for number in (1, 2, 3):
            self.come_to_life(made, other)
            (outcome,) = other.run_events(name_events([("k", "set")]), made["flow"]["key"], number)
            self.assertEqual(outcome[0], [b"$1\r\n%d\r\n" % number])

    def test_an_on_registered_that_raises_or_waits(self) -> None:
        for function, text in (
            ("def f():\n  1/0\n", "ZeroDivisionError"),
            ("async def f():\n  pass\n", "the onRegistered function can not be a coroutine"),
        ):
            (made,) = self.registered(function + "GB().register(onRegistered=f)")
            with self.assertRaisesRegex(Failed, text):
                self.come_to_life(made, self.worker)

    def test_registrations_share_their_globals_on_each_shard(self) -> None:
        script = """
last = None
def put(r):
    global last
    last = r[1]
GB('CommandReader').foreach(put).register(trigger='put')
GB('CommandReader').map(lambda r: last).register(trigger='get')
"""
        put, get = self.registered(script)
        other = self.fork()
        for worker in (self.worker, other):
            self.come_to_life(put, worker)
            self.come_to_life(get, worker)
        for number, (worker, text) in enumerate(((self.worker, "here"), (other, "there"))):
            worker.run_events(list_events([[["put", text]]]), put["flow"]["key"], 2 * number)
        for number, (worker, text) in enumerate(((self.worker, "here"), (other, "there"))):
            (outcome,) = worker.run_events(list_events([[["get"]]]), get["flow"]["key"], 100 + number)
            self.assertEqual(outcome[0], [b"$%d\r\n%b\r\n" % (len(text), text.encode())])

    def test_forgotten(self) -> None:
        (made,) = self.registered(self.SCRIPT)
        self.come_to_life(made, self.worker)
        answer = self.worker.ask(Kind.FORGET, ("s",)).head
        self.assertTrue(answer["reusable"])
        with self.assertRaisesRegex(Failed, "there is no session"):
            self.worker.run_events(name_events([("k", "set")]), made["flow"]["key"], 1)

    def test_as_stages_of_a_cluster(self) -> None:
        (made,) = self.registered("GB('CommandReader').count().register(trigger='t')")
        key = made["flow"]["key"]
        self.assertEqual(self.worker.open(key, 3)["reader"], {"kind": "events"})
        head, sections = list_events([["t", "a"]])[:2]
        self.worker.run_stage(Kind.RUN, (3, 0, "records", *head[1:]), sections)
        self.assertEqual(self.worker.run_stage(Kind.END, (3, 0)).entries, [b"$1\r\n1\r\n"])

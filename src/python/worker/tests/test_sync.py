"""Events for which the server's main thread waits: they come over the call socket, and may call themselves."""

from __future__ import annotations

import threading
from typing import Any

from .batches import Failed, list_events, name_events
from .case import await_true
from .server import Kind
from .test_events import EventsCase

ONE = name_events([("k", "set")])


class SyncCase(EventsCase):
    def trigger(self, name: str, steps: str, before: str = "") -> None:
        """Registers a flow that TRIGGER name runs, while the command waits."""
        script = f"{before}\nGB('CommandReader'){steps}.register(trigger='{name}', mode='sync')"
        self.worker.triggers[name] = self.key_of(script)


class Sync(SyncCase):
    def test_an_event(self) -> None:
        key = self.key_of("GB().map(lambda r: execute('INCR', 'n')).register(mode='sync')")
        for number in range(1, 50):
            found = self.worker.run_sync(ONE, key, number)
            self.assertEqual(found, ([b"$%d\r\n%d\r\n" % (len(str(number)), number)], []))

    def test_errors(self) -> None:
        key = self.key_of("GB().map(lambda r: 1/0).register(mode='sync')")
        results, errors = self.worker.run_sync(ONE, key, 1)
        self.assertEqual((results, len(errors)), ([], 1))
        with self.assertRaisesRegex(Failed, "no flow"):
            self.worker.run_sync(ONE, "nothing", 1)

    def test_while_a_call_waits(self) -> None:
        self.trigger("t", ".map(lambda r: execute('INCR', r[1]))")
        script = "GB('PythonReader').map(lambda x: execute('TRIGGER', 't', x)).run(lambda: (x for x in 'aab'))"
        self.assertEqual(self.results(script), ["1", "2", "1"])

    def test_within_one_another(self) -> None:
        before = "def down(r):\n  n = int(r[1])\n"
        before += "  return execute('TRIGGER', 't', n - 1) + str(execute('INCR', 'n')) if n else ''\n"
        self.trigger("t", ".map(down)", before)
        self.assertEqual(
            self.results("GB('PythonReader').map(lambda x: execute('TRIGGER', 't', 8)).run(lambda: (x for x in [1]))"),
            ["12345678"],
        )

    def test_while_other_threads_call(self) -> None:
        self.trigger("t", ".map(lambda r: execute('INCR', r[1]))")
        script = """
import threading
def work():
    registerGearsThread()
    for n in range(200):
        assert execute('ECHO', n) == str(n)
    execute('INCR', 'done')
for _ in range(3):
    Thread(target=work).start()
"""
        self.worker.load(script)
        calls = "GB('PythonReader').map(lambda x: execute('TRIGGER', 't', 'x')).run(lambda: (x for x in range(100)))"
        self.assertEqual(self.results(calls), [str(number) for number in range(1, 101)])
        key = self.worker.triggers["t"]
        for number in range(101, 200):
            self.worker.run_sync(list_events([[["t", "x"]]]), key, number)
        await_true(lambda: self.database.data.get("done") == "3")

    def test_in_an_atomic_block(self) -> None:
        before = "def f(r):\n  with atomic():\n    assert isInAtomicBlock()\n    n = execute('INCR', r[1])\n"
        self.trigger("t", ".map(f)", before + "  assert not isInAtomicBlock()\n  return n\n")
        script = "def g(x):\n  with atomic():\n    return execute('TRIGGER', 't', 'x')\n"
        script += "GB('PythonReader').map(g).run(lambda: (x for x in [1, 2]))"
        self.assertEqual(self.results(script), ["1", "2"])
        # The server has it already while it waits for the event.
        self.assertEqual(self.database.events, ["enter", "TRIGGER", "INCR", "leave"] * 2)

    def test_one_that_goes_on_later(self) -> None:
        script = "async def f(r):\n  await asyncio.sleep(0.01)\n  return 5\nGB().map(f).register(mode='sync')"
        key = self.key_of(script)
        self.assertIsNone(self.worker.run_sync(ONE, key, 701))
        self.assertEqual(self.worker.await_event(701, 0), ([b"$1\r\n5\r\n"], []))
        found = self.worker.run_sync(ONE, key, 702, is_async=False)
        self.assertEqual(found, ([], ["Creating async record is not allowed"]))

    def test_aborted(self) -> None:
        function = "def f(r):\n  execute('SET', 'begun', 1)\n  while True: pass\n"
        key = self.key_of(function + "GB().map(f).register(mode='sync')")
        found: Any = []
        thread = threading.Thread(target=lambda: found.append(self.worker.run_sync(ONE, key, 703)))
        thread.start()
        self.await_key("begun")
        self.assertTrue(self.worker.ask(Kind.ABORT, (703,)).head["left"])
        thread.join()
        self.assertIn("gears.forcestopped", found[0][1][0])

    def test_a_worker_that_was_used_so_is_as_good_as_new(self) -> None:
        self.trigger("t", ".map(lambda r: execute('INCR', r[1]))")
        self.results("GB('PythonReader').map(lambda x: execute('TRIGGER', 't', x)).run(lambda: (x for x in 'aab'))")
        self.assertEqual(self.worker.ask(Kind.FORGET, ("s",)).head["threads"], 0)


class Commands(SyncCase):
    def test_get_command(self) -> None:
        key = self.key_of("GB().map(lambda r: get_command()).register(mode='sync')")
        self.database.linked[704] = ["get", "k", b"\xff"]
        found = self.worker.run_sync(ONE, key, 704)
        self.assertIn(b"['get', 'k', bytearray(b'\\xff')]", found[0][0])
        results, errors = self.worker.run_sync(ONE, key, 705)
        self.assertEqual(results, [])
        self.assertIn("Can not get command ctx", errors[0])

    def test_override_reply(self) -> None:
        for given, reply in (("'+OK'", b"+OK\r\n"), ("5", b":5\r\n"), ("['-x', 'y']", b"*2\r\n-x\r\n$1\r\ny\r\n")):
            EventsCase.last += 1
            number = EventsCase.last
            key = self.key_of(f"GB().foreach(lambda r: override_reply({given})).register(mode='async_local')")
            (outcome,) = self.worker.run_events(ONE, key, number)
            self.assertEqual(outcome[1], [])
            self.assertEqual(self.database.overridden[number], reply)
        (outcome,) = self.worker.run_events(ONE, key, number)
        self.assertIn("Can only override reply once", outcome[1][0])
        (outcome,) = self.outcomes("GB().foreach(lambda r: override_reply()).register()", ONE)
        self.assertIn("Override reply must get a single argument", outcome[1][0])

    def test_call_next(self) -> None:
        key = self.key_of("GB('CommandReader').map(lambda r: call_next(*r[1:])).register(hook='get', mode='sync')")
        self.database.data["k"] = "v"
        self.database.linked[706] = ["GET", "k"]
        batch = list_events([[["get", "k"]]])
        self.assertEqual(self.worker.run_sync(batch, key, 706, results="trigger"), ([b"$1\r\nv\r\n"], []))
        _, errors = self.worker.run_sync(batch, key, 707)
        self.assertIn("Can not get CommandHook ctx", errors[0])

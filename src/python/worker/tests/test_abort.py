"""How executions end that do not end by themselves."""

from __future__ import annotations

import time

from .batches import Failed
from .case import WorkerCase, await_true, from_python
from .server import Kind


class Abort(WorkerCase):
    def begin(self, script: str, execution: int = 1) -> int:
        """Starts an execution; returns its request."""
        self.worker.open(self.worker.load(script)["run"], execution)
        return self.worker.send(Kind.END, (execution, 0))

    def abort(self, number: int = 1, patience_ms: int = 2000) -> dict:
        head: dict = self.worker.ask(Kind.ABORT, (number, patience_ms)).head
        return head

    def await_abort(self, number: int) -> None:
        """Waits for the last answer of an aborted execution: that of code that was ended, or of a wait."""
        try:
            self.assertTrue(self.worker.take(number, (1, 0)).aborted)
        except Failed as failed:
            self.assertEqual(failed.code, "aborted")

    def test_an_endless_loop(self) -> None:
        number = self.begin(
            "def f(x):\n  execute('INCR', 'begun')\n  while True: pass\n" + from_python("[1]", ".map(f)")
        )
        self.await_key("begun")
        self.assertTrue(self.abort()["left"])
        output = self.worker.take(number, (1, 0))
        self.assertTrue(output.aborted)
        self.assertEqual(len(output.errors), 1)
        self.assertIn("gears.forcestopped", output.errors[0])

    def test_others_go_on(self) -> None:
        number = self.begin(
            "def f(x):\n  execute('INCR', 'begun')\n  while True: pass\n" + from_python("[1]", ".map(f)")
        )
        self.await_key("begun")
        self.assertEqual(self.results(from_python("[1]", ""))[0], "1")
        self.abort()
        self.worker.take(number, (1, 0))
        self.assertEqual(self.results(from_python("[2]", ""))[0], "2")

    def test_a_loop_that_catches_exceptions(self) -> None:
        script = "def f(x):\n  execute('INCR', 'begun')\n  while True:\n    try: 1/0\n    except Exception: pass\n"
        number = self.begin(script + from_python("[1]", ".map(f)"))
        self.await_key("begun")
        self.assertTrue(self.abort()["left"])
        self.assertTrue(self.worker.take(number, (1, 0)).aborted)

    def test_a_loop_that_catches_everything_once(self) -> None:
        script = """
def f(x):
    for i in range(2):
        try:
            execute('INCR', 'begun')
            while True: pass
        except: pass
"""
        number = self.begin(script + from_python("[1]", ".map(f)"))
        self.await_key("begun")
        self.assertTrue(self.abort()["left"])
        self.await_abort(number)

    def test_code_that_does_not_leave(self) -> None:
        self.begin(
            "import time\ndef f(x):\n  execute('INCR', 'begun')\n  time.sleep(5)\n" + from_python("[1]", ".map(f)")
        )
        self.await_key("begun")
        await_true(lambda: "time.sleep(5)" in self.worker.ask(Kind.STACKS, ()).head)
        self.assertFalse(self.abort(patience_ms=100)["left"])

    def test_a_loop_of_commands(self) -> None:
        for _ in range(10):
            self.database.data.clear()
            number = self.begin("def f(x):\n  while True: execute('INCR', 'begun')\n" + from_python("[1]", ".map(f)"))
            self.await_key("begun")
            self.assertTrue(self.abort()["left"])
            self.assertTrue(self.worker.take(number, (1, 0)).aborted)
            # The call socket is still in step.
            self.assertEqual(
                self.results(from_python("range(50)", ".map(lambda x: execute('ECHO', x))")),
                [str(i) for i in range(50)],
            )
            self.worker.ask(Kind.CLOSE, (1,))

    def test_inside_an_atomic_block(self) -> None:
        script = "def f(x):\n  with atomic():\n    execute('INCR', 'begun')\n    while True: pass\n"
        number = self.begin(script + from_python("[1]", ".map(f)"))
        self.await_key("begun")
        self.assertTrue(self.abort()["left"])
        self.worker.take(number, (1, 0))
        self.assertEqual(self.database.events, ["enter", "INCR", "leave"])

    def test_the_server_aborts_a_call(self) -> None:
        def refuse(*words: str) -> None:
            raise Failed("aborted", "")

        self.database.commands["STOP"] = refuse
        number = self.begin(from_python("[1]", ".map(lambda x: execute('STOP'))"))
        self.assertTrue(self.worker.take(number, (1, 0)).aborted)

    def test_a_record_that_waits(self) -> None:
        number = self.begin(
            "kept = []\ndef f(x):\n  kept.append(gearsFuture())\n  execute('INCR', 'begun')\n  return kept[0]\n"
            + from_python("[1]", ".map(f)")
        )
        self.await_key("begun")
        number = self.await_waiting(number)
        self.assertEqual(self.abort(), {"left": True, "waited": 1})
        with self.assertRaises(Failed) as caught:
            self.worker.wait(number)
        self.assertEqual(caught.exception.code, "aborted")
        with self.assertRaises(Failed):
            self.worker.ask(Kind.NEXT, (1, 0))

    def test_an_execution_that_is_closed_while_it_waits(self) -> None:
        number = self.begin(
            "kept = []\ndef f(x):\n  kept.append(gearsFuture())\n  execute('INCR', 'begun')\n"
            "  return kept[0]\n" + from_python("[1]", ".map(f)")
        )
        self.await_key("begun")
        number = self.await_waiting(number)
        self.worker.ask(Kind.CLOSE, (1,))
        with self.assertRaises(Failed) as caught:
            self.worker.wait(number)
        self.assertEqual(caught.exception.code, "aborted")

    def test_coroutines(self) -> None:
        for loop in ("await asyncio.sleep(60)", "\n    execute('INCR', 'begun')\n    while True: pass"):
            script = f"async def f(x):\n    execute('INCR', 'begun')\n    {loop}\n"
            number = self.begin(script + from_python("[1]", ".map(f)"))
            self.await_key("begun")
            number = self.await_waiting(number)
            self.assertTrue(self.abort()["left"])
            self.await_abort(number)
            self.worker.ask(Kind.CLOSE, (1,))
            del self.database.data["begun"]
        self.assertEqual(
            self.results("async def f(x):\n  await asyncio.sleep(0)\n  return x\n" + from_python("[1]", ".map(f)")),
            ["1"],
        )

    def test_tasks_that_coroutines_start(self) -> None:
        script = """
async def part():
    execute('INCR', 'begun')
    while True: pass
async def f(x):
    await asyncio.gather(part())
"""
        number = self.begin(script + from_python("[1]", ".map(f)"))
        self.await_key("begun")
        self.assertTrue(self.abort()["left"])
        self.await_abort(number)

    def test_the_top_level_of_a_script(self) -> None:
        number = self.worker.send(
            Kind.LOAD, {"session": "s", "context": 77, "script": "execute('INCR', 'begun')\nwhile True: pass"}
        )
        self.await_key("begun")
        self.assertTrue(self.abort(77)["left"])
        with self.assertRaisesRegex(Failed, "gears.forcestopped"):
            self.worker.wait(number)

    def test_coroutines_of_a_session(self) -> None:
        self.worker.load(
            "async def f():\n  execute('INCR', 'begun')\n  while True: pass\nrunCoroutine(f())", context=77
        )
        self.await_key("begun")
        self.assertTrue(self.abort(77)["left"])
        self.assertEqual(
            self.results("async def f(x):\n  await asyncio.sleep(0)\n  return x\n" + from_python("[1]", ".map(f)")),
            ["1"],
        )

    def test_what_has_not_begun(self) -> None:
        self.worker.open(self.worker.load(from_python("[1]", ""))["run"], 1)
        self.abort()
        with self.assertRaises(Failed) as caught:
            self.worker.ask(Kind.END, (1, 0))
        self.assertEqual(caught.exception.code, "aborted")

    def test_many_aborts_while_steps_come_and_go(self) -> None:
        key = self.worker.load(
            "def f(x):\n  return [i for i in range(50)]\n" + from_python("range(30000)", ".map(f).count()")
        )["run"]
        for number in range(30):
            self.worker.open(key, number)
            request = self.worker.send(Kind.END, (number, 0))
            time.sleep(0.001 * (number % 7))
            self.assertTrue(self.abort(number)["left"])
            try:
                self.worker.take(request, (number, 0))
            except Failed as failed:
                self.assertEqual(failed.code, "aborted")
        self.assertEqual(self.results(from_python("[1]", "")), ["1"])

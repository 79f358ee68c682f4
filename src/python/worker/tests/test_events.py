"""Events: each runs the whole flow by itself, and those that wait are reported later."""

from __future__ import annotations

from typing import Any, List

from rmr_worker.frames import strung_together

from .batches import Failed, key_events, list_events, name_events
from .case import await_true
from .server import Kind
from .test_register import RegisterCase

BULK_ONE = b"$1\r\n1\r\n"


KEPT = "kept = []\ndef f(r):\n  kept.append(gearsFuture())\n  return kept[-1]\nGB().map(f).register()"


class EventsCase(RegisterCase):
    last = 0

    def key_of(self, script: str) -> str:
        (made,) = self.registered(script)
        self.come_to_life(made, self.worker)
        return str(made["flow"]["key"])

    def outcomes(self, script: str, batch: Any, **more: Any) -> List[Any]:
        """Returns what comes of the events of a batch, one that waits in its place."""
        return self.outcomes_of(self.key_of(script), batch, **more)

    def outcomes_of(self, key: str, batch: Any, **more: Any) -> List[Any]:
        outcomes: List[Any] = []
        while len(outcomes) < len(batch.events):
            EventsCase.last += 1
            number = EventsCase.last
            # On a slow machine a worker may answer before it has begun all.
            found = self.worker.run_events(batch.after(len(outcomes)), key, number, **more)
            outcomes += [
                outcome if outcome is not None else self.worker.await_event(number, index)
                for index, outcome in enumerate(found)
            ]
        return outcomes


class Shapes(EventsCase):
    def test_keys(self) -> None:
        batch = key_events([("a", ("s", "1"), "set"), ("b", ("h", {"f": b"\xff"}), "hset"), ("c", ("e", None), "del")])
        found = self.outcomes("GB().register(convertToStr=False)", batch, results="records")
        self.assertEqual(
            [strung_together(1, entries[0])[0] for entries, _ in found],
            [
                {"key": "a", "value": "1", "type": "string", "event": "set"},
                {"key": "b", "value": {"f": bytearray(b"\xff")}, "type": "hash", "event": "hset"},
                {"key": "c", "value": None, "type": "empty", "event": "del"},
            ],
        )

    def test_names(self) -> None:
        ((entries, errors),) = self.outcomes("GB().register(readValue=False)", name_events([("a", "set")]))
        self.assertEqual((entries, errors), ([b"$28\r\n{'key': 'a', 'event': 'set'}\r\n"], []))

    def test_lists(self) -> None:
        batch = list_events([[["t", "x"]], [], [["t"], ["u"]]])
        found = self.outcomes("GB('CommandReader').map(lambda r: r[0]).register(trigger='t')", batch)
        self.assertEqual([len(entries) for entries, _ in found], [1, 0, 2])

    def test_forms_of_results(self) -> None:
        script = "GB('CommandReader').flatmap(lambda r: r[::-1]).register(trigger='t', convertToStr=False)"
        batch = list_events([[["+OK", "-no", 5, ["-x"], None]]])
        for form, results in (
            ("replies", [b"$3\r\n+OK\r\n", b"$3\r\n-no\r\n", b":5\r\n", b"*1\r\n$2\r\n-x\r\n"]),
            ("trigger", [b"+OK\r\n", b"-no\r\n", b":5\r\n", b"*1\r\n-x\r\n"]),
        ):
            ((entries, errors),) = self.outcomes(script, batch, results=form)
            self.assertEqual((entries, errors), ([*results, b"$9\r\nPY RECORD\r\n"], []))

    def test_what_cannot_be_written_is_an_error_of_its_event(self) -> None:
        script = "GB('CommandReader').map(lambda r: object() if r[0] == 'b' else r[0])"
        batch = list_events([[["a"]], [["b"]], [["c"]]])
        found = self.outcomes(script + ".register(trigger='t', convertToStr=False)", batch, results="records")
        self.assertEqual([len(entries) for entries, _ in found], [1, 0, 1])
        self.assertIn("Failed serializing record", found[1][1][0])

    def test_refused(self) -> None:
        key = self.key_of("GB().register()")
        batch = name_events([("a", "set")])
        for more, text in (({"results": "x"}, "not x"), ({"session": "n"}, "no session n")):
            with self.assertRaisesRegex(Failed, text):
                self.worker.run_events(batch, key, 1, **more)
        with self.assertRaisesRegex(Failed, "has no flow"):
            self.worker.run_events(batch, "n", 1)
        with self.assertRaisesRegex(Failed, "not count"):
            self.worker.run_events((("count", 1, False, ()), []), key, 1)
        self.assertEqual(len(self.outcomes_of(key, batch)), 1)


class Flows(EventsCase):
    def test_record_wise(self) -> None:
        steps = ".filter(lambda x: x > 1).flatmap(lambda x: list(range(x)))"
        steps += ".repartition(lambda x: x).map(lambda x: x * 10)"
        found = self.outcomes(
            "GB('CommandReader').flatmap(lambda r: r)" + steps + ".foreach(lambda x: None).register(trigger='t')",
            list_events([[[1, 2, 3]], [[0]]]),
        )
        self.assertEqual([entry.split()[1] for entry in found[0][0]], [b"20", b"10", b"0", b"10", b"0"])
        self.assertEqual(found[1], ([], []))

    def test_each_event_has_its_own_accumulators(self) -> None:
        batch = list_events([[["a"], ["b"]], [], [["c"]]])
        found = self.outcomes("GB('CommandReader').count().register(trigger='t')", batch)
        self.assertEqual(found, [([b"$1\r\n2\r\n"], []), ([], []), ([BULK_ONE], [])])
        steps = ".groupby(lambda r: r[0], lambda k, a, r: r).limit(1)"
        found = self.outcomes("GB('StreamReader')" + steps + ".register()", batch)
        self.assertEqual([len(entries) for entries, _ in found], [1, 0, 1])

    def test_errors_are_their_events_own(self) -> None:
        for steps in (".map(lambda r: 1 // int(r['key']))", ".map(lambda r: 1 // int(r['key'])).limit(5)"):
            batch = name_events([("1", "set"), ("0", "set"), ("1", "set")])
            first, second, third = self.outcomes("GB()" + steps + ".register()", batch)
            self.assertEqual((first, third), (([BULK_ONE], []), ([BULK_ONE], [])))
            self.assertEqual((second[0], len(second[1])), ([], 1))
            self.assertIn("ZeroDivisionError", second[1][0])

    def test_the_first_error_ends_its_event(self) -> None:
        for steps in (".map(lambda r: 1 // r)", ".map(lambda r: 1 // r).limit(5)"):
            (found,) = self.outcomes("GB('StreamReader')" + steps + ".register()", list_events([[1, 0, 1, 0]]))
            self.assertEqual((found[0], len(found[1])), ([BULK_ONE], 1))

    def test_requests_that_are_done_leave_nothing_for_the_collector(self) -> None:
        key = self.key_of(
            "import gc\ngc.disable()\ndef f(r):\n"
            "  return sum(type(kept).__name__ == 'Events' for kept in gc.get_objects())\n"
            "GB().map(f).register(readValue=False)"
        )
        found = [self.outcomes_of(key, name_events([("a", "set")])) for _ in range(20)]
        ((entries, errors),) = found[-1]
        self.assertEqual(errors, [])
        # The one that looks, and the one before, whose answer may be on its way yet.
        self.assertIn(entries[0], (b"$1\r\n1\r\n", b"$1\r\n2\r\n"))

    def test_an_early_answer(self) -> None:
        key = self.key_of("import time\nGB().foreach(lambda r: time.sleep(0.01)).register()")
        batch = name_events([("a", "set")] * 5)
        self.assertEqual(len(self.worker.run_events(batch, key, 401)), 1)
        self.assertEqual(len(self.outcomes_of(key, batch)), 5)


class Waiting(EventsCase):
    def test_coroutines(self) -> None:
        script = """
async def f(r):
    await asyncio.sleep(0.01 if r['key'] == 'a' else 0)
    if r['key'] == 'c':
        raise Exception('no luck')
    return r['key']
"""
        batch = name_events([(name, "set") for name in "abcd"])
        for steps in (".map(f)", ".map(f).limit(5)"):
            found = self.outcomes(script + "GB()" + steps + ".register()", batch)
            self.assertEqual(found[2], ([], ["no luck"]))
            self.assertEqual([found[n][0] for n in (0, 1, 3)], [[b"$1\r\n%b\r\n" % n] for n in (b"a", b"b", b"d")])

    def test_what_is_left_of_an_event_keeps_its_order(self) -> None:
        helpers = "async def later(x):\n  await asyncio.sleep(0)\n  return x\n"
        flow = "GB('StreamReader').map(lambda x: {0}(x)).flatmap(lambda x: {1}([x, x + 1]))"
        flow += ".filter(lambda x: {2}(x != 3))"
        flow += ".foreach(lambda x: {2}(0)).flatmap(lambda x: [x, x * 10]).map(lambda x: {3}(x)).register()"
        batch = list_events([[1, 2, 3, 4], [5]])
        expected = self.outcomes("now = lambda x: x\n" + flow.format("now", "now", "now", "now"), batch)
        self.assertEqual(len(expected[0][0]), 12)
        for number in range(1, 16):
            ways = [("now", "later")[number >> place & 1] for place in range(4)]
            script = helpers + "now = lambda x: x\nchance = lambda x: later(x) if x == 2 else x\n"
            for chosen in (ways, [way.replace("later", "chance") for way in ways]):
                found = self.outcomes(script + flow.format(*chosen), batch)
                self.assertEqual(found, expected, chosen)

    def test_a_future_that_another_registration_continues(self) -> None:
        script = """
waiting = []
def wait(r):
    future = gearsFuture()
    waiting.append(future)
    return future
GB('CommandReader').map(wait).register(trigger='pop')
GB('CommandReader').foreach(lambda r: waiting.pop(0).continueRun(r[1])).register(trigger='push')
"""
        pop, push = (made["flow"]["key"] for made in self.registered(script))
        for number in (501, 502):
            self.assertEqual(self.worker.run_events(list_events([[["pop"]]]), pop, number), [None])
        self.assertEqual(self.worker.ask(Kind.STATS, ()).head["waiting"], 2)
        self.outcomes_of(push, list_events([[["push", "x"]], [["push", "y"]]]))
        self.assertEqual(self.worker.await_event(501, 0), ([b"$1\r\nx\r\n"], []))
        self.assertEqual(self.worker.await_event(502, 0), ([b"$1\r\ny\r\n"], []))
        await_true(lambda: not self.worker.ask(Kind.STATS, ()).head["waiting"])

    def test_one_that_is_let_go(self) -> None:
        script = "def f(r):\n  global kept\n  kept = gearsFuture()\n  return kept\nGB().map(f).register()"
        key = self.key_of(script)
        self.assertEqual(self.worker.run_events(name_events([("a", "set")]), key, 505), [None])
        self.worker.load("kept = None")
        self.assertEqual(self.worker.await_event(505, 0), ([], ["Async record did not called continue"]))

    def test_where_none_may_be(self) -> None:
        batch = name_events([("a", "set")])
        for script in (
            "GB().map(lambda r: isAsyncAllow()).filter(lambda r: not r).map(lambda r: gearsFuture()).register()",
            "async def f(r):\n  return 1\nGB().map(f).register()",
            "async def f(a, r):\n  return 1\nGB().accumulate(f).register()",
        ):
            (outcome,) = self.worker.run_events(batch, self.key_of(script), 503, is_async=False)
            self.assertEqual((outcome[0], len(outcome[1])), ([], 1))
            self.assertIn("Creating async record is not allowed", outcome[1][0])

    def test_coroutines_that_outlive_what_started_them(self) -> None:
        script = """
async def later(name):
    await asyncio.sleep(0.001)
    execute('SET', name, 1)
def begin():
    runCoroutine(later('registered'))
def f(r):
    runCoroutine(later('ran'))
GB().foreach(f).register(onRegistered=begin)
"""
        (made,) = self.registered(script)
        key = made["flow"]["key"]
        self.worker.ask(Kind.REGISTERED, {"session": "s", "context": 55, "key": key})
        self.worker.run_events(name_events([("a", "set")]), key, 506)
        for name in ("registered", "ran"):
            self.await_key(name)
        self.assertEqual({number for number, _ in self.database.calls}, {1})

    def test_a_number_is_taken_while_events_wait(self) -> None:
        key = self.key_of(KEPT)
        batch = name_events([("a", "set")])
        self.worker.run_events(batch, key, 504)
        with self.assertRaisesRegex(Failed, "execution 504 has events that have not ended"):
            self.worker.run_events(batch, key, 504)


class Aborts(EventsCase):
    def test_what_waits(self) -> None:
        key = self.key_of(KEPT)
        waiting = self.worker.run_events(name_events([("a", "set"), ("b", "set")]), key, 601)
        self.assertEqual(waiting, [None] * len(waiting))
        self.assertEqual(self.worker.ask(Kind.ABORT, (601,)).head, {"left": True, "waited": len(waiting)})
        for index in range(len(waiting)):
            self.assertEqual(self.worker.await_event(601, index), ([], ["the execution was aborted"]))
        with self.assertRaisesRegex(Failed, "there is no execution 601"):
            self.worker.ask(Kind.ABORT, (601,))

    def test_what_runs(self) -> None:
        script = "kept = []\ndef f(r):\n  if r['key'] == 'a':\n    kept.append(gearsFuture())\n    return kept[-1]\n"
        script += "  execute('SET', 'begun', 1)\n  while True:\n    pass\n"
        key = self.key_of(script + "GB().map(f).register()")
        batch = name_events([("a", "set"), ("b", "set"), ("c", "set")])
        execution, number = 610, self.worker.send_events(batch, key, 610)
        while not self.has_begun(number):
            # A slow machine has answered before the second one was begun.
            execution += 1
            number = self.worker.send_events(batch, key, execution)
        self.assertTrue(self.worker.ask(Kind.ABORT, (execution,)).head["left"])
        first, second = self.worker.take_events(number)
        self.assertIsNone(first)
        self.assertIn("gears.forcestopped", second[1][0])
        self.assertEqual(self.worker.await_event(execution, 0), ([], ["the execution was aborted"]))

    def has_begun(self, number: int) -> bool:
        """Waits until the script has set the key, or the request is answered; says which."""
        await_true(lambda: "begun" in self.database.data or self.worker.has_answered(number))
        return "begun" in self.database.data

    def test_a_session_that_is_forgotten(self) -> None:
        key = self.key_of(KEPT)
        self.worker.run_events(name_events([("a", "set")]), key, 603)
        self.assertTrue(self.worker.ask(Kind.FORGET, ("s",)).head["reusable"])
        self.assertEqual(self.worker.await_event(603, 0), ([], ["the execution was aborted"]))

"""Runs flows whose steps look at one record at a time on one event after another, without an object for each.

Most registrations are such flows, and their events come by the hundred thousand. A step whose function returns a future
or coroutine ends the short way: what is left of the event then goes through a stage's operators, which can wait.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

from .futures import WAITABLE
from .plan import COLLECT, REPARTITION, Plan
from .steps import key_of

MAP, FILTER, FOREACH, FLATMAP, TEXT, CHECK = range(6)

NUMBERS = {
    "map": MAP,
    "filter": FILTER,
    "foreach": FOREACH,
    "flatmap": FLATMAP,
    "to_text": TEXT,
    REPARTITION: CHECK,
}

# A step: its number and its function.
Program = List[Tuple[int, Any]]

# Records that have yet to go through the steps from a certain one on.
Left = Tuple[Iterator[Any], int]


class Waiting(NamedTuple):
    """Says where an event has stopped: at a step whose function returned something to wait for."""

    step: int
    value: Any
    record: Any
    # what is left of the event's records besides, each with the steps that are before them
    left: List[Left]


def program_of(plan: Plan) -> Optional[Program]:
    """Returns the steps of a flow; None if one of them needs more than a record at a time."""
    program: Program = []
    for step in plan.steps:
        if step.kind == COLLECT:
            continue
        if step.kind not in NUMBERS:
            return None
        program.append((NUMBERS[step.kind], step.arguments[0] if step.arguments else None))
    return program


def run(
    program: Program, records: List[Any], results: List[Any], fail: Callable[[BaseException], None]
) -> Optional[Waiting]:
    """Adds to the results what comes of an event's records; returns where it has to wait, if it has to."""
    count = len(program)
    left: List[Left] = [(iter(records), 0)]
    while left:
        source, first = left[-1]
        for record in source:
            step = first
            try:
                while step < count:
                    number, function = program[step]
                    if number == TEXT:
                        if record.__class__ is not str:
                            record = str(record)
                    elif number == CHECK:
                        key_of(function, record)
                    else:
                        value = function(record)
                        if value.__class__ in WAITABLE:
                            return Waiting(step, value, record, left)
                        if number == MAP:
                            record = value
                        elif number == FILTER:
                            if not value:
                                break
                        elif number == FLATMAP:
                            if isinstance(value, list):
                                # RedisGears takes a list from its end.
                                left.append((iter(value[::-1]), step + 1))
                                break
                            record = value
                    step += 1
                else:
                    results.append(record)
            except BaseException as error:
                fail(error)
            if left[-1][0] is not source:
                break
        else:
            left.pop()
    return None

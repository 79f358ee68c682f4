"""Describes a flow: its reader, its steps, and the stages between which records change shards.

Steps are plain tuples of a name and arguments, so that a plan is pickled as data: of all that is in it only the user's
own functions are pickled by value.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple


class Step(NamedTuple):
    """One operation: the name of a kind in STEP_TYPES, and its arguments."""

    kind: str
    arguments: Tuple[Any, ...] = ()


# What moves records. The steps behind it belong to the next stage.
COLLECT = "collect"
REPARTITION = "repartition"

# What becomes of the last stage's records when nothing moves them.
STAY = "stay"

# Under which types and names RG.GETEXECUTION shows a step; one of ours can stand for several of RedisGears'.
STEP_TYPES: Dict[str, List[Tuple[str, str]]] = {
    "map": [("map", "RedisGearsPy_PyCallbackMapper")],
    "to_text": [("map", "RedisGearsPy_PyCallbackMapper")],
    "foreach": [("foreach", "RedisGearsPy_PyCallbackForEach")],
    "filter": [("filter", "RedisGearsPy_PyCallbackFilter")],
    "flatmap": [("flatmap", "RedisGearsPy_PyCallbackFlatMapper")],
    "accumulate": [("accumulate", "RedisGearsPy_PyCallbackAccumulate")],
    "aggregate": [("accumulate", "RedisGearsPy_PyCallbackAccumulate")],
    "count": [("accumulate", "RedisGearsPy_PyCallbackAccumulate")],
    "sum": [("accumulate", "RedisGearsPy_PyCallbackAccumulate")],
    "group": [
        ("extractkey", "RedisGearsPy_PyCallbackExtractor"),
        ("accumulatebykey", "RedisGearsPy_PyCallbackAccumulateByKey"),
    ],
    "aggregate_by": [
        ("extractkey", "RedisGearsPy_PyCallbackExtractor"),
        ("accumulatebykey", "RedisGearsPy_PyCallbackAccumulateByKey"),
    ],
    "count_by": [
        ("extractkey", "RedisGearsPy_PyCallbackExtractor"),
        ("accumulatebykey", "RedisGearsPy_PyCallbackAccumulateByKey"),
    ],
    "combine_by": [
        ("extractkey", "RedisGearsPy_PyCallbackExtractor"),
        ("accumulatebykey", "RedisGearsPy_PyCallbackAccumulateByKey"),
    ],
    "sum_by": [
        ("extractkey", "RedisGearsPy_PyCallbackExtractor"),
        ("accumulatebykey", "RedisGearsPy_PyCallbackAccumulateByKey"),
    ],
    "batch_group": [
        ("extractkey", "RedisGearsPy_PyCallbackExtractor"),
        ("group", ""),
        ("reduce", "RedisGearsPy_PyCallbackReducer"),
    ],
    "limit": [("limit", "")],
    COLLECT: [("collect", "collect")],
    REPARTITION: [("extractkey", "RedisGearsPy_PyCallbackExtractor"), ("repartition", "repartition")],
}

# The mapper that follows the reader in RedisGears' own lists.
AFTER_READER = ("map", "RedisGearsPy_ToPyRecordMapper")


class Stage(NamedTuple):
    """Steps that one shard runs on its records, and where these go then."""

    steps: List[Step]
    # COLLECT, REPARTITION or STAY
    then: str
    # the function that extracts the key by whose slot a record is sent
    extractor: Any = None


class Plan(NamedTuple):
    """A whole flow, as it travels to the other shards."""

    reader: str
    reader_arguments: Dict[str, Any]
    steps: List[Step]
    description: Optional[str]
    # async or async_local; where it waits for events also sync
    mode: str
    # whether register() has made it, and not run(): then its records are events
    waits_for_events: bool = False

    def stages(self, is_local: bool) -> List[Stage]:
        """Splits the steps where records move; where they do not, all steps are one stage.

        A stage without steps behind a collect, as the collect that run() adds behind one of the script's, moves
        nothing and is left out.
        """
        stages: List[Stage] = []
        steps: List[Step] = []
        for step in self.steps:
            if step.kind not in (COLLECT, REPARTITION):
                steps.append(step)
            elif is_local:
                # Here the extractor runs all the same: its exceptions are errors of the flow on one shard too.
                if step.kind == REPARTITION:
                    steps.append(step)
            elif step.kind == COLLECT and not steps and stages and stages[-1].then == COLLECT:
                continue
            else:
                stages.append(Stage(steps, step.kind, step.arguments[0] if step.arguments else None))
                steps = []
        if steps or not stages or stages[-1].then != COLLECT:
            stages.append(Stage(steps, STAY))
        return stages

    def needs(self) -> str:
        """Says what the first step looks at: `count` for nothing but how many records there are, else `all`."""
        return "count" if self.steps and self.steps[0].kind == "count" else "all"

    def described(self) -> Dict[str, Any]:
        """Returns what the server has to know of the flow."""
        return {
            "reader": self.reader,
            "description": self.description,
            "mode": self.mode,
            "needs": self.needs(),
            "steps": self.shown_steps(),
            "stages": [described_stage(stage) for stage in self.stages(is_local=False)],
        }

    def shown_places(self) -> Dict[int, int]:
        """Returns where each step, by its identity, begins in what RG.GETEXECUTION shows."""
        places: Dict[int, int] = {}
        place = 1
        for step in self.steps:
            places[id(step)] = place
            place += len(STEP_TYPES[step.kind])
        return places

    def shown_steps(self) -> List[Tuple[str, str, str]]:
        """Returns type, name and argument of each step for RG.GETEXECUTION, in the order of the flow."""
        shown = [(AFTER_READER[0], AFTER_READER[1], "")]
        for step in self.steps:
            argument = shown_argument(step)
            shown.extend((kind, name, argument) for kind, name in STEP_TYPES[step.kind])
        return shown


class Registered(NamedTuple):
    """What register() has made, as it travels to the other shards and is kept."""

    plan: Plan
    # the script's onRegistered
    on_registered: Optional[Callable[[], Any]]


def described_stage(stage: Stage) -> Dict[str, Any]:
    return {"steps": [step.kind for step in stage.steps], "then": stage.then}


def shown_argument(step: Step) -> str:
    """Returns the name of a step's function, or the numbers of a limit."""
    if step.kind == "limit":
        return "length={} start={}".format(*step.arguments)
    for argument in step.arguments:
        if callable(argument):
            return str(getattr(argument, "__name__", ""))
    return ""

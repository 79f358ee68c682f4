"""Finds the operator of each step of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Tuple, Type

from . import reducers, steps
from .builder import record_key
from .reducers import fresh_zero

if TYPE_CHECKING:
    from .stage import Stage

PLAIN: Dict[str, Type[steps.Operator]] = {
    "map": steps.Map,
    "filter": steps.Filter,
    "foreach": steps.ForEach,
    "flatmap": steps.FlatMap,
    "to_text": steps.ToText,
    "repartition": steps.Check,
    "limit": steps.Limit,
    "accumulate": reducers.Accumulate,
    "count": reducers.Count,
    "group": reducers.Group,
    "batch_group": reducers.BatchGroup,
}


def operator(stage: "Stage", index: int, kind: str, arguments: Tuple[Any, ...]) -> steps.Operator:
    """Returns the operator of a step."""
    if kind in PLAIN:
        return PLAIN[kind](stage, index, *arguments)
    if kind == "aggregate":
        zero, function = arguments
        return reducers.Accumulate(stage, index, function, fresh_zero(zero))
    if kind == "sum":
        return reducers.Accumulate(stage, index, reducers.add)
    if kind == "aggregate_by":
        extractor, zero, function = arguments
        return reducers.Group(stage, index, extractor, function, fresh_zero(zero))
    if kind == "combine_by":
        zero, function = arguments
        return reducers.Combine(stage, index, record_key, function, fresh_zero(zero))
    if kind == "count_by":
        return reducers.CountBy(stage, index, arguments[0], reducers.no_reducer)
    if kind == "sum_by":
        return reducers.Combine(stage, index, record_key, reducers.add_by)
    raise ValueError(f"there is no step {kind!r}")

"""Runs flows over several workers, as the servers of a cluster do together."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from rmr_worker.frames import Kind

from .batches import hash_slot, keys_batch, names_batch, parsed, records_batch
from .server import Output, Worker


class Result(NamedTuple):
    """Is what a client would get: results and errors."""

    results: List[Any]
    errors: List[str]


class Cluster:
    """Runs flows as the server does: stage by stage, records between shards, results at the first."""

    def __init__(self, workers: List[Worker]) -> None:
        self.workers = workers
        self._execution = 100
        for number, worker in enumerate(workers):
            shard = "1" if len(workers) == 1 else f"shard-{number}"
            worker.hello(shard=shard, cluster=len(workers) > 1)

    def run(self, script: str, data: Sequence[Dict[str, Tuple[str, Any]]] = ({},), size: int = 1000) -> Result:
        """Loads a script on the first shard and runs its flow on all, each with its own keys."""
        loaded = self.workers[0].load(script)
        key = loaded["run"]
        flow = next(flow for flow in loaded["flows"] if flow["key"] == key)
        for worker in self.workers[1:]:
            worker.ask(Kind.INSTALL, {"session": "s", "context": 1, "key": key}, [flow["blob"]])
        return self.execute(key, data, size)

    def execute(self, key: str, data: Sequence[Dict[str, Tuple[str, Any]]] = ({},), size: int = 1000) -> Result:
        self._execution += 1
        number = self._execution
        opened = [worker.open(key, number) for worker in self.workers]
        stages = opened[0]["stages"]
        errors: List[str] = []
        inputs: List[List[bytes]] = [[] for _ in self.workers]
        active = list(range(len(self.workers)))
        outputs: List[List[Output]] = []
        for place, stage in enumerate(stages):
            outputs = [[] for _ in self.workers]
            for shard in active:
                worker = self.workers[shard]
                batches = (
                    self._reader_batches(opened[shard]["reader"], data[shard], size)
                    if place == 0
                    else [records_batch(inputs[shard])]
                    if inputs[shard]
                    else []
                )
                for head, sections in batches:
                    outputs[shard].append(worker.run_stage(Kind.RUN, (number, place, *head), sections))
                    if outputs[shard][-1].enough:
                        break
                outputs[shard].append(worker.run_stage(Kind.END, (number, place)))
            for found in outputs:
                for output in found:
                    errors += output.errors
            inputs = [[] for _ in self.workers]
            if stage["then"] == "repartition":
                for found in outputs:
                    for output in found:
                        for record_key, entry in zip(output.keys, output.entries):
                            inputs[hash_slot(record_key) * len(self.workers) // 16384].append(entry)
            else:
                inputs[0] = [entry for found in outputs for output in found for entry in output.entries]
                if stage["then"] == "stay":
                    inputs[0] = [entry for output in outputs[0] for entry in output.entries]
                active = [0]
        for worker in self.workers:
            worker.ask(Kind.CLOSE, (number,))
        return Result([parsed(entry) for entry in inputs[0]], errors)

    def _reader_batches(self, reader: Dict[str, Any], keys: Dict[str, Tuple[str, Any]], size: int) -> List[Any]:
        if reader["kind"] == "own":
            return []
        names = list(keys)
        pages = [names[start : start + size] for start in range(0, len(names), size)]
        if reader["needs"] == "count":
            return [(("count", len(page), False, ()), []) for page in pages]
        if reader["kind"] == "names" or not reader["with_values"]:
            return [names_batch(page) for page in pages]
        return [keys_batch({name: keys[name] for name in page}) for page in pages]

"""Exchanges between real processes of this machine, started for it: what torch's own profiler saw each of them send.

A fresh interpreter imports torch once and forks the workers, so that this process (its threads, its `__main__`) is left out of it.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.distributed as dist
from torch.autograd.profiler import profile

from torchstone.core.errors import told
from torchstone.laws.exchange.scheme import Scheme
from torchstone.parts.exchange.schemes import exchange
from torchstone.parts.exchange.talking import ExchangeError


@dataclass(frozen=True)
class Job:
    """An exchange of so many float32 numbers between n workers, by a scheme."""

    scheme: str
    workers: int
    parameters: int

    @property
    def nodes(self) -> int:
        """Processes that take part: the workers, and a server of its own."""
        return self.workers + (self.scheme == Scheme.SEPARATE_SERVER)


@dataclass(frozen=True)
class Counted:
    """What the profiler saw: all messages, the least and most numbers of one, numbers in all and of the worker that sent most.

    `own_count` is the sum of what `Traffic` says of the messages sent; `error` how far any worker's result lies from the mean.
    """

    job: Job
    messages: int
    message_sizes: tuple[int, int]
    volume: int
    busiest_volume: int
    own_count: int
    error: float


def count(jobs: Sequence[Job], timeout: float = 60.0) -> tuple[Counted, ...]:
    """Run each job on processes of its own, over gloo on this machine's loopback, and count.

    Takes about two seconds, most of them the import of torch. Raises ExchangeError where processes cannot be started or fail.
    """
    code = "from torchstone.parts.exchange.processes import serve; serve()"
    home = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}
    asked = json.dumps({"jobs": [asdict(job) for job in jobs], "timeout": timeout})
    try:
        done = subprocess.run(  # noqa: S603 - our own code in our own interpreter
            [sys.executable, "-c", code], input=asked, capture_output=True, text=True, env=environment, timeout=timeout, check=False
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        message = f"processes for an exchange could not be started: {told(error)}"
        raise ExchangeError(message) from error
    if "fault" in found:
        raise ExchangeError(found["fault"])
    return tuple(_counted(job, found["ranks"], place) for place, job in enumerate(jobs))


def _counted(job: Job, ranks: list[dict[str, list[dict[str, list[float]]]]], place: int) -> Counted:
    """One job from what each of its processes wrote."""
    each = [ranks[rank]["jobs"][place] for rank in range(job.nodes)]
    sizes = [int(size) for one in each for size in one["sizes"]]
    busiest = max(int(sum(one["sizes"])) for one in each)
    own = sum(int(one["own"][0]) for one in each)
    least, most = min(sizes, default=0), max(sizes, default=0)
    return Counted(job, len(sizes), (least, most), sum(sizes), busiest, own, max(one["error"][0] for one in each))


def serve() -> None:
    """In the fresh interpreter: read jobs from standard input, fork the workers, write what they found to standard output."""
    asked = json.loads(sys.stdin.read())
    jobs = [Job(**job) for job in asked["jobs"]]
    world = max((job.nodes for job in jobs), default=1)
    loopback = next((name for _, name in socket.if_nameindex() if name in {"lo", "lo0"}), None)
    if loopback:
        os.environ["GLOO_SOCKET_IFNAME"] = loopback
    context = get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        workers = [context.Process(target=_work, args=(rank, world, folder, jobs, asked["timeout"])) for rank in range(world)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        written = [Path(folder, f"{rank}.json") for rank in range(world)]
        ranks = [json.loads(path.read_text()) if path.exists() else {"fault": "a process died"} for path in written]
    fault = next((one["fault"] for one in ranks if "fault" in one), None)
    sys.stdout.write(json.dumps({"ranks": ranks} if fault is None else {"fault": fault}))


def _work(rank: int, world: int, folder: str, jobs: Sequence[Job], timeout: float) -> None:
    """One worker: all jobs that it takes part in."""
    try:
        limit = timedelta(seconds=timeout)
        store = dist.FileStore(str(Path(folder, "store")), world)  # type: ignore[attr-defined] # no stub has it
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=limit)
        groups = {nodes: dist.new_group(list(range(nodes)), timeout=limit) for nodes in sorted({job.nodes for job in jobs})}
        taken = [_run(job, rank, groups[job.nodes], timeout) if rank < job.nodes else None for job in jobs]
        found: dict[str, object] = {"jobs": taken}
        dist.destroy_process_group()
    except Exception as error:  # noqa: BLE001 - told to whoever asked
        found = {"fault": told(error)}
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


def _run(job: Job, rank: int, group: dist.ProcessGroup, timeout: float) -> dict[str, list[float]]:
    rows = torch.arange(job.nodes * job.parameters, dtype=torch.float32).view(job.nodes, job.parameters)
    mine = rows[rank].clone()
    with profile(record_shapes=True) as seen:
        traffic = exchange(mine, job.scheme, "mean", group=group, timeout=timeout)
    sent = [event for event in seen.function_events or () if event.name == "gloo:send"]
    sizes = [float(_numbers(event.input_shapes)) for event in sent]
    mean = rows[job.nodes - job.workers :].mean(0)
    return {"sizes": sizes, "own": [float(traffic.messages_sent)], "error": [float((mine - mean).abs().max())]}


def _numbers(shapes: object) -> int:
    """How many numbers the tensors of these shapes have: a send has one, flat."""
    if isinstance(shapes, int):
        return shapes
    return sum(_numbers(one) for one in shapes) if isinstance(shapes, list | tuple) else 0

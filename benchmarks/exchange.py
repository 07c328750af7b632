"""Our schemes beside gloo's own all_reduce, between real processes on this machine's loopback: wall time of the slowest worker.

Rounds run all of them in an order drawn anew; a round begins when all workers have come. The A/A column is gloo's all_reduce a
second time: how far two equal runs lie apart. `agreed`: after the workers have made sure, through the group's store, that they mean
the same; the others go without, as a DDP hook does. A ratio above 1 is faster. Busbw = 2(n-1)/n x bytes / time, as NCCL's.

    python benchmarks/exchange.py               # n = 4: 1, 16, 100 MB
    python benchmarks/exchange.py --workers 2   # another number of workers
    python benchmarks/exchange.py --quick       # fewer rounds, 16 MB alone
"""

import argparse
import random
import socket
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from timing import ratio
from torch.multiprocessing.spawn import spawn

from torchstone.parts import exchange

_WARMING = 2
SCHEMES = ("ring", "halving_doubling", "tree", "parameter_server", "all_to_all")
AGREED = "ring, agreed"


def _acts(buffer: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Everything compared, each a sum in place."""

    def ours(scheme: str, *, agree: bool = False) -> Callable[[], object]:
        return lambda: exchange.exchange(buffer, scheme, "sum", agree=agree)

    def gloo() -> object:
        return dist.all_reduce(buffer)

    return {"gloo": gloo, "gloo again": gloo, AGREED: ours("ring", agree=True), **{scheme: ours(scheme) for scheme in SCHEMES}}


def _seconds(acts: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Wall seconds of the slowest worker, the same on all."""
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    names, shuffle = list(acts), random.Random(0).shuffle  # noqa: S311 - an order of runs is no secret
    for number in range(rounds + _WARMING):
        shuffle(names)
        for name in names:
            dist.barrier()
            began = time.perf_counter()
            acts[name]()
            took = torch.tensor(time.perf_counter() - began, dtype=torch.float64)
            dist.all_reduce(took, dist.ReduceOp.MAX)
            if number >= _WARMING:
                seconds[name].append(took.item())
    return seconds


def work(rank: int, workers: int, port: int, sizes: list[int], rounds: int) -> None:
    """One worker; the first prints the table."""
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, workers, is_master=rank == 0)  # type: ignore[attr-defined] # no stub has it
    dist.init_process_group("gloo", store=store, rank=rank, world_size=workers, timeout=timedelta(seconds=120))
    for size in sizes:
        buffer = torch.zeros(size * 10**6 // 4)  # zeros: sums stay finite however often they are made
        seconds = _seconds(_acts(buffer), rounds)
        if rank == 0:
            middle = statistics.median(seconds["gloo"])
            bus = 2 * (workers - 1) / workers * size * 1e6
            cells = [f"{1e3 * middle:.1f}", f"{bus / middle / 1e9:.2f}", f"{bus / statistics.median(seconds['ring']) / 1e9:.2f}"]
            cells += [ratio(seconds["gloo"], seconds[name]) for name in seconds if name != "gloo"]
            print(f"| {workers}, {size} MB | {' | '.join(cells)} |", flush=True)
    dist.destroy_process_group()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, 16 MB alone")
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args()
    sizes, rounds = ([16], 5) if given.quick else ([1, 16, 100], 15)
    print(f"torch {torch.__version__}, gloo, float32 sums, wall time of the slowest; ratio: gloo's / ours, median (quartiles)\n")
    print(f"| workers, size | gloo ms | gloo busbw GB/s | ring busbw GB/s | gloo again | {AGREED} | {' | '.join(SCHEMES)} |")
    print("|---|" + "---|" * (5 + len(SCHEMES)), flush=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    spawn(work, (given.workers, port, sizes, rounds), nprocs=given.workers)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()

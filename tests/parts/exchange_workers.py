"""Workers of the exchange tests: `python exchange_workers.py CASE RANKS` forks them, and prints what each found as JSON.

A fresh process imports torch once; a worker that is to die or hang is a process of its own.
"""

import json
import os
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from torchstone.laws.exchange import Scheme
from torchstone.parts import exchange as x

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.int64)


def error_of(act):
    """What an act raised, and after how long."""
    began = time.monotonic()
    try:
        act()
    except Exception as error:
        return [type(error).__name__, str(error), time.monotonic() - began]
    return ["nothing", "", time.monotonic() - began]


def rows(ranks, numbers, dtype):
    generator = torch.Generator().manual_seed(numbers)
    return (8 * torch.randn(ranks, numbers, generator=generator)).to(dtype)


def same(rank, ranks):
    """Every scheme, size and type gives bit for bit what it gives within one process, and sends as much."""
    wrong = []
    for scheme in Scheme:
        for numbers in (0, 1, ranks - 1, 7, 1000):
            for dtype in TYPES if numbers == 7 else (torch.float32,):
                reduction = "sum" if dtype is torch.int64 else "mean"
                start = rows(ranks, numbers, dtype)
                mine = start[rank].clone()
                traffic = x.exchange(mine, scheme, reduction, timeout=20)
                expected = x.in_process(scheme, start, reduction)
                if not torch.equal(mine, expected.rows[rank]) or traffic != expected.traffic[rank]:
                    wrong.append([scheme, numbers, str(dtype)])
    return wrong


def shapes(rank, ranks):
    """Tensors that do not lie in memory as they are read, leaves that need gradients, and scalars."""
    strided = torch.full((6, 4), float(rank)).t()[::2]
    x.ring_all_reduce(strided, "sum", timeout=20)
    leaf = torch.full((3,), float(rank), requires_grad=True)
    x.tree_all_reduce(leaf, timeout=20)
    scalar = torch.tensor(float(rank))
    x.halving_doubling_all_reduce(scalar, "sum", timeout=20)
    added = sum(range(ranks))
    return [bool((strided == added).all()), (leaf == added / ranks).all().item() and leaf.requires_grad, scalar.item() == added]


def halves(rank, ranks):
    """Reduce-scatter then all-gather is an all-reduce; each rank's part is its own."""
    start = rows(ranks, 11, torch.float64)
    mine = start[rank].clone()
    x.reduce_scatter(mine, timeout=20)
    own = x.own_part(mine)
    reduced = torch.allclose(mine[own], start.mean(0)[own], rtol=1e-12)
    x.all_gather(mine, timeout=20)
    server = torch.full((5,), float(rank))
    x.parameter_server(server, separate=True, timeout=20)
    return [reduced, torch.allclose(mine, start.mean(0), rtol=1e-12), (server == sum(range(ranks)) / (ranks - 1)).all().item()]


def groups(rank, ranks):
    """A group of some ranks, whose own ranks are others; whoever is not in it is told so."""
    members = list(range(1, ranks))
    group = dist.new_group(members)
    mine = torch.full((10,), float(rank))
    told = error_of(lambda: x.all_to_all(mine, "sum", group=group, timeout=20))
    return [told[:2], mine.unique().tolist()]


def refused(rank, ranks):
    """What differs between ranks, or is wrong on one, is told to all at once; the group works afterwards."""
    first = rank == 1
    tried = [
        error_of(lambda: x.ring_all_reduce(torch.ones(5 + first), timeout=20)),
        error_of(lambda: x.ring_all_reduce(torch.ones(5, dtype=torch.float64 if first else torch.float32), timeout=20)),
        error_of(lambda: x.exchange(torch.ones(5), "tree" if first else "ring", timeout=20)),
        error_of(lambda: x.ring_all_reduce(torch.ones(5).int() if first else torch.ones(5), timeout=20)),
        error_of(lambda: x.ring_all_reduce(torch.ones(5), "median", timeout=20)),
        error_of(lambda: x.ring_all_reduce(torch.ones(5).bool(), timeout=20)),
        error_of(lambda: x.ring_all_reduce([1.0], timeout=20)),
        error_of(lambda: x.ring_all_reduce(torch.ones(5), timeout=0)),
        error_of(lambda: x.exchange(torch.ones(5), "rign", timeout=20)),
        error_of(lambda: x.exchange(torch.ones(5).to_sparse(), timeout=20)),
        error_of(lambda: x.exchange(torch.ones(1).expand(5) if first else torch.ones(5), timeout=20)),
    ]
    kept = torch.full((4,), float(rank))
    error_of(lambda: x.ring_all_reduce(kept, "sum" if first else "mean", timeout=20))
    untouched = (kept == rank).all().item()
    x.ring_all_reduce(kept, "sum", timeout=20)
    return [[one[:2] for one in tried], untouched, (kept == sum(range(ranks))).all().item()]


def hooks(rank, ranks):
    """Gradients by our hooks beside DDP's own, over several buckets and steps; and how many buckets were counted."""
    found = []

    def model():
        torch.manual_seed(0)
        layers = torch.nn.Sequential(torch.nn.Linear(50, 300), torch.nn.ReLU(), torch.nn.Linear(300, 10))
        return DistributedDataParallel(layers, bucket_cap_mb=0.01)

    for scheme in ("ring", "tree", "all_to_all", "halving_doubling", "parameter_server"):
        theirs, ours, traffic = model(), model(), []
        ours.register_comm_hook(None, x.ddp_hook(scheme, timeout=20, traffic=traffic))
        worst = 0.0
        for step in range(3):
            torch.manual_seed(100 * step + rank)
            inputs = torch.randn(8, 50)
            for one in (theirs, ours):
                one.zero_grad()
                one(inputs).square().sum().backward()
            pairs = zip(theirs.parameters(), ours.parameters(), strict=True)
            worst = max(worst, *((a.grad - b.grad).norm().item() / a.grad.norm().item() for a, b in pairs))
        found.append([scheme, worst, len(traffic), sum(traffic, x.Traffic()).messages_sent])
    return found


def all_good(rank, ranks):
    return {act.__name__: act(rank, ranks) for act in (same, shapes, halves, groups, refused, hooks)}


def never_comes(rank, ranks):
    """One rank comes after the others have given up."""
    if rank == 1:
        time.sleep(2.5)
        return None
    return error_of(lambda: x.ring_all_reduce(torch.ones(5), timeout=1))


def hangs(rank, ranks):
    """One rank does not take part, in an exchange that nobody has agreed on before."""
    if rank == 1:
        time.sleep(4)
        return None
    return error_of(lambda: x.exchange(torch.ones(300_000), timeout=1, agree=False))


def dies(rank, ranks):
    """One rank's process ends while the others wait."""
    if rank == ranks - 1:
        os._exit(7)
    return error_of(lambda: x.exchange(torch.ones(300_000), timeout=2, agree=False))


def dies_in_backward(rank, ranks):
    """One rank's process ends before its backward pass: the others' raise."""
    layer = DistributedDataParallel(torch.nn.Linear(300, 300))
    layer.register_comm_hook(None, x.ddp_hook("ring", timeout=2))
    loss = layer(torch.ones(2, 300)).sum()
    if rank == ranks - 1:
        os._exit(7)
    return error_of(loss.backward)


def keeper_dies(rank, ranks):
    """The rank that keeps the store dies."""
    if rank == 0:
        os._exit(7)
    return error_of(lambda: x.ring_all_reduce(torch.ones(5), timeout=1))


def work(case, rank, ranks, folder, port):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, ranks, is_master=rank == 0, wait_for_workers=False)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    found = globals()[case](rank, ranks)
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    if case == "all_good":
        dist.barrier()
        dist.destroy_process_group()
    elif rank == 0:
        time.sleep(2)  # it keeps the store, and the others may still need that
    os._exit(0)  # what is broken on purpose has nothing to tidy up


def main():
    case, ranks = sys.argv[1], int(sys.argv[2])
    if case in {"all_good", "dies_in_backward"}:
        import torch._dynamo  # noqa: F401 - which DDP imports: once here, not in every worker
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    with tempfile.TemporaryDirectory() as folder:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        workers = [get_context("fork").Process(target=work, args=(case, rank, ranks, folder, port)) for rank in range(ranks)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(40)
        hung = [worker for worker in workers if worker.is_alive()]
        for worker in hung:
            worker.kill()
        written = [Path(folder, f"{rank}.json") for rank in range(ranks)]
        print(json.dumps({"hung": len(hung), "ranks": [json.loads(one.read_text()) if one.exists() else None for one in written]}))


if __name__ == "__main__":
    main()

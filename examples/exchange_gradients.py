"""Four processes average gradients by every scheme: messages and bytes counted against the laws, and a model trained with a ring.

    torchrun --nproc-per-node 4 examples/exchange_gradients.py

On the CPU by gloo; with a GPU for each process by NCCL. Ends with exit code 1 where a count differs from its law.
"""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from torchstone.laws.exchange import Scheme, counts
from torchstone.parts import exchange

PARAMETERS = 100_003  # no multiple of the number of workers
STEPS = 30


def total(number: int, device: torch.device) -> int:
    """The sum of a number over all workers."""
    found = torch.tensor(number, device=device)
    dist.all_reduce(found)
    return int(found)


def count(device: torch.device) -> bool:
    """Exchange by every all-reduce scheme, and print what was sent beside what the laws say."""
    workers, right = dist.get_world_size(), True
    if dist.get_rank() == 0:
        print(f"{workers} workers, {PARAMETERS:,} float32 each")
        print(f"{'scheme':36}{'messages':>9}{'law':>5}{'bytes':>12}{'law':>12}  error")
    for scheme in Scheme:
        if not scheme.whole or (scheme is Scheme.SEPARATE_SERVER and workers == 1):
            continue
        server = scheme is Scheme.SEPARATE_SERVER
        mine = torch.full((PARAMETERS,), float(dist.get_rank()), device=device)
        traffic = exchange.exchange(mine, scheme, timeout=60)
        sent = total(traffic.messages_sent, device), total(traffic.bytes_sent, device)
        law = counts.messages(scheme, workers - server, PARAMETERS), 4 * counts.volume(scheme, workers - server, PARAMETERS)
        mean = sum(range(server, workers)) / (workers - server)
        error = (mine - mean).abs().max().item()
        right &= sent == law and error < 1e-6 * workers
        if dist.get_rank() == 0:
            print(f"{scheme.words:36}{sent[0]:9}{law[0]:5}{sent[1]:12,}{law[1]:12,}  {error:.1e}")
    return right


def train(device: torch.device) -> None:
    """Two copies of a model, one with DDP's own all-reduce and one with our ring: the same losses."""
    losses = {}
    traffic: list[exchange.Traffic] = []
    for name in ("DDP's own", "our ring"):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 1)).to(device)
        model = DistributedDataParallel(layers)
        if name == "our ring":
            model.register_comm_hook(None, exchange.ddp_hook("ring", timeout=60, traffic=traffic))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        torch.manual_seed(1 + dist.get_rank())  # each worker has data of its own
        for _ in range(STEPS):
            x = torch.randn(64, 16, device=device)
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[name] = loss.item()
    if dist.get_rank() == 0:
        sent = sum(traffic, exchange.Traffic())
        print(f"loss after {STEPS} steps: " + ", ".join(f"{name} {loss:.6f}" for name, loss in losses.items()))
        print(f"the ring sent {sent.messages_sent} messages from rank 0, {sent.bytes_sent:,} bytes, in {len(traffic)} buckets")


def main() -> int:
    """Count, then train; every rank ends with the same exit code."""
    cards = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1")) and torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cards else torch.device("cpu")
    if cards:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    dist.init_process_group("nccl" if cards else "gloo")
    right = count(device)
    train(device)
    dist.destroy_process_group()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

"""What a step of our optimizers costs beside torch's own fused ones, on 10 million parameters: one thread, CPU time, interleaved.

Each cell is our time over torch's fused time, median and quartiles; the A/A column is torch's optimizer a second time, the last two
are torch's other kernels. The bar: at most 1.1.

    python benchmarks/optimizers.py            # the tables
    python benchmarks/optimizers.py --quick    # fewer rounds
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from timing import Act, interleaved, ratio
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import Adam as TorchAdam
from torch.optim import AdamW as TorchAdamW

from torchstone.parts import Adam, Momentum, RunningAverage, to_running_average

LAYOUTS = ((10, 1_000_000), (1000, 10_000))
Build = Callable[..., Optimizer]
NUMBERS: dict[str, Any] = {"lr": 1e-4, "weight_decay": 0.01}
ROWS: dict[str, tuple[Build, Build]] = {  # name: torch's (takes fused and foreach), ours as anybody would write it
    'Adam(decay="decoupled")': (
        lambda p, **how: TorchAdamW(p, **NUMBERS, **how), lambda p: Adam(p, **NUMBERS, decay="decoupled"),
    ),
    'Adam(decay="l2")': (lambda p, **how: TorchAdam(p, **NUMBERS, **how), lambda p: Adam(p, **NUMBERS, decay="l2")),
    "Momentum": (lambda p, **how: SGD(p, **NUMBERS, momentum=0.9, **how), lambda p: Momentum(p, **NUMBERS, momentum=0.9)),
    "RunningAverage": (
        lambda p, **how: SGD(p, **NUMBERS, momentum=0.9, dampening=0.9, **how),
        lambda p: RunningAverage(p, **to_running_average(1e-4, 0.9), weight_decay=0.01, bias_correction=True),
    ),
}  # fmt: skip


def step(build: Build, count: int, size: int) -> Act:
    """A step of a new optimizer on parameters of its own, gradients in place."""
    parameters = [nn.Parameter(torch.randn(size)) for _ in range(count)]
    for parameter in parameters:
        parameter.grad = torch.randn(size)
    return build(parameters).step


def acts(theirs: Build, ours: Build, count: int, size: int) -> Mapping[str, Act]:
    """What one row compares."""
    return {
        "fused": step(lambda p: theirs(p, fused=True), count, size),
        "again": step(lambda p: theirs(p, fused=True), count, size),
        "ours": step(ours, count, size),
        "loop": step(lambda p: theirs(p, foreach=False), count, size),
        "foreach": step(lambda p: theirs(p, foreach=True), count, size),
    }


def main() -> None:
    """Print a table for each layout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 7 if parser.parse_args().quick else 31
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, CPU time; time over torch's fused time, median (quartiles)")
    for count, size in LAYOUTS:
        print(f"\n| {count} x {size:,} parameters | torch fused ms | fused again | ours | torch loop | torch foreach |")
        print("|---|---|---|---|---|---|")
        for name, (theirs, ours) in ROWS.items():
            seconds = interleaved(acts(theirs, ours, count, size), rounds)
            first = seconds.pop("fused")
            cells = " | ".join(ratio(times, first) for times in seconds.values())
            print(f"| {name} | {1e3 * statistics.median(first):.1f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

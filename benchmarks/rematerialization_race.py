"""D6's break-even as a race: a backward pass that recomputes from every fifth activation, against one that reads all from disk.

Both need each layer's input alone, both run the same backward formulas; between the two passes what is on disk is brought there and
dropped from the page cache. Wall time of the backward passes, medians. Beside it the winner that the law predicts from one layer's
forward, one copy in memory and one sequential read of an activation, each measured alone. The law lets nothing overlap; the
system reads ahead while `store_on_disk` computes.

    TORCHSTONE_DISK=/a/folder/on/the/disk python benchmarks/rematerialization_race.py [--quick]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rematerialization import _dropped, _wall
from torch import Tensor

from torchstone.laws.rematerialization.recomputation import break_even_load
from torchstone.parts.rematerialization import Counted, backward_from_kept, store_on_disk

_LAYERS, _SPACING = 10, 5


class Layer:
    """x to V U x², U of so many rows (none: x² alone): its backward pass needs x alone, and the rows set what its forward costs."""

    def __init__(self, width: int, rank: int) -> None:
        self.weights = (torch.randn(width, rank) / width**0.5, torch.randn(rank, width) / rank**0.5) if rank else ()

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) to (n, d)."""
        y = x.square()
        for weight in self.weights:
            y = y @ weight
        return y

    def backward(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The gradient of x."""
        for weight in self.weights[::-1]:
            gradient = gradient @ weight.T
        return 2 * x * gradient


class _Run(torch.autograd.Function):
    """The same layer for autograd."""

    @staticmethod
    def forward(context: Any, x: Tensor, layer: Layer) -> Tensor:
        context.save_for_backward(x)
        context.layer = layer
        return layer.forward(x)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = context.saved_tensors
        return context.layer.backward(x, *gradients), None


def recomputed(layers: list[Layer], x: Tensor, reuse: str) -> float:
    """Seconds of the backward pass that runs layers again."""
    calls, began = 0, 0.0

    def forward(layer: Layer) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            nonlocal calls, began
            y = layer.forward(x)
            calls += 1
            began = time.perf_counter() if calls == len(layers) else began
            return y

        return run

    counted = [Counted(forward(layer), layer.backward) for layer in layers]
    backward_from_kept(counted, x, torch.ones_like(x), _SPACING, reuse)
    return time.perf_counter() - began


def from_disk(layers: list[Layer], x: Tensor, folder: str) -> float:
    """Seconds of the backward pass that reads every layer's input."""
    with store_on_disk(folder, smallest=1) as used:
        y = x.clone().requires_grad_()
        for layer in layers:
            y = _Run.apply(y, layer)  # type: ignore[no-untyped-call]
        gradient = torch.ones_like(y)
        _dropped(used.handle)
        return _wall(lambda: torch.autograd.backward(y, gradient))


def read_alone(size: int, folder: str) -> float:
    """Seconds that one activation takes from the disk, of all read in turn."""
    with (Path(folder) / "raw").open("w+b", 0) as file:
        piece = memoryview(bytearray(size))
        for _ in range(_LAYERS):
            file.write(piece)
        _dropped(file.fileno())
        file.seek(0)
        return _wall(lambda: [file.readinto(piece) for _ in range(_LAYERS)]) / _LAYERS


def race(rows: int, width: int, rank: int, rounds: int, folder: str) -> None:
    """One row for each way to reuse what is recomputed."""
    layers = [Layer(width, rank) for _ in range(_LAYERS)]
    x = torch.rand(rows, width)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds.setdefault("forward", []).append(_wall(lambda: layers[0].forward(x)))
        seconds.setdefault("copy", []).append(_wall(x.clone))
        seconds.setdefault("read", []).append(read_alone(x.nbytes, folder))
        seconds.setdefault("disk", []).append(from_disk(layers, x, folder))
        for reuse in ("nothing", "segment", "graph"):
            seconds.setdefault(reuse, []).append(recomputed(layers, x, reuse))
    middle = {name: statistics.median(found) for name, found in seconds.items()}
    for reuse in ("nothing", "segment", "graph"):
        wanted = break_even_load(_LAYERS, _SPACING, middle["forward"], middle["copy"], reuse)
        predicted = "disk" if middle["read"] < wanted else "recomputation"
        shares = [one / other for one, other in zip(seconds[reuse], seconds["disk"], strict=True)]
        low, half, high = statistics.quantiles(shares, n=4)
        won = "disk" if half > 1 else "recomputation"
        clear = "" if won == predicted else " (close)" if low <= 1 <= high else " (not as predicted)"
        print(
            f"| {rank} | {1e3 * middle['forward']:.2f} | {1e3 * middle['copy']:.2f} | {1e3 * middle['read']:.2f} | {reuse} | "
            f"{1e3 * wanted:.2f} | {predicted} | {1e3 * middle[reuse]:.1f} | {1e3 * middle['disk']:.1f} | "
            f"{half:.2f} ({low:.2f}-{high:.2f}) | {won}{clear} |",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller activations")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows, rounds = (2048, 5) if quick else (8192, 11)
    size = rows * 256 * 4 / 2**20
    print(f"torch {torch.__version__}, one thread; {_LAYERS} layers, every {_SPACING}th kept, activations of {size:g} MB\n")
    print("| rank | forward ms | copy ms | read ms | reuse | break-even ms | predicted | recomputing ms | disk ms | over | won |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TORCHSTONE_DISK")) as folder:
        for rank in (0, 8, 32, 128, 512):
            race(rows, 256, rank, rounds, folder)


if __name__ == "__main__":
    main()

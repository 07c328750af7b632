"""Rematerialisation: planner times, predicted against measured peaks, and time and memory beside torch's checkpoint_sequential.

One thread, CPU time, interleaved. Peaks are those of torch's profiler (every allocation of the CPU's allocator), of one forward and
backward pass, gradients of parameters left out: a measurement that the planner does not use. The A/A column runs one thing twice.

    python benchmarks/rematerialization.py            # the tables
    python benchmarks/rematerialization.py --quick    # fewer rounds, smaller models
"""

import argparse
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from timing import Act, interleaved, ratio
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint_sequential

from torchstone.laws.rematerialization import level, nested
from torchstone.laws.rematerialization.chain import Layer, extra_forwards, least_extra
from torchstone.laws.rematerialization.recomputation import break_even_load
from torchstone.parts.rematerialization import Schedule, plan, store_on_disk

Call = Callable[[Tensor], Tensor]


class Block(nn.Module):
    """A pre-norm MLP block with a residual connection: saves ten times its border."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) to (n, d)."""
        y: Tensor = x + self.narrow(nn.functional.gelu(self.wide(self.norm(x))))
        return y


def loss(output: Tensor) -> Tensor:
    """A mean square, whose gradient is dense."""
    return output.square().mean()


def step(call: Call, x: Tensor, model: nn.Module) -> Act:
    """Forward and backward."""

    def act() -> None:
        model.zero_grad()
        torch.autograd.backward(loss(call(x)))

    return act


def peak(call: Call, x: Tensor, model: nn.Module) -> int:
    """Bytes at once by the allocator's own events, parameters' gradients left out."""
    model.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        output = call(x)
        value = loss(output)
        torch.autograd.backward(value)
    changes: list[tuple[int, int, int]] = []
    nodes: list[Any] = list(profiled.profiler.kineto_results.experimental_event_tree())
    while nodes:
        node = nodes.pop()
        nodes += node.children
        tag, fields = node.typed
        if tag.name == "Allocation":
            changes.append((node.start_time_ns, fields.ptr, fields.alloc_size))
    changes.sort()
    gradients = {parameter.grad.data_ptr() for parameter in model.parameters() if parameter.grad is not None}
    last = {ptr: place for place, (_, ptr, size) in enumerate(changes) if ptr in gradients and size > 0}  # what is there at the end
    now = most = 0
    for place, (_, ptr, size) in enumerate(changes):
        now += 0 if last.get(ptr) == place else size
        most = max(most, now)
    return most


def unequal(count: int) -> list[Layer]:
    """A chain whose every layer differs."""
    draw = random.Random(0)  # noqa: S311 - sizes of a synthetic chain
    layers = []
    for number in range(count):
        boundary = draw.randint(10_000, 100_000)
        saved = boundary + draw.randint(50_000, 900_000)
        layers.append(Layer(str(number), boundary, boundary, saved, saved + boundary, 2 * boundary, saved + 2 * boundary))
    return layers


def planners() -> None:
    """How long planning takes."""
    print("| planner | budget | layers run again (any schedule: at least) | seconds |\n|---|---|---|---|")
    same = [Layer("block", 500, 500, 5000, 5500, 2500, 6000)] * 1000
    chain = unequal(300)
    for name, layers, solve, shares in (
        ("one level, 1,000 equal", same, level.optimum, (1.0, 2.0, 10.0)),
        ("one level, 300 unequal", chain, level.optimum, (1.0, 1.5, 3.0, 10.0)),
        ("nested, 1,000 equal", same, nested.optimum, (0.5,)),
        ("nested, 300 unequal (not proven least)", chain, nested.optimum, (0.9, 0.7)),
    ):
        low = level.least_peak(layers)[0]
        for share in shares:
            budget = int(low * share)
            best = math.inf
            for _ in range(3):
                began = time.process_time()
                parts = solve(layers, budget)
                best = min(best, time.process_time() - began)
            again = "none found" if parts is None else f"{extra_forwards(parts)} ({least_extra(layers, budget)})"
            print(f"| {name} | {share:g} x one level's least | {again} | {best:.5f} |", flush=True)


def peaks(count: int, width: int, rows: int) -> None:
    """Predicted and measured peaks, and the same of checkpoint_sequential."""
    print(f"\n| {count} blocks, d {width}, {rows} rows | predicted MB | measured MB | measured/predicted | run again |")
    print("|---|---|---|---|---|")
    model, x = nn.Sequential(*(Block(width) for _ in range(count))), torch.randn(rows, width)
    full = plan(model, x, "1TB", loss=loss, strategy="level")
    low = level.least_peak(full.layers)[0] + full.held
    root = round(math.sqrt(count))
    sequential = {k: peak(in_segments(model, k), x, model) for k in (root, 16)}
    whole = full.stored_peak
    wanted = {
        "everything stored": (whole, "best"), "half": (whole // 2, "best"), "a fifth": (whole // 5, "best"),
        "one level's least": (low, "best"), "nested, 0.9 of it": (int(0.9 * low), "best"),
        "uniform, a fifth": (whole // 5, "uniform"),
    }  # fmt: skip
    for name, (budget, strategy) in wanted.items():
        made = plan(model, x, budget, strategy=strategy, loss=loss)
        assert isinstance(made, Schedule)  # the model is a chain
        made.apply(model)
        found = peak(model, x, model)
        made.remove(model)
        cells = f"{made.predicted_peak / 2**20:.2f} | {found / 2**20:.2f} | {found / made.predicted_peak:.4f}"
        print(f"| {name} | {cells} | {made.extra_forwards} |", flush=True)
    for k, found in sequential.items():
        print(f"| checkpoint_sequential, {k} segments | | {found / 2**20:.2f} | {found / low:.2f} x one level's least | |")


def in_segments(model: nn.Sequential, segments: int) -> Call:
    """Torch's own division."""

    def call(x: Tensor) -> Tensor:
        output: Tensor = checkpoint_sequential(model, segments, x, use_reentrant=False)  # type: ignore[no-untyped-call]
        return output

    return call


def steps(count: int, width: int, rows: int, rounds: int) -> None:
    """Times at equal memory: what checkpoint_sequential takes with k segments is our budget."""
    print("\n| checkpoint_sequential | its MB | ours MB | its forwards again | ours | A/A | its time/plain | our time/its |")
    print("|---|---|---|---|---|---|---|---|")
    model, x = nn.Sequential(*(Block(width) for _ in range(count))), torch.randn(rows, width)
    twin = nn.Sequential(*(Block(width) for _ in range(count)))
    twin.load_state_dict(model.state_dict())
    for k in (2, round(math.sqrt(count)), 11, 16):
        theirs = in_segments(model, k)
        budget = peak(theirs, x, model)
        made = plan(twin, x, budget, loss=loss)
        assert isinstance(made, Schedule)  # the model is a chain
        made.apply(twin)
        ours = peak(twin, x, twin)
        plain = step(model, x, model)
        acts = {"plain": plain, "again": plain, "theirs": step(theirs, x, model), "ours": step(twin, x, twin)}
        seconds = interleaved(acts, rounds)
        made.remove(twin)
        pairs = (("again", "plain"), ("theirs", "plain"), ("ours", "theirs"))
        cells = " | ".join(ratio(seconds[one], seconds[other]) for one, other in pairs)
        memory = f"{budget / 2**20:.1f} | {ours / 2**20:.1f} | {count // k * (k - 1)} | {made.extra_forwards}"
        print(f"| {k} segments | {memory} | {cells} |", flush=True)


def disk(count: int, width: int, rows: int, rounds: int) -> None:
    """Activations on disk beside the same bytes through one file, and recomputation; wall time.

    First through to the disk (in both, synchronised and dropped from the page cache before reading), then in the page cache.
    """
    model, x = nn.Sequential(*(Block(width) for _ in range(count))), torch.randn(rows, width)
    for through in (True, False):
        with (
            tempfile.TemporaryDirectory(dir=os.environ.get("TORCHSTONE_DISK")) as folder,
            (Path(folder) / "raw").open("w+b", 0) as file,
        ):
            moving, raw = [], []
            with store_on_disk(folder, model) as used:
                for _ in range(rounds + 1):  # the first one finds both files empty
                    before = used.seconds, used.written, used.read
                    synced = _stored_step(model, x, used.handle, through=through)
                    moving.append(used.seconds - before[0] + synced)
                    sizes = used.written - before[1], used.read - before[2]
                    raw.append(_wall(partial(_sequential, file, *sizes, through=through)))
        moved, alone = sum(sizes) / 2**20, statistics.median(raw[1:])
        shares = [one / other for one, other in zip(moving[1:], raw[1:], strict=True)]
        print(f"\nactivations {'on disk' if through else 'in the page cache'}: {moved:.0f} MB written and read a step,", end=" ")
        print(
            f"{statistics.median(moving[1:]):.3f} s; one file {alone:.3f} s, {moved / alone:.0f} MB/s; ours/that {_spread(shares)}"
        )
        if through:
            _break_even(model, x, statistics.median(moving[1:]) / count)


def _stored_step(model: nn.Module, x: Tensor, handle: int, *, through: bool) -> float:
    """A step, and the seconds that bringing its activations to the disk took between its two passes."""
    model.zero_grad()
    value = loss(model(x))
    synced = _wall(partial(_dropped, handle)) if through else 0.0
    torch.autograd.backward(value)
    return synced


def _dropped(handle: int) -> None:
    """All of a file on the disk, none of it in memory."""
    os.fdatasync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def _spread(shares: list[float]) -> str:
    low, middle, high = statistics.quantiles(shares, n=4)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _break_even(model: nn.Sequential, x: Tensor, load: float) -> None:
    """Which disk load D6's law asks for, with this machine's forward, and which one this disk has."""
    with torch.no_grad():
        forward = min(_wall(lambda: model[0](x)) for _ in range(5))
        copy = min(_wall(x.clone) for _ in range(5))
    print(
        f"  a block's forward {1e3 * forward:.2f} ms, a border from memory {1e3 * copy:.3f} ms, a block by disk {1e3 * load:.2f} ms"
    )
    for reuse in ("nothing", "segment", "graph"):
        wanted = break_even_load(10, 5, forward, copy, reuse)
        faster = "disk" if load < wanted else "recomputation"
        print(f"  break-even, 10 layers, every 5th kept, reuse {reuse}: {1e3 * wanted:.2f} ms a layer: {faster} is faster here")


def _wall(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _sequential(file: FileIO, written: int, read: int, *, through: bool) -> None:
    """So many bytes to a file and so many back, in pieces of 8 MB."""
    piece = memoryview(bytearray(1 << 23))
    file.seek(0)
    for start in range(0, written, len(piece)):
        file.write(piece[: min(len(piece), written - start)])
    if through:
        _dropped(file.fileno())
    file.seek(0)
    while read > 0:
        came = file.readinto(piece[: min(len(piece), read)])
        if not came:
            file.seek(0)
        read -= came or 0


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller models")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds, rows = (5, 128) if quick else (9, 512)
    print(f"torch {torch.__version__}, one thread, CPU time\n")
    planners()
    peaks(32, 256, rows)
    steps(32, 256, rows, rounds)
    disk(16, 512 if not quick else 256, 2048 if not quick else 512, rounds)


if __name__ == "__main__":
    main()

"""What local_attention costs beside dense attention and the peer local-attention: ratios in one process, one thread, CPU time.

Float32, one sequence of 8 heads of 64, |i - j| <= k. "again" is dense attention a second time (the A/A control: how far two equal
runs lie apart). A ratio above 1 is faster than dense attention; the law is what the count of pairs alone would give. Memory is
the rise of the resident high-water mark over the state before one forward and backward, in a process of its own.

The peer is not a dependency: pip install --no-deps -c constraints.txt --target peers local-attention einops hyper-connections
and put that folder on PYTHONPATH; without it its column says so. It needs k to divide the length, and an exact window.

    python benchmarks/attention_local.py            # the tables
    python benchmarks/attention_local.py --quick    # fewer rounds
"""

import argparse
import gc
import importlib
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from timing import Act, interleaved, ratio
from torch import Tensor
from torch.nn import functional

from torchstone.laws.attention.local import local_speedup
from torchstone.parts import local_attention

HEADS, FEATURES = 8, 64
SHAPES = ((1024, 32), (1024, 128), (4096, 32), (4096, 128))
LONG = ((16384, 32), (16384, 128))
PEER = importlib.util.find_spec("local_attention") is not None
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def ways(window: int) -> dict[str, Attend]:
    """Every way to attend, by its name."""
    found: dict[str, Attend] = {
        "dense": functional.scaled_dot_product_attention,
        "again": functional.scaled_dot_product_attention,
        "ours": lambda q, k, v: local_attention(q, k, v, window),
    }
    if PEER:
        kind = importlib.import_module("local_attention").LocalAttention
        found["peer"] = kind(window, causal=False, look_backward=1, look_forward=1, exact_windowsize=True, use_rotary_pos_emb=False)
    return found


def rows(length: int, *, sequence_first: bool = False) -> list[Tensor]:
    """Query, key and value that want gradients, and a gradient."""
    if sequence_first:  # as a layer's projection lays them out
        return [torch.randn(1, length, HEADS, FEATURES).transpose(1, 2) for _ in range(4)]
    return [torch.randn(1, HEADS, length, FEATURES) for _ in range(4)]


def forward(attend: Attend, given: list[Tensor]) -> Act:
    """Without gradients."""

    def act() -> None:
        with torch.no_grad():
            attend(*given[:3])

    return act


def both(attend: Attend, given: list[Tensor]) -> Act:
    """Forward and backward."""
    leaves = [one.detach().requires_grad_() for one in given[:3]]

    def act() -> None:
        torch.autograd.grad(attend(*leaves), leaves, given[3])

    return act


def table(rounds: int) -> None:
    """Times against dense attention."""
    print("| T, k, layout | pass | dense ms | again | law | local_attention ms | ratio | peer |")
    print("|---|---|---|---|---|---|---|---|")
    for length, window in SHAPES:
        for sequence_first in (False, True):
            given = rows(length, sequence_first=sequence_first)
            for name, kind in (("forward", forward), ("both", both)):
                seconds = interleaved({way: kind(attend, given) for way, attend in ways(window).items()}, rounds)
                middle = {way: 1e3 * statistics.median(times) for way, times in seconds.items()}
                faster = {way: ratio(seconds["dense"], times) for way, times in seconds.items()}
                law = local_speedup(length, window, window)
                layout = "b t h d" if sequence_first else "b h t d"
                print(
                    f"| {length}, {window}, {layout} | {name} | {middle['dense']:.1f} | {faster['again']} | {law:.1f} | "
                    f"{middle['ours']:.1f} | {faster['ours']} | {faster.get('peer', 'not installed')} |",
                    flush=True,
                )


def peak(way: str, length: int, window: int) -> None:
    """Print the ms and the MB of one forward and backward of one way."""
    given = rows(length)
    both(ways(window)[way], rows(512))()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _high_water()
    seconds = interleaved({way: both(ways(window)[way], given)}, 3)[way]
    print(f"{1e3 * min(seconds):.0f} ms, {_high_water() - before:.0f} MB")


def _high_water() -> float:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def memory() -> None:
    """Time and memory at lengths at which dense attention takes too long."""
    print("\n| T, k | way | forward and backward |")
    print("|---|---|---|")
    for length, window in LONG:
        for way in ("ours", "peer") if PEER else ("ours",):
            command = [sys.executable, __file__, "--peak", way, str(length), str(window)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"| {length}, {window} | {way} | {done.stdout.strip()} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if given.peak:
        peak(given.peak[0], int(given.peak[1]), int(given.peak[2]))
        return
    print(f"torch {torch.__version__}, one thread, CPU time; ratio: times faster than dense attention, median (quartiles)\n")
    table(3 if given.quick else 9)
    memory()


if __name__ == "__main__":
    main()

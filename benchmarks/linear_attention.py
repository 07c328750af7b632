r"""Attention linear in the sequence beside what people would use: ratios in one process, interleaved, one thread, CPU time.

random_feature_attention against performer-pytorch's FastAttention with the same number of features, and against the same estimate
written plainly (features of all positions at once): forward, and forward and backward. separable_attention against
linear-attention-transformer's linear_attn. "again" is the peer a second time: how far two equal runs lie apart. A ratio above 1 is
faster.

Peak memory is what one call adds to the resident size at its highest, in a process of its own, inputs not counted.

The peers are no dependencies: a missing one is skipped. To have them,

    pip install --no-deps -c constraints.txt --target peers performer-pytorch einops axial-positional-embedding \
        local-attention hyper-connections linear-attention-transformer linformer product-key-memory colt5-attention
    PYTHONPATH=peers python benchmarks/linear_attention.py            # the tables; --quick for fewer rounds
"""

import argparse
import ctypes
import importlib
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import Act, interleaved, ratio
from torch import Tensor
from torch.nn import functional

from torchstone.parts import feature_directions, random_feature_attention, separable_attention

HEADS, WIDTH = 8, 64
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(query: Tensor, key: Tensor, value: Tensor, directions: Tensor) -> Tensor:
    """Positive features as eight lines have them: of all positions at once, one maximum for all keys."""
    root = query.shape[-1] ** -0.25
    along, beside = root * query @ directions.mT, root * key @ directions.mT
    beside = beside - (root * key).square().sum(-1, keepdim=True) / 2
    queries = (along - along.amax(-1, keepdim=True)).exp()
    keys = (beside - beside.amax((-1, -2), keepdim=True)).exp()
    both = queries @ (keys.mT @ value)
    output: Tensor = both / (queries @ keys.sum(-2).unsqueeze(-1))
    return output


def attentions(name: str, features: int) -> Attention | None:
    """The attention of that name; None where its package is missing."""
    directions = feature_directions(features, WIDTH, generator=torch.Generator().manual_seed(0))
    known: dict[str, Attention] = {
        "ours": lambda q, k, v: random_feature_attention(q, k, v, features=features, directions=directions),
        "plain": lambda q, k, v: plain(q, k, v, directions),
        "separable": separable_attention,
        "dense": functional.scaled_dot_product_attention,
    }
    if name in known:
        return known[name]
    package = {"performer": "performer_pytorch", "linear_attn": "linear_attention_transformer.linear_attention_transformer"}[name]
    try:
        module: Any = importlib.import_module(package)
    except ImportError:
        return None
    if name == "performer":
        peer: Attention = module.FastAttention(WIDTH, features)
        return peer
    other: Attention = module.linear_attn
    return other


def inputs(length: int) -> list[Tensor]:
    """Query, key, value."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, HEADS, length, WIDTH, generator=generator) for _ in range(3)]


def act(attention: Attention, length: int, *, backward: bool) -> Act:
    """One call, with gradients of all three inputs if wanted."""
    given = [x.requires_grad_(backward) for x in inputs(length)]
    gradient = torch.randn_like(given[2])

    def run() -> object:
        output = attention(*given)
        return torch.autograd.grad(output, given, gradient) if backward else output

    return run


def row(names: tuple[str, ...], length: int, features: int, rounds: int, *, backward: bool) -> str:
    """Cells of one row: milliseconds of the first name, then ratios to it of the same again and of the others."""
    found = {name: attentions(name, features) for name in names}
    acts = {name: act(one, length, backward=backward) for name, one in found.items() if one is not None}
    base = next(iter(acts))
    seconds = interleaved({**acts, "again": act(found[base], length, backward=backward)}, rounds)  # type: ignore[arg-type]
    middle = 1e3 * statistics.median(seconds[base])
    others = [name for name in ("again", *names) if name != base]
    cells = [ratio(seconds[base], seconds[name]) if name in seconds else "missing" for name in others]
    ours = [f"{1e3 * statistics.median(seconds[name]):.1f}" for name in names if name in seconds]
    return f"{base} {middle:.1f} | " + " | ".join(cells) + f" | {' / '.join(ours)}"


def peak(name: str, length: int, features: int, *, backward: bool) -> float:
    """Megabytes that one call adds at its highest, in this process."""
    attention = attentions(name, features)
    if attention is None:
        return float("nan")
    act(attention, 256, backward=backward)()
    run = act(attention, length, backward=backward)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    kept = run()
    after = _status("VmHWM")
    del kept
    return (after - before) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def measured(name: str, length: int, features: int, *, backward: bool) -> str:
    """The same in a process of its own."""
    wanted = ["--peak", name, str(length), str(features), str(int(backward))]
    done = subprocess.run([sys.executable, __file__, *wanted], capture_output=True, text=True, check=True)
    return f"{float(done.stdout.split()[-1]):.0f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.peak:
        name, length, features, backward = given.peak
        print(peak(name, int(length), int(features), backward=backward == "1"))
        return
    rounds = 3 if given.quick else 9
    print(f"torch {torch.__version__}, one thread, CPU time, batch 1, {HEADS} heads of {WIDTH}; ratios: median (quartiles)\n")
    print("| T, m | | performer ms | again | ours | plain | ms of performer / ours / plain | peak MB performer / ours / plain |")
    print("|---|---|---|---|---|---|---|---|")
    names = ("performer", "ours", "plain")
    for length, features in ((4096, 64), (4096, 256), (16384, 64), (16384, 256)):
        for backward in (False, True):
            cells = row(names, length, features, rounds, backward=backward)
            peaks = " / ".join(measured(name, length, features, backward=backward) for name in names)
            what = "forward + backward" if backward else "forward"
            print(f"| {length}, {features} | {what} | {cells} | {peaks} |", flush=True)
    print("\n| T | | linear_attn ms | again | separable | ms of linear_attn / separable | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for length in (4096, 16384):
        for backward in (False, True):
            cells = row(("linear_attn", "separable"), length, 1, rounds, backward=backward)
            peaks = " / ".join(measured(name, length, 1, backward=backward) for name in ("linear_attn", "separable"))
            print(f"| {length} | {'forward + backward' if backward else 'forward'} | {cells} | {peaks} |", flush=True)


if __name__ == "__main__":
    main()

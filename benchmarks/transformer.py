"""What the transformer's layers and the two maps of LayerNorm cost beside torch.nn's, of the same weights: one thread, CPU time.

Forward and backward in float32, interleaved. The A/A column runs torch's own layer a second time: how far two equal runs lie apart.
A ratio above 1 is faster than torch.nn.

    python benchmarks/transformer.py            # the tables
    python benchmarks/transformer.py --quick    # fewer rounds
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from timing import Act, interleaved, ratio, timed
from torch import Tensor, nn

from torchstone import parts

SHAPES = ((8, 64, 256, 4, 1024), (2, 512, 256, 4, 1024), (32, 16, 64, 4, 256))  # batch, positions, d_model, nhead, dim_feedforward
ROWS = ((512, 64), (2048, 512), (256, 4096))  # rows, numbers normalised together


def step(call: Callable[[Tensor], Tensor], inputs: Tensor, times: int) -> Act:
    """Forward and backward, several times over."""
    gradient = torch.randn_like(call(inputs))

    def act() -> None:
        for _ in range(times):
            torch.autograd.backward(call(inputs), gradient)

    return act


def row(calls: dict[str, Callable[[Tensor], Tensor]], inputs: Tensor, rounds: int) -> str:
    """The cells of one row: torch's time, then ratios of torch's time to each of the others'."""
    first = next(iter(calls))
    times = max(1, round(0.03 / timed(step(calls[first], inputs, 1))))
    seconds = interleaved({name: step(call, inputs, times) for name, call in calls.items()}, rounds)
    middle = 1e3 * statistics.median(seconds[first]) / times
    return " | ".join([f"{middle:.2f}", *(ratio(seconds[first], seconds[name]) for name in calls if name != first)])


def layers(rounds: int) -> None:
    """The table of encoder layers, without a mask and with a causal one."""
    print("| batch, positions, d_model, heads, feed-forward, mask | nn ms | nn again | ours |")
    print("|---|---|---|---|")
    for batch, positions, width, heads, feedforward in SHAPES:
        theirs = nn.TransformerEncoderLayer(width, heads, feedforward, 0.0, batch_first=True)
        ours = parts.TransformerEncoderLayer(width, heads, feedforward, 0.0, batch_first=True)
        ours.load_state_dict(theirs.state_dict())
        inputs = torch.randn(batch, positions, width, requires_grad=True)
        future = torch.ones(positions, positions, dtype=torch.bool).triu(1)
        for name, mask in (("none", None), ("causal", future)):
            causal = mask is not None

            def call(layer: nn.Module, mask: Tensor | None = mask, *, causal: bool = causal) -> Callable[[Tensor], Tensor]:
                return lambda x: layer(x, mask, is_causal=causal)

            cells = row({"nn": call(theirs), "again": call(theirs), "ours": call(ours)}, inputs, rounds)
            print(f"| {batch}, {positions}, {width}, {heads}, {feedforward}, {name} | {cells} |", flush=True)


def norms(rounds: int) -> None:
    """The table of LayerNorm: torch's fused kernel, our two maps, and the same two as plain formulas without closed backwards."""
    print("\n| rows, width | nn.LayerNorm ms | nn again | ours: two maps | plain formulas |")
    print("|---|---|---|---|---|")
    for rows, width in ROWS:
        fused, again, ours = nn.LayerNorm(width), nn.LayerNorm(width), parts.LayerNorm(width)

        def plain(x: Tensor, fused: nn.LayerNorm = fused) -> Tensor:
            centred = x - x.mean(-1, keepdim=True)
            return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + fused.eps) * fused.weight + fused.bias

        inputs = torch.randn(rows, width, requires_grad=True)
        cells = row({"nn": fused, "again": again, "ours": ours, "plain": plain}, inputs, rounds)
        print(f"| {rows}, {width} | {cells} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 5 if parser.parse_args().quick else 21
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, CPU time; ratio: times faster than torch.nn, median (quartiles)\n")
    layers(rounds)
    norms(rounds)


if __name__ == "__main__":
    main()

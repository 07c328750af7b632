"""What the parts of convolution cost beside what torch offers: ratios in one process, interleaved, one thread, CPU time.

The separable layer against two nn.Conv2d, forward and backward in float32: as people write it (both with bias), the same again (the
A/A control: how far two equal runs lie apart), and without the depthwise bias, which the layer has not. A ratio above 1 is faster.

The matrix of a convolution against torch.func.jacrev and torch.vmap of the convolution over unit inputs, which make dense matrices.
For 3x64x64 and 64 filters jacrev asks for a basis of 246,016² numbers (242 GB) and both for a result of 12 GB: there a share of the
rows (columns) is timed, and the time of all of them is that share's scaled up.

    python benchmarks/convolution.py            # the tables
    python benchmarks/convolution.py --quick    # fewer rounds
"""

import argparse
import statistics

import torch
from timing import Act, interleaved, ratio, timed
from torch import Tensor, nn

from torchstone.parts import DepthwiseSeparableConv2d, toeplitz

SHAPES = (  # batch, channels in, channels out, kernel, stride, side
    (8, 32, 64, 3, 1, 56),
    (8, 128, 128, 3, 1, 28),
    (8, 256, 512, 3, 1, 14),
    (4, 3, 32, 3, 2, 112),
    (2, 64, 128, 5, 1, 56),
    (1, 32, 32, 3, 1, 16),
)


def step(model: nn.Module, inputs: Tensor, gradient: Tensor, times: int) -> Act:
    """Forward and backward to weights and input, several times over: what the allocator does differs from time to time."""

    def act() -> None:
        for _ in range(times):
            model(inputs).backward(gradient)
            inputs.grad = None
            model.zero_grad()

    return act


def separable(rounds: int) -> None:
    """The table of the separable layer."""
    print("| batch, in -> out, kernel, stride, side | two nn.Conv2d ms | again | no depthwise bias | DepthwiseSeparableConv2d |")
    print("|---|---|---|---|---|")
    for batch, channels, filters, kernel, stride, side in SHAPES:
        padding = kernel // 2
        two, again, bare = (
            nn.Sequential(
                nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=bias), nn.Conv2d(channels, filters, 1)
            )
            for bias in (True, True, False)
        )
        ours = DepthwiseSeparableConv2d(channels, filters, kernel, stride, padding)
        models: dict[str, nn.Module] = {"two": two, "again": again, "bare": bare, "ours": ours}
        inputs = torch.randn(batch, channels, side, side, requires_grad=True)
        gradient = torch.randn_like(models["two"](inputs))
        times = max(1, round(0.1 / timed(step(two, inputs, gradient, 1))))
        seconds = interleaved({name: step(model, inputs, gradient, times) for name, model in models.items()}, rounds)
        cells = " | ".join(ratio(seconds["two"], seconds[name]) for name in ("again", "bare", "ours"))
        base = 1e3 * statistics.median(seconds["two"]) / times
        print(f"| {batch}, {channels} -> {filters}, {kernel}x{kernel}, {stride}, {side} | {base:.2f} | {cells} |", flush=True)


def operator(channels: int, filters: int, side: int, share: int, rounds: int) -> None:
    """One row of the table of matrices; dense ones are timed on one `share`-th of their rows or columns."""
    conv = nn.Conv2d(channels, filters, 3, bias=False).requires_grad_(requires_grad=False)
    inputs = torch.randn(channels, side, side)
    rows, columns = conv(inputs).numel(), inputs.numel()
    some_rows, some_columns = max(1, rows // share), max(1, columns // share)

    def jacrev() -> Tensor:
        found: Tensor = torch.func.jacrev(lambda x: conv(x).flatten()[:some_rows])(inputs)
        return found

    def unit_inputs() -> Tensor:
        units = torch.zeros(some_columns, columns)
        units[:, :some_columns].fill_diagonal_(1.0)
        found: Tensor = torch.vmap(conv)(units.view(-1, *inputs.shape))
        return found

    seconds = interleaved({"ours": lambda: toeplitz(conv, inputs.shape), "jacrev": jacrev, "units": unit_inputs}, rounds)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    whole = {"jacrev": middle["jacrev"] * rows / some_rows, "units": middle["units"] * columns / some_columns}
    matrix = toeplitz(conv, inputs.shape)
    stored = sum(part.numel() * part.element_size() for part in (matrix.crow_indices(), matrix.col_indices(), matrix.values()))
    cells = " | ".join(f"{1e3 * took:,.0f} ms, {took / middle['ours']:,.0f}" for took in whole.values())
    print(
        f"| {channels}x{side}x{side}, {filters} filters 3x3 | 1/{share} | {rows:,} x {columns:,} | {matrix._nnz():,} | "  # noqa: SLF001 - torch's only count of entries
        f"{stored / 1e6:,.0f} of {4e-6 * rows * columns:,.0f} MB | {1e3 * middle['ours']:.2f} | {cells} |",
        flush=True,
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, CPU time; ratio: times faster than two nn.Conv2d, median (quartiles)\n")
    separable(5 if quick else 21)
    print("\nratio: how many times longer than toeplitz takes; the share is of rows (jacrev) and columns (unit inputs) timed\n")
    print("| convolution | share timed | matrix | entries stored | of dense | toeplitz ms | jacrev, ratio | vmap of units, ratio |")
    print("|---|---|---|---|---|---|---|---|")
    operator(3, 8, 16, 1, 3 if quick else 9)
    operator(3, 64, 64, 1536, 3 if quick else 7)


if __name__ == "__main__":
    main()

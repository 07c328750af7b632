"""Plans for models that are no chain: predicted against measured peaks, extra work, bounds, the gap, and how long planning takes.

One thread. Peaks are those of torch's profiler, as in rematerialization.py; the planner does not use it. Time is that of a training
step by the schedule over that of the plain model, CPU time, interleaved.

    python benchmarks/rematerialization_graphs.py            # the table
    python benchmarks/rematerialization_graphs.py --quick    # smaller models, no times
"""

import argparse
import copy
import time
from itertools import pairwise

import torch
from rematerialization import loss, peak, step
from timing import interleaved, ratio
from torch import Tensor, nn

from torchstone.core.errors import UsageError
from torchstone.parts.rematerialization import plan


def double(entry: int, width: int) -> nn.Sequential:
    """Two convolutions with their norms."""
    return nn.Sequential(
        nn.Conv2d(entry, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """Ronneberger et al. 2015, padded, with batch norm: skips past everything between."""

    def __init__(self, width: int, depth: int = 4) -> None:
        super().__init__()
        sizes = [3, *(width << level for level in range(depth))]
        self.down = nn.ModuleList(double(one, other) for one, other in pairwise(sizes))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * one, one, 2, 2) for one in sizes[-2:0:-1])
        self.join = nn.ModuleList(double(2 * one, one) for one in sizes[-2:0:-1])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 2, h, w)."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for skip, up, join in zip(skips[-2::-1], self.up, self.join, strict=True):
            x = join(torch.cat([up(x), skip], 1))
        return self.head(x)  # type: ignore[no-any-return]


class Dense(nn.Module):
    """A layer of Huang et al. 2017: norm, 1x1, norm, 3x3 over all features before it."""

    def __init__(self, entry: int, growth: int) -> None:
        super().__init__()
        self.first, self.narrow = nn.BatchNorm2d(entry), nn.Conv2d(entry, 4 * growth, 1, bias=False)
        self.second, self.wide = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        """All features to the next ones."""
        x = self.narrow(torch.relu(self.first(torch.cat(features, 1))))
        return self.wide(torch.relu(self.second(x)))  # type: ignore[no-any-return]


class DenseNet(nn.Module):
    """Blocks of such layers with transitions between."""

    def __init__(self, growth: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        count = 2 * growth
        self.stem = nn.Conv2d(3, count, 3, padding=1)
        self.blocks, self.between = nn.ModuleList(), nn.ModuleList()
        for layers in blocks:
            self.blocks.append(nn.ModuleList(Dense(count + place * growth, growth) for place in range(layers)))
            count += layers * growth
            self.between.append(nn.Sequential(nn.BatchNorm2d(count), nn.ReLU(), nn.Conv2d(count, count // 2, 1), nn.AvgPool2d(2)))
            count //= 2
        self.head = nn.Linear(count, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 10)."""
        x = self.stem(x)
        for block, between in zip(self.blocks, self.between, strict=True):
            features = [x]
            for layer in block:  # type: ignore[attr-defined]
                features.append(layer(features))
            x = between(torch.cat(features, 1))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A forward written by hand: all layers' results are added up."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, d) to (n, t, d)."""
        total = x
        for layer in self.layers:
            x = layer(x)
            total = total + x
        return total


def table(name: str, model: nn.Module, x: Tensor, rounds: int) -> None:
    """A row for each budget."""
    whole = plan(model, x, "1TB", loss=loss, strategy="graph")
    print(f"\n{name}: {len(list(model.modules()))} modules, {whole.stored_peak / 2**20:.1f} MB stored whole\n")
    print("| budget | planned MB | measured/that | modules | extra work | bound | gap | any schedule | plan s | step/plain | A/A |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for share in (0.8, 0.6, 0.45, 0.3):
        began = time.perf_counter()
        try:
            made = plan(model, x, int(whole.stored_peak * share), loss=loss, strategy="graph")
        except UsageError as error:
            said = str(error).partition(";")[0]
            print(f"| {share:g} | {said} | | | | | | | {time.perf_counter() - began:.2f} | | |", flush=True)
            continue
        seconds = time.perf_counter() - began
        running = made.apply(copy.deepcopy(model))
        measured = peak(running, x, running)
        times = ""
        if rounds:
            plain = step(model, x, model)
            found = interleaved({"plain": plain, "again": plain, "ours": step(running, x, running)}, rounds)
            times = f"{ratio(found['ours'], found['plain'])} | {ratio(found['again'], found['plain'])}"
        work = f"{100 * made.extra_share:.1f} % | {100 * made.bound_share:.1f} % | {100 * made.gap:.0f} %"
        anyone = f"{100 * made.any_bound / made.forward_cost:.2f} %"
        peaks = f"{made.predicted_peak / 2**20:.2f} | {measured / made.predicted_peak:.4f} | {len(made.modules)}"
        print(f"| {share:g} | {peaks} | {work} | {anyone} | {seconds:.2f} | {times or ' | '} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller models, no times")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds, size = (0, 32) if quick else (5, 64)
    print(f"torch {torch.__version__}, one thread")
    table("U-Net, 16 channels, 4 levels", UNet(16), torch.randn(4, 3, size, size), rounds)
    table("DenseNet, growth 12, blocks of 6, 12, 8", DenseNet(12, (6, 12, 8)), torch.randn(4, 3, size, size), rounds)
    table("transformer, 6 layers of 128, every result used twice", Transformer(128, 6), torch.randn(8, size, 128), rounds)


if __name__ == "__main__":
    main()

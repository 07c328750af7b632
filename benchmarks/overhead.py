"""What watching costs: time of a watched run over the bare run, in one process, interleaved, one thread, CPU time.

Each round times the same steps bare, bare again (the A/A control: how far two equal runs lie apart), watched, and
under torch's anomaly mode (the peer that ships with torch). A watched round begins at step 0, with all its sampled steps.

    python benchmarks/overhead.py            # the table
    python benchmarks/overhead.py --quick    # fewer rounds
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from torchstone.record.hooks import hooked
from torchstone.record.watcher import Watcher
from torchstone.record.writer import Writer

Step = Callable[[], None]


def small_network() -> Step:
    """An MLP of three layers on 64 rows."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inputs, labels = torch.randn(64, 64), torch.randint(0, 10, (64,))

    def step() -> None:
        loss: Tensor = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


class Language(nn.Module):
    """A transformer of 4 layers, width 256, vocabulary 4,000."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4000, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(256), nn.Linear(256, 4000, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (b t) to logits (b t v)."""
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        hidden: Tensor = self.head(self.norm(self.layers(self.embed(tokens), mask=mask, is_causal=True)))
        return hidden


def transformer() -> Step:
    """4 layers, width 256, 128 tokens, batch 16, AdamW."""
    model = Language()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, 4000, (16, 129))

    def step() -> None:
        logits = model(tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


@contextmanager
def watched(sizes: list[float]) -> Iterator[None]:
    """As `check` watches, with the recording on disk; its size is kept."""
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder))
        watcher = Watcher(writer)
        with hooked(watcher):
            yield
        watcher.end("finished")
        sizes.append(sum(path.stat().st_size for path in Path(folder).iterdir()))


def timed(step: Step, steps: int, around: AbstractContextManager[object]) -> float:
    """CPU seconds of some steps."""
    began = time.process_time()
    with around:
        for _ in range(steps):
            step()
    return time.process_time() - began


def compare(name: str, make: Callable[[], Step], steps: int, rounds: int) -> None:
    """One row of the table."""
    torch.manual_seed(0)
    step = make()
    sizes: list[float] = []
    timed(step, min(steps, 5), nullcontext())
    ratios: dict[str, list[float]] = {"bare again": [], "watched": [], "anomaly mode": []}
    for _ in range(rounds):
        bare = timed(step, steps, nullcontext())
        ratios["watched"].append(timed(step, steps, watched(sizes)) / bare)
        ratios["bare again"].append(timed(step, steps, nullcontext()) / bare)
        ratios["anomaly mode"].append(timed(step, steps, torch.autograd.detect_anomaly(check_nan=True)) / bare)
    cells = " | ".join(f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" for values in ratios.values())
    size = statistics.median(sizes) / 1e3
    print(f"| {name}, {steps} steps x {rounds} | {1e3 * bare / steps:.2f} | {cells} | {size:.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, CPU time; ratio to bare: median (range)")
    print("| work | bare ms/step | bare again | watched | anomaly mode | recording kB |")
    print("|---|---|---|---|---|---|")
    compare("small MLP", small_network, 200, 5 if quick else 15)
    compare("small MLP", small_network, 1000, 3 if quick else 7)
    compare("transformer, 4 layers", transformer, 16, 3 if quick else 5)


if __name__ == "__main__":
    main()

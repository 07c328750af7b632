"""A small causal language model that sees a window of the past, with the window as a mask or computed as a window.

It reads the docstrings of Python's standard library, byte by byte: nothing is downloaded. One flag decides how attention is
computed; everything else, the random numbers too, is the same:

    python causal_language_model.py --attention local    torchstone.parts.local_attention: computes the window
    python causal_language_model.py --attention dense    F.scaled_dot_product_attention: computes all, a mask hides most of it
    python causal_language_model.py --attention both     one after the other: the same losses, and the ratio of the times

`torchstone check` finds nothing to say of the first, and names the mask of the second (band-mask-on-dense-attention).
"""

import argparse
import ast
import statistics
import sys
import sysconfig
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.parts import local_attention

BYTES = 256
FILES = 120  # of the standard library: enough text for a small model


def read_text() -> Tensor:
    """Docstrings of the standard library as one row of bytes (n)."""
    texts: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes in other people's strings
        for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:FILES]:
            nodes = (node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.FunctionDef | ast.ClassDef))
            texts.extend(text for node in nodes if (text := ast.get_docstring(node)))
    return torch.tensor(list("\n\n".join(texts).encode()))


# ---- model ---------------------------------------------------------------------------------------
# Shapes: b batch, t time, d width, h heads.


class Attention(nn.Module):
    """Every position as a mixture of itself and the `window` positions before it."""

    def __init__(self, width: int, heads: int, window: int, kind: str) -> None:
        super().__init__()
        self.heads, self.window, self.kind = heads, window, kind
        self.inputs = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to the same."""
        b, t, d = x.shape
        q, k, v = self.inputs(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)  # (b, h, t, d/h) each
        if self.kind == "local":
            mixed = local_attention(q, k, v, window=self.window, is_causal=True)
        else:
            back = torch.arange(t)[:, None] - torch.arange(t)
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=(back >= 0) & (back <= self.window))
        joined: Tensor = self.output(mixed.transpose(1, 2).reshape(b, t, d))
        return joined


class Block(nn.Module):
    """Attention and a small network, each beside the residual stream."""

    def __init__(self, width: int, heads: int, window: int, kind: str) -> None:
        super().__init__()
        self.norms = nn.ModuleList((nn.LayerNorm(width), nn.LayerNorm(width)))
        self.attention = Attention(width, heads, window, kind)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to the same."""
        x = x + self.attention(self.norms[0](x))
        changed: Tensor = x + self.network(self.norms[1](x))
        return changed


class LanguageModel(nn.Module):
    """The logits of the next byte at every position."""

    def __init__(self, arguments: argparse.Namespace, kind: str) -> None:
        super().__init__()
        width = arguments.width
        self.embed, self.position = nn.Embedding(BYTES, width), nn.Embedding(arguments.length, width)
        self.blocks = nn.Sequential(*(Block(width, arguments.heads, arguments.window, kind) for _ in range(arguments.layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, BYTES)
        for table in (self.embed, self.position):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, text: Tensor) -> Tensor:
        """(b, t) to (b, t, 256)."""
        x = self.embed(text) + self.position(torch.arange(text.shape[1]))
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


# ---- training ------------------------------------------------------------------------------------


def train(text: Tensor, arguments: argparse.Namespace, kind: str) -> tuple[list[float], float]:
    """The loss of every step, and the seconds of a usual one."""
    torch.manual_seed(arguments.seed)
    model = LanguageModel(arguments, kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.rate)
    losses, seconds = [], []
    for step in range(arguments.steps):
        began = time.perf_counter()
        starts = torch.randint(len(text) - arguments.length - 1, (arguments.batch,)).tolist()
        rows = torch.stack([text[start : start + arguments.length + 1] for start in starts])  # (b, t + 1)
        loss = functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - began)
        if step % 10 == 0 or step == arguments.steps - 1:
            print(f"{kind}  step {step:4d}  loss {losses[-1]:.4f}", flush=True)
    usual = statistics.median(seconds)
    print(f"{kind}  {1000 * usual:.0f} ms a step")
    return losses, usual


def parse_arguments() -> argparse.Namespace:
    """The command line, or exit code 2 and the reason."""
    parser = argparse.ArgumentParser(
        description="Train a causal language model that sees a window of the past.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--attention", choices=("local", "dense", "both"), default="local", help="how the window is computed")
    add("--steps", type=int, default=40)
    add("--batch", type=int, default=2)
    add("--length", type=int, default=1024, help="bytes in a sequence")
    add("--window", type=int, default=64, help="how many bytes before its own a position sees, in each layer")
    add("--width", type=int, default=64)
    add("--heads", type=int, default=4, help="must divide the width")
    add("--layers", type=int, default=2)
    add("--rate", type=float, default=3e-3, help="learning rate")
    add("--seed", type=int, default=0, help="the same seed gives the same run")
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.batch, arguments.length, arguments.heads, arguments.layers) < 1 or arguments.window < 0:
        parser.error("--steps, --batch, --length, --heads and --layers must be 1 or more, and --window 0 or more")
    if arguments.width < 1 or arguments.width % arguments.heads:
        parser.error(f"--heads {arguments.heads} does not divide --width {arguments.width}")
    return arguments


def main() -> None:
    """Train one model, or two that differ in nothing but how attention is computed."""
    arguments = parse_arguments()
    text = read_text()
    if len(text) <= arguments.length + 1:
        sys.exit("This Python has no standard library sources to learn from.")
    kinds = ("local", "dense") if arguments.attention == "both" else (arguments.attention,)
    runs = {kind: train(text, arguments, kind) for kind in kinds}
    if len(runs) > 1:
        (local, fast), (dense, slow) = runs["local"], runs["dense"]
        apart = max(abs(one - other) for one, other in zip(local, dense, strict=True))
        print(f"losses at most {apart:.1e} apart; dense takes {slow / fast:.1f} times as long")


if __name__ == "__main__":
    main()

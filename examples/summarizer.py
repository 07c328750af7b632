"""Learn to summarise: a transformer reads the body of a docstring and writes its first line.

The data is already on your machine: the docstrings of Python's standard library, read from its
sources (never imported). Nothing is downloaded, and nothing is written unless --save says where.
Expect 300 steps to teach the habits of a first line ("Return the ..."), not yet its meaning.
"""

import argparse
import ast
import hashlib
import os
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import Progress
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional

PAD, BEGIN, END = 0, 1, 2
SPECIAL_TOKENS = ["<|pad|>", "<|begin|>", "<|end|>"]  # their ids are their places in this list
SOURCE_LENGTH, TARGET_LENGTH = 96, 24  # in tokens; what is longer is cut
SHORTEST_BODY, SHORTEST_SUMMARY = 5, 3  # in words; what is shorter teaches nothing
VOCABULARY = 8000
REPORT_EVERY = 50  # steps
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages"}


# ---- data: the docstrings of the standard library ------------------------------------------------


class Pair(NamedTuple):
    """A docstring in two: what to read, and what to write about it."""

    body: str
    summary: str


def source_files(root: str) -> Iterator[Path]:
    """Every Python file below `root`, always in the same order."""
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - SKIPPED)
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".py"))


def docstrings(file: Path) -> Iterator[str]:
    """The docstrings of a file's module, classes and functions."""
    source = file.read_bytes()
    if b'"""' not in source:  # cheap to see, where parsing is not
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # some files are bad on purpose
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def read_pairs() -> list[Pair]:
    """All distinct (body, first line) pairs that have something to say."""
    pairs: dict[Pair, None] = {}  # a set which keeps its order
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes in other people's strings
        for file in source_files(sysconfig.get_path("stdlib")):
            for text in docstrings(file):
                summary, _, body = text.partition("\n")
                if len(body.split()) >= SHORTEST_BODY and len(summary.split()) >= SHORTEST_SUMMARY:
                    pairs[Pair(" ".join(body.split()), " ".join(summary.split()))] = None
    return list(pairs)


def split(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Nine tenths to train on, one to validate; equal summaries always fall on the same side."""
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair in pairs:
        digest = hashlib.sha256(pair.summary.encode()).digest()
        sides[int.from_bytes(digest[:4], "big") % 10 == 0].append(pair)
    return sides


def train_tokenizer(pairs: list[Pair]) -> Tokenizer:
    """Byte-pair encoding: the words of these texts, in pieces as large as they are frequent."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for pair in pairs for text in pair), trainer)
    return tokenizer


class Examples:
    """Pairs as tokens, ready to be drawn in batches."""

    def __init__(self, pairs: list[Pair], tokenizer: Tokenizer, device: torch.device) -> None:
        bodies = tokenizer.encode_batch([pair.body for pair in pairs])
        summaries = tokenizer.encode_batch([pair.summary for pair in pairs])
        self.sources = [torch.tensor(body.ids[:SOURCE_LENGTH]) for body in bodies]
        self.targets = [torch.tensor([BEGIN, *summary.ids, END][: TARGET_LENGTH + 1]) for summary in summaries]
        self.device = device

    def batches(self, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Padded (source, target) batches without end, shuffled anew in every epoch."""
        generator = torch.Generator().manual_seed(seed)
        size = min(size, len(self.sources))
        while True:
            order = torch.randperm(len(self.sources), generator=generator).tolist()
            for start in range(0, len(order) - size + 1, size):
                chosen = order[start : start + size]
                yield self._pad(self.sources, chosen), self._pad(self.targets, chosen)

    def _pad(self, texts: list[Tensor], chosen: list[int]) -> Tensor:
        rows = [texts[index] for index in chosen]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)  # 0 is PAD


# ---- model ---------------------------------------------------------------------------------------
# Shapes: b batch, s source time, t target time, d width, v vocabulary.


class Summarizer(nn.Module):
    """The transformer of "Attention Is All You Need": encoder, decoder, one word matrix."""

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(max(SOURCE_LENGTH, TARGET_LENGTH), width)
        self.dropout = nn.Dropout(0.1)
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.1, batch_first=True) for _ in range(layers)
        )
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(width, heads, 4 * width, dropout=0.1, batch_first=True) for _ in range(layers)
        )
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """The logits of each next token of `target`, a summary of `source`."""
        padding = source == PAD  # (b, s)
        return self.decode(target, self.encode(source, padding), padding)

    def encode(self, source: Tensor, padding: Tensor) -> Tensor:
        """What each token of `source` means among the others."""
        x = self.place(source)  # (b, s, d)
        for layer in self.encoder:
            x = layer(x, src_key_padding_mask=padding)
        return x  # (b, s, d)

    def decode(self, target: Tensor, memory: Tensor, padding: Tensor) -> Tensor:
        """The same for a source that is encoded already."""
        length = target.shape[1]
        # (t, t), True hides. Padding ends a target, so hiding the future hides padding as well.
        future = torch.ones(length, length, dtype=torch.bool, device=target.device).triu(1)
        x = self.place(target)  # (b, t, d)
        for layer in self.decoder:
            x = layer(x, memory, tgt_mask=future, tgt_is_causal=True, memory_key_padding_mask=padding)
        logits: Tensor = self.head(x)
        return logits  # (b, t, v)

    def place(self, tokens: Tensor) -> Tensor:
        """What a token is, plus where it stands."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        embedded: Tensor = self.dropout(self.embed(tokens) + self.position(positions))
        return embedded  # (b, t, d)


def initialize(model: Summarizer) -> None:
    """Small embeddings: as the head is the embedding, they keep the first logits small too."""
    nn.init.normal_(model.embed.weight, std=0.02)
    nn.init.normal_(model.position.weight, std=0.02)


# ---- training ------------------------------------------------------------------------------------


def loss_of(model: Summarizer, source: Tensor, target: Tensor) -> Tensor:
    """Teacher forcing: given the true words so far, how surprising each next one is."""
    logits = model(source, target[:, :-1])  # (b, t, v)
    return functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD)


@torch.no_grad()
def evaluate(model: Summarizer, source: Tensor, target: Tensor) -> float:
    """The loss without dropout."""
    model.eval()
    loss = loss_of(model, source, target).item()
    model.train()
    return loss


def train(model: Summarizer, training: Examples, validation: Examples, arguments: argparse.Namespace) -> None:
    """AdamW with a warm-up and clipped gradients, and a word on the loss now and then."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.02, total_iters=50)
    batches = training.batches(arguments.batch, arguments.seed)
    unseen = next(validation.batches(64, seed=0))  # the same in every report
    progress = Progress(
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        redirect_stdout=sys.stdout.isatty(),  # above the bar, but never away from a file
    )
    with progress:
        for step in progress.track(range(arguments.steps), description="training"):
            loss = loss_of(model, *next(batches))
            if step % REPORT_EVERY == 0:
                report(step, evaluate(model, *unseen), loss.item())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            warm_up.step()
        report(arguments.steps, evaluate(model, *unseen))


def report(step: int, validation_loss: float, loss: float | None = None) -> None:
    """One line: the loss on unseen pairs and, where there is one, on the batch about to be learnt from."""
    on_batch = "" if loss is None else f"  loss {loss:8.3f}"
    print(f"step {step:5d}  validation loss {validation_loss:8.3f}{on_batch}", flush=True)


@torch.no_grad()
def write_summaries(model: Summarizer, source: Tensor) -> Tensor:
    """Greedy: always the likeliest next token."""
    model.eval()
    padding = source == PAD  # (b, s)
    memory = model.encode(source, padding)  # (b, s, d)
    target = source.new_full((len(source), 1), BEGIN)
    while target.shape[1] <= TARGET_LENGTH:
        likeliest = model.decode(target, memory, padding)[:, -1].argmax(dim=-1, keepdim=True)
        target = torch.cat([target, likeliest], dim=1)  # (b, t + 1)
    return target


def read_out(tokenizer: Tokenizer, tokens: Tensor) -> str:
    """Tokens as text, up to the first end."""
    ids = tokens.tolist()
    text: str = tokenizer.decode(ids[: ids.index(END)] if END in ids else ids)
    return text.strip()


def show_summaries(model: Summarizer, examples: Examples, tokenizer: Tokenizer) -> None:
    """A few bodies, what their author wrote about them, and what the model does."""
    source, target = next(examples.batches(4, seed=0))
    written = write_summaries(model, source)
    for body, reference, summary in zip(source, target, written, strict=True):
        print(f"\nbody       {read_out(tokenizer, body)[:88]} ...")
        print(f"reference  {read_out(tokenizer, reference)}")
        print(f"generated  {read_out(tokenizer, summary)}")


# ---- command line --------------------------------------------------------------------------------


def positive(text: str) -> int:
    """A whole number above zero."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def device(text: str) -> torch.device:
    """A device that can compute here and now."""
    try:
        torch.zeros(1, device=text).item()
    except (RuntimeError, AssertionError) as error:
        message = f"cannot use device {text!r} here"
        raise argparse.ArgumentTypeError(message) from error
    return torch.device(text)


def parse_arguments() -> argparse.Namespace:
    """The command line, or exit code 2 and the reason."""
    parser = argparse.ArgumentParser(
        description="Train a small transformer to write the first line of docstrings.",
        epilog="example: python %(prog)s --steps 1000 --save summarizer.pt",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--steps", type=positive, default=300, help="batches to learn from")
    add("--batch", type=positive, default=16, help="pairs in a batch")
    add("--width", type=positive, default=256, help="size of a token's vector")
    add("--heads", type=positive, default=4, help="attention heads; must divide the width")
    add("--layers", type=positive, default=2, help="layers of the encoder, and of the decoder")
    add("--learning-rate", type=float, default=5e-4, help="after the warm-up")
    add("--seed", type=int, default=0, help="the same seed gives the same run on a CPU")
    best = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", type=device, default=best, help="where to train")
    add("--save", type=Path, metavar="PATH", help="write the trained weights to this file")
    arguments = parser.parse_args()
    if arguments.width % arguments.heads:
        parser.error(f"--heads {arguments.heads} does not divide --width {arguments.width}")
    if not 0 < arguments.learning_rate < float("inf"):
        parser.error("--learning-rate must be a positive number")
    if not 0 <= arguments.seed < 2**63:
        parser.error("--seed must be between 0 and 2**63 - 1")
    if arguments.save and (arguments.save.is_dir() or not arguments.save.parent.is_dir()):
        parser.error(f"--save {arguments.save}: not a file in a directory that exists")
    return arguments


def main(initialize: Callable[[Summarizer], None] = initialize) -> None:
    """Read, train, show; `initialize` is where the twin of this script differs."""
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)

    began = time.perf_counter()
    seen, unseen = split(read_pairs())
    if not seen or not unseen:
        sys.exit("This Python has no standard library sources to learn from.")
    tokenizer = train_tokenizer(seen)
    training = Examples(seen, tokenizer, arguments.device)
    validation = Examples(unseen, tokenizer, arguments.device)
    vocabulary = tokenizer.get_vocab_size()
    sizes = f"{len(seen)} pairs to learn, {len(unseen)} to validate, {vocabulary} tokens"
    print(f"{sizes} ({time.perf_counter() - began:.1f} s)", flush=True)

    model = Summarizer(vocabulary, arguments.width, arguments.heads, arguments.layers)
    initialize(model)
    model.to(arguments.device)
    train(model, training, validation, arguments)
    show_summaries(model, validation, tokenizer)
    if arguments.save:
        torch.save(model.state_dict(), arguments.save)


if __name__ == "__main__":
    main()

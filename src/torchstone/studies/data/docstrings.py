"""Text that lies on every machine with Python: docstrings, read from sources that are never imported.

Axis letters: n pairs, s source positions, t target positions.
"""

import ast
import hashlib
import os
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Int32
from torch import Tensor

from torchstone.core.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, BEGIN, END = 0, 1, 2
SPECIAL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>")  # their ids are their places here
SKIPPED = frozenset({"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages"})
SHORTEST_BODY, SHORTEST_SUMMARY = 5, 3  # in words; what is shorter teaches nothing
_SHARE = 10  # one in so many pairs is held out


class Pair(NamedTuple):
    """A docstring in two: what to read, and what to write about it."""

    body: str
    summary: str


def standard_library() -> Path:
    """Where this Python keeps the sources of its standard library."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(root: Path, skipped: frozenset[str] = SKIPPED) -> Iterator[Path]:
    """Every Python file below `root`, always in the same order."""
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - skipped)
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".py"))


def docstrings(file: Path) -> Iterator[str]:
    """The docstrings of a file's module, classes and functions; none of a file that cannot be read or parsed."""
    try:
        source = file.read_bytes()
        if b'"""' not in source:  # cheap to see, where parsing is not
            return
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):  # some files are bad on purpose
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def pairs(root: Path | None = None) -> list[Pair]:
    """All distinct pairs below a folder (the standard library's unless given) that have something to say.

    Raises UsageError where there are none.
    """
    root = standard_library() if root is None else root
    found: dict[Pair, None] = {}  # a set which keeps its order
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes in other people's strings
        for file in source_files(root):
            for text in docstrings(file):
                summary, _, body = text.partition("\n")
                if len(body.split()) >= SHORTEST_BODY and len(summary.split()) >= SHORTEST_SUMMARY:
                    found[Pair(" ".join(body.split()), " ".join(summary.split()))] = None
    if not found:
        message = f"{root} has no Python sources with docstrings to learn from; install Python with its standard library's sources"
        raise UsageError(message)
    return list(found)


def split(every: Iterable[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Nine tenths to train on, one to validate; equal summaries always fall on the same side."""
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair in every:
        digest = hashlib.sha256(pair.summary.encode()).digest()
        sides[int.from_bytes(digest[:4], "big") % _SHARE == 0].append(pair)
    return sides


def trained_tokenizer(texts: Iterable[str], vocabulary: int) -> "Tokenizer":
    """Byte-pair encoding with that many tokens: the words of these texts, in pieces as large as they are frequent.

    Raises UsageError without the package tokenizers. Source: Sennrich, Haddow and Birch 2016.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError as error:
        message = "the docstrings need the package tokenizers; pip install 'torchstone[studies]'"
        raise UsageError(message) from error
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def padded(rows: Sequence[Sequence[int]], longest: int) -> Int32[Tensor, "n s"]:
    """Rows of tokens as one tensor; what is longer is cut, what is shorter is filled with PAD."""
    cut = [torch.tensor(row[:longest], dtype=torch.int32) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(cut, batch_first=True, padding_value=PAD)


def summaries(vocabulary: int, source_length: int, target_length: int, root: Path | None = None) -> dict[str, Tensor]:
    """Docstring bodies and first lines as tokens, for learning to write the one from the other.

    train_sources, train_targets, test_sources, test_targets: (n, s) and (n, t + 1) tokens; a target stands between BEGIN and
    END. tokens: how many the vocabulary has, which is less than asked where the text has no more pieces. It is trained on
    the training side only.
    """
    sides = split(pairs(root))
    if not all(sides):
        message = f"{root or standard_library()} has too few docstrings to hold some out; {len(sides[0])} came"
        raise UsageError(message)
    tokenizer = trained_tokenizer((text for pair in sides[0] for text in pair), vocabulary)
    found = {"tokens": torch.tensor(tokenizer.get_vocab_size())}
    for name, side in zip(("train", "test"), sides, strict=True):
        bodies, firsts = (tokenizer.encode_batch([pair[place] for pair in side]) for place in range(2))
        found[f"{name}_sources"] = padded([body.ids for body in bodies], source_length)
        found[f"{name}_targets"] = padded([[BEGIN, *first.ids, END] for first in firsts], target_length + 1)
    return found

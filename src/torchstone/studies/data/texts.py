"""Two corpora that lie on every machine with this package: docstrings of Python's standard library, and torch's own sources.

Read, never imported. Axis letters: f files, n tokens.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Int32
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.studies.data.docstrings import END, docstrings, source_files, standard_library, trained_tokenizer

PACKAGES = ("ao", "autograd", "cuda", "distributed", "distributions", "fx", "nn", "onnx", "optim", "utils")
LONGEST = 16_000  # bytes read of a file
SHARE = 8  # one in so many docstrings or files is held out
_FEWEST = 4  # files a side


def _held_out(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % SHARE == 0


def original_texts(root: Path | None = None) -> tuple[list[str], list[str]]:
    """Distinct docstrings below a folder (the standard library's unless given), to train on and held out."""
    sides: tuple[dict[str, None], dict[str, None]] = ({}, {})
    for file in source_files(standard_library() if root is None else root):
        for text in docstrings(file):
            if text:
                sides[_held_out(text)][text] = None
    return list(sides[0]), list(sides[1])


def new_texts(root: Path | None = None) -> Iterator[tuple[str, str]]:
    """Name and beginning of files of torch's (or another folder's) packages, in one order on every machine."""
    root = Path(torch.__file__).parent if root is None else root
    for package in PACKAGES:
        for file in source_files(root / package):
            yield str(file.relative_to(root)), file.read_bytes()[:LONGEST].decode(errors="replace")


def corpora(vocabulary: int, tokens: int, original: Path | None = None, new: Path | None = None) -> dict[str, Tensor]:
    """Both corpora as tokens of one byte-pair encoding, which is trained on the original's training side alone.

    original_train, original_test: docstrings one after the other, END behind each. new_train, new_test: (f, n) the first n tokens
    of files that have so many. Raises UsageError where there is too little of either.
    """
    sides = original_texts(original)
    if not all(sides):
        message = f"{original or standard_library()} has too few docstrings to hold some out; install the library's sources"
        raise UsageError(message)
    tokenizer = trained_tokenizer(sides[0], vocabulary)
    found = {"tokens": torch.tensor(tokenizer.get_vocab_size())}
    for name, side in zip(("train", "test"), sides, strict=True):
        rows = [token for one in tokenizer.encode_batch(side) for token in (*one.ids, END)]
        found[f"original_{name}"] = torch.tensor(rows, dtype=torch.int32)
    files: tuple[list[Tensor], list[Tensor]] = ([], [])
    for name, text in new_texts(new):
        ids = tokenizer.encode(text).ids
        if len(ids) >= tokens:
            files[_held_out(name)].append(torch.tensor(ids[:tokens], dtype=torch.int32))
    if min(map(len, files)) < _FEWEST:
        came = f"{len(files[0])} to train on, {len(files[1])} held out"
        message = f"{new or 'torch'} has too few files of {tokens} tokens ({came}); install torch with its sources"
        raise UsageError(message)
    return found | {"new_train": torch.stack(files[0]), "new_test": torch.stack(files[1])}


def windows(tokens: Int32[Tensor, "*f n"], length: int, count: int, source: torch.Generator) -> Tensor:
    """Rows of that many tokens that lie one behind the other, from places drawn at random: (count, length)."""
    rows = tokens.reshape(-1, tokens.shape[-1])
    which = torch.randint(len(rows), (count,), generator=source)
    begin = torch.randint(tokens.shape[-1] - length + 1, (count, 1), generator=source)
    return rows[which.unsqueeze(1), begin + torch.arange(length)].long()


def evenly(tokens: Int32[Tensor, "*f n"], length: int, count: int) -> Tensor:
    """Rows of that many tokens at equal distances over the whole corpus: what is held out, the same for every run."""
    flat = tokens.flatten()
    begin = torch.linspace(0, len(flat) - length, count).long().unsqueeze(1)
    return flat[begin + torch.arange(length)].long()
